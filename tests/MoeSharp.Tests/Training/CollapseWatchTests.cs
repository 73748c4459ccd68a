using System.Text.Json;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Moe.Balance;
using MoeSharp.Tensors;
using MoeSharp.Training;

namespace MoeSharp.Tests.Training;

public sealed class CollapseWatchTests : IDisposable
{
    private const string Router = "layers.0.moe.router"; // [experts, hidden]

    private readonly string _folder = Directory.CreateTempSubdirectory("moe-collapse").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData(16, 2, 4)] // half-way to 8 is 4.5, but never more than 4
    [InlineData(8, 2, 2.5)]
    [InlineData(4, 1, 2.5)]
    [InlineData(63, 7, 4)]
    [InlineData(4, 2, 2)] // half-way is 1.5, which is no collapse
    public void Crowded_is_half_way_to_all_tokens_at_the_same_experts(int experts, int topK, double expected) =>
        Assert.Equal(expected, LoadCollapse.CrowdedAbove(experts, topK));

    [Fact]
    public void Loads_are_judged_by_idle_experts_and_by_the_fullest()
    {
        Assert.Null(LoadCollapse.Of(0, [100, 100, 100, 100], 1));
        Assert.Null(LoadCollapse.Of(0, [250, 50, 50, 50], 1)); // 2.5 times the mean is the bound
        Assert.Null(LoadCollapse.Of(0, [1, 133, 133, 133], 1)); // 1 % of the mean of 100
        Assert.Null(LoadCollapse.Of(0, [0, 26, 26, 27], 1)); // too few tokens to say

        LoadCollapse idle = LoadCollapse.Of(5, [0, 133, 134, 133], 1)!;
        Assert.Equal((5, 4, 2, false), (idle.Layer, idle.NumExperts, idle.Fullest, idle.IsCrowded));
        Assert.Equal([0], idle.Idle);
        LoadCollapse crowded = LoadCollapse.Of(0, [252, 50, 49, 49], 1)!;
        Assert.True(crowded.IsCrowded);
        Assert.Empty(crowded.Idle);
        Assert.Equal(2.52, crowded.MaxOverMean, 9);
    }

    [Fact]
    public void A_collapse_is_told_once_and_so_is_its_end()
    {
        CollapseWatch watch = new(TinyText.Config("balance.expert_alpha=0")); // 3 of 8 experts
        List<RoutingAlarm> alarms = [];
        Feed(1, 99, Even);
        Feed(100, 100, Even);
        Assert.Empty(alarms); // balanced
        Feed(101, 200, [400, 400, 0, 0, 0, 0, 0, 0]);
        Feed(201, 400, [400, 400, 0, 0, 0, 0, 0, 0]);
        RoutingAlarm alarm = Assert.Single(alarms); // and not again
        Assert.Equal((200, false, 1), (alarm.Step, alarm.IsRecovery, alarm.NumLayers));
        Assert.Equal(
            "Step 200: over the last 100 steps experts have collapsed: in layer 3 experts 2, 3, 4, 5, 6, 7 (6 of 8) get less than 1 % of an even load, the fullest (expert 0) 4.0 times the mean. "
            + "To spread the tokens, set balance.expert_alpha (now 0), for example to 0.01, in a new run.", alarm.Message);
        Feed(401, 500, [100, 100, 100, 100, 100, 100, 100, 2]);
        Assert.Single(alarms); // expert 7 is no longer idle, but hardly in use
        Feed(501, 600, Even);
        Assert.Equal(2, alarms.Count);
        Assert.True(alarms[1].IsRecovery);
        Assert.Equal("Step 600: over the last 100 steps the experts of layer 3 are all in use again.", alarms[1].Message);

        void Feed(long first, long last, long[] loads)
        {
            for (long step = first; step <= last; step++)
            {
                alarms.AddRange(watch.Add(step, step * 10, Load(loads)));
            }
        }
    }

    [Fact]
    public void Advice_names_what_the_run_balances_by()
    {
        Assert.Contains("raise balance.expert_alpha (now 0.02)", CollapseWords.Advice(TinyText.Config("balance.expert_alpha=0.02")), StringComparison.Ordinal);
        Assert.Contains("raise balance.importance_alpha (now 0.1)", CollapseWords.Advice(TinyText.Config("balance.expert_alpha=0", "balance.importance_alpha=0.1")), StringComparison.Ordinal);
        Assert.Contains("balance.bias_update_speed (now 0.003)", CollapseWords.Advice(TinyText.Config("model.moesharp={ \"router\": \"top_k\", \"topk_method\": \"noaux_tc\" }", "balance.bias_update_speed=0.003")), StringComparison.Ordinal);
        Assert.Contains("'hash' does not learn", CollapseWords.Advice(TinyText.Config("model.moesharp.router=hash", "balance.expert_alpha=0")), StringComparison.Ordinal);
    }

    [Fact]
    public void Many_layers_and_experts_still_make_a_short_sentence()
    {
        LoadCollapse[] layers = [.. Enumerable.Range(0, 20).Select(layer => new LoadCollapse(layer, 100, [.. Enumerable.Range(0, 10 + layer)], 99, 3, false))];

        string text = CollapseWords.Describe(layers);

        Assert.StartsWith("in layer 19 experts 0, 1, 2, 3, 4, 5, 6, 7, ... (29 of 100)", text, StringComparison.Ordinal); // the worst first
        Assert.EndsWith("; and in 17 more layers", text, StringComparison.Ordinal);
    }

    [Fact]
    public void A_run_whose_experts_collapse_says_so_and_says_when_it_is_over()
    {
        using TinyText text = new();
        using WorkerPool workers = new(1);
        TrainingConfig config = TinyText.Config("budget.steps=200", "batch.tokens=64", "log_every_steps=10", "balance.expert_alpha=0.1", "validation.every_steps=0", "checkpoint.every_steps=0", "schedule.learning_rate=5e-3");
        RunFolder run = RunFolder.Create(Path.Combine(_folder, "run"), "test", TimeProvider.System);
        RouterView view = new(stopAfter: 150); // after the alarm, and in the middle of the steps that are judged next
        using (TrainingSession session = TrainingSession.Begin(run, config, text.Text, new SessionOptions { Workers = workers, View = view }))
        {
            view.Router = session.Model.Parameters.Single(parameter => parameter.Name == Router);
            view.Collapse();
            Assert.False(session.Trainer.Run(view.Stop));
        }

        using (TrainingSession session = TrainingSession.Resume(RunFolder.Open(run.Path), text.Text, new SessionOptions { Workers = workers, View = view }))
        {
            Assert.True(session.Trainer.Run(CancellationToken.None));
        }

        Assert.Equal(["collapsed after 100", "recovered after 200"], view.Told);
        JsonElement[] lines = [.. MetricsLog.Read(run.Path)];
        Assert.Equal([100L, 200L], lines.Where(line => line.TryGetProperty("alarm", out _)).Select(line => line.GetProperty("step").GetInt64()));
        string message = MetricsLog.Alarms(lines)[0];
        Assert.True(message.Contains("in layer 0 experts 4, 5, 6, 7 (4 of 8)", StringComparison.Ordinal), message);
        Assert.Contains("raise balance.expert_alpha (now 0.1)", message, StringComparison.Ordinal);
    }

    private static long[] Even => [100, 100, 100, 100, 100, 100, 100, 100];

    private static LoadTable Load(long[] counts)
    {
        RoutingRecord record = new();
        record.Reset();
        counts.CopyTo(record.Next(3, counts.Length).TokensPerExpert, 0);
        LoadTable load = new();
        load.Add(record);
        return load;
    }

    /// <summary>Makes the experts of a run collapse, lets them go after step 100 and remembers what it is told.</summary>
    private sealed class RouterView(int stopAfter) : ITrainingView
    {
        private readonly CancellationTokenSource _stop = new();
        private float[] _spread = [];

        public Parameter? Router { get; set; }

        public CancellationToken Stop => _stop.Token;

        public List<string> Told { get; } = [];

        // Logits a, -a, 0, 0, ...: of three experts one is expert 0 or 1, and the others are 2 and 3, the first of the equal ones.
        public void Collapse()
        {
            _spread = _spread.Length > 0 ? _spread : Router!.Value.ToArray();
            int hidden = _spread.Length / 8;
            _spread.CopyTo(Router!.Value); // a step has moved it a little
            Router.Value[hidden..].Clear();
            for (int column = 0; column < hidden; column++)
            {
                Router.Value[hidden + column] = -Router.Value[column];
            }
        }

        public void Stepped(in StepMetrics metrics, LoadTable load)
        {
            if (metrics.Step < 100)
            {
                Collapse();
            }
            else if (metrics.Step == 100)
            {
                _spread.CopyTo(Router!.Value);
            }

            if (metrics.Step == stopAfter)
            {
                _stop.Cancel();
            }
        }

        public void Validated(in ValidationResult result)
        {
        }

        public void Alarmed(RoutingAlarm alarm) => Told.Add($"{(alarm.IsRecovery ? "recovered" : "collapsed")} after {alarm.Step}");

        public void Saved(string path)
        {
        }
    }
}
