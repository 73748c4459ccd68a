using System.Globalization;
using System.Text.Json;
using MoeSharp.Model;
using MoeSharp.Moe.Balance;

namespace MoeSharp.Training;

/// <summary>Something about the routing of a run that a person should know at once.</summary>
/// <param name="Step">Step after which it was noticed.</param>
/// <param name="Tokens">Training tokens seen.</param>
/// <param name="IsRecovery">Whether it is good news: layers that had collapsed are in use again.</param>
/// <param name="NumLayers">Layers that it is about.</param>
/// <param name="Message">The sentences to show.</param>
public sealed record RoutingAlarm(long Step, long Tokens, bool IsRecovery, int NumLayers, string Message);

/// <summary>Watches the loads of a run and says once when experts of a layer collapse, and once when they are in use again.</summary>
/// <remarks>Loads are judged over stretches of <see cref="Steps"/> steps that do not overlap; see <see cref="LoadCollapse"/> for what counts as collapsed.</remarks>
public sealed class CollapseWatch
{
    /// <summary>Steps over which loads are summed before they are judged (arbitrary: routers move much in their first steps).</summary>
    public const int Steps = 100;

    private readonly TrainingConfig _config;
    private readonly int _topK;
    private readonly LoadTable _sum = new();
    private bool[] _hasCollapsed = []; // by MoE layer
    private long _judged;
    private long _last;

    /// <summary>Prepares to watch a run from its start.</summary>
    /// <param name="config">Its configuration; a model without experts is never alarming.</param>
    public CollapseWatch(TrainingConfig config) => (_config, _topK) = (config, config.Model?.Moe?.TopK ?? 0);

    /// <summary>Takes in what a run logged before it was interrupted, so that nothing is told twice.</summary>
    /// <param name="lines">Lines of loads.jsonl, as <see cref="LoadLog.Read"/> returns them.</param>
    public void Restore(IEnumerable<JsonElement> lines)
    {
        LoadTable load = new();
        foreach (JsonElement line in lines)
        {
            if (line.TryGetProperty("step", out JsonElement step) && step.TryGetInt64(out long number) && LoadLog.TryRead(line, load))
            {
                Add(number, 0, load);
            }
        }
    }

    /// <summary>Adds the loads of the steps since the last call.</summary>
    /// <param name="step">Step.</param>
    /// <param name="tokens">Training tokens seen.</param>
    /// <param name="window">Loads since the step before that was added.</param>
    /// <returns>What is new; mostly nothing.</returns>
    public IReadOnlyList<RoutingAlarm> Add(long step, long tokens, LoadTable window)
    {
        if (_topK == 0 || window.NumLayers == 0)
        {
            return [];
        }

        _sum.Add(window);
        _last = step;
        if (step - _judged < Steps)
        {
            return [];
        }

        IReadOnlyList<RoutingAlarm> alarms = Judge(tokens);
        _sum.Clear();
        _judged = step;
        return alarms;
    }

    private List<RoutingAlarm> Judge(long tokens)
    {
        if (_hasCollapsed.Length != _sum.NumLayers)
        {
            _hasCollapsed = new bool[_sum.NumLayers];
        }

        List<LoadCollapse> collapsed = [];
        List<int> recovered = [];
        for (int index = 0; index < _sum.NumLayers; index++)
        {
            ReadOnlySpan<long> loads = _sum.TokensPerExpert(index);
            if (_hasCollapsed[index] && LoadCollapse.HasRecovered(loads, _topK))
            {
                recovered.Add(_sum.Layer(index));
                _hasCollapsed[index] = false;
            }
            else if (!_hasCollapsed[index] && LoadCollapse.Of(_sum.Layer(index), loads, _topK) is { } collapse)
            {
                collapsed.Add(collapse);
                _hasCollapsed[index] = true;
            }
        }

        List<RoutingAlarm> alarms = [];
        if (collapsed.Count > 0)
        {
            alarms.Add(new RoutingAlarm(_last, tokens, false, collapsed.Count, $"{Stretch()} experts have collapsed: {CollapseWords.Describe(collapsed)}. {CollapseWords.Advice(_config)}"));
        }

        if (recovered.Count > 0)
        {
            string others = _hasCollapsed.Any(has => has) ? " Other layers are still collapsed." : "";
            alarms.Add(new RoutingAlarm(_last, tokens, true, recovered.Count, $"{Stretch()} the experts of layer{(recovered.Count == 1 ? "" : "s")} {string.Join(", ", recovered)} are all in use again.{others}"));
        }

        return alarms;
    }

    private string Stretch() => string.Create(CultureInfo.InvariantCulture, $"Step {_last}: over the last {_last - _judged} steps");
}
