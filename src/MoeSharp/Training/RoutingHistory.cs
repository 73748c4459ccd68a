using System.Globalization;
using System.Text.Json;
using MoeSharp.Execution;

namespace MoeSharp.Training;

/// <summary>Keeps a run's choices on a sample of held-out data at some of its steps, and at its end says how soon they were the final ones (router saturation).</summary>
/// <remarks>Choices take a few hundred kilobytes where a checkpoint takes megabytes; they are deleted when the run is finished.</remarks>
public sealed class RoutingHistory
{
    /// <summary>Name of the file with the result in a run folder.</summary>
    public const string FileName = "saturation.json";

    private const string FolderName = "choices";
    private const string Prefix = "step-";
    private const string Suffix = ".bin";
    private const int MostTokens = 2048; // held-out targets per look: shares are known to about one per cent

    private readonly string _run;
    private readonly IReadOnlyList<double> _shares;
    private readonly IHeldOut _heldOut;
    private readonly ForwardContext _context;

    /// <summary>Prepares to keep choices.</summary>
    /// <param name="run">Run folder.</param>
    /// <param name="shares">Shares of the run after which to look; empty for never.</param>
    /// <param name="heldOut">Held-out data.</param>
    /// <param name="context">The context that it measures with.</param>
    public RoutingHistory(string run, IReadOnlyList<double> shares, IHeldOut heldOut, ForwardContext context) =>
        (_run, _shares, _heldOut, _context) = (run, shares, heldOut, context);

    private string Folder => Path.Combine(_run, FolderName);

    /// <summary>Looks when the run passes one of the shares.</summary>
    /// <param name="before">Share of the run that was done before the last step; below 0 before the first.</param>
    /// <param name="after">Share that is done now.</param>
    /// <param name="state">How far the run has come.</param>
    public void Pass(double before, double after, in TrainingState state)
    {
        foreach (double share in _shares)
        {
            if (share > before && share <= after)
            {
                Keep(Look(state), state.Step);
                return;
            }
        }
    }

    /// <summary>Looks once more and writes the saturation of every earlier look.</summary>
    /// <param name="state">The end of the run.</param>
    public void Finish(in TrainingState state)
    {
        if (_shares.Count == 0)
        {
            return;
        }

        RouterChoices last = Look(state);
        if (last.NumLayers == 0)
        {
            return; // no experts
        }

        List<SaturationPoint> points = [];
        foreach ((long step, string path) in Files())
        {
            using FileStream file = File.OpenRead(path);
            if (step < state.Step && RouterChoices.Read(file) is { } choices)
            {
                points.Add(choices.Against(step, last));
            }
        }

        Write([.. points, last.Against(state.Step, last)]);
    }

    /// <summary>Deletes the choices of a run whose result is written.</summary>
    public void Forget()
    {
        if (_shares.Count > 0 && Directory.Exists(Folder))
        {
            Directory.Delete(Folder, recursive: true);
        }
    }

    /// <summary>Reads the result of a finished run.</summary>
    /// <param name="run">Run folder.</param>
    /// <returns>Points in order of their steps, the end last; empty where nothing was kept, or the file cannot be read.</returns>
    public static IReadOnlyList<SaturationPoint> Read(string run)
    {
        string path = Path.Combine(run, FileName);
        if (!File.Exists(path))
        {
            return [];
        }

        try
        {
            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(path));
            int[] layers = [.. document.RootElement.GetProperty("layers").EnumerateArray().Select(layer => layer.GetInt32())];
            SaturationPoint[] points =
            [
                .. document.RootElement.GetProperty("points").EnumerateArray()
                    .Select(point => new SaturationPoint(point.GetProperty("step").GetInt64(), layers, [.. point.GetProperty("saturation").EnumerateArray().Select(share => share.GetDouble())]))
                    .OrderBy(point => point.Step),
            ];
            return layers.Length > 0 && Array.TrueForAll(points, point => point.Shares.Count == layers.Length) ? points : [];
        }
        catch (Exception error) when (error is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            return []; // somebody has changed the file
        }
    }

    private RouterChoices Look(in TrainingState state)
    {
        RouterChoices choices = new();
        bool[] counts = [];
        int firstLayer = -1;
        _context.MoeObserver = (in MoeView view) =>
        {
            firstLayer = firstLayer < 0 ? view.Layer : firstLayer;
            if (view.Layer == firstLayer)
            {
                choices.BeginPass(); // the first layer with experts: a new pass
                counts = [.. _context.Batch.IsPadding.ToArray().Select(isPadding => !isPadding)];
            }

            choices.Add(view, counts);
        };
        try
        {
            _heldOut.Measure(MostTokens, state.Step, state.Tokens);
        }
        finally
        {
            _context.MoeObserver = null;
        }

        return choices;
    }

    private void Keep(RouterChoices choices, long step)
    {
        if (choices.NumLayers == 0)
        {
            return;
        }

        Directory.CreateDirectory(Folder);
        string path = Path.Combine(Folder, string.Create(CultureInfo.InvariantCulture, $"{Prefix}{step}{Suffix}"));
        using (FileStream file = new(path + ".tmp", FileMode.Create))
        using (BufferedStream buffered = new(file))
        {
            choices.Write(buffered);
        }

        File.Move(path + ".tmp", path, overwrite: true);
    }

    private List<(long Step, string Path)> Files()
    {
        List<(long, string)> files = [];
        foreach (string path in Directory.Exists(Folder) ? Directory.EnumerateFiles(Folder, $"{Prefix}*{Suffix}") : [])
        {
            if (long.TryParse(Path.GetFileNameWithoutExtension(path).AsSpan(Prefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out long step))
            {
                files.Add((step, path));
            }
        }

        return [.. files.Order()];
    }

    private void Write(List<SaturationPoint> points)
    {
        string path = Path.Combine(_run, FileName);
        using (FileStream file = new(path + ".tmp", FileMode.Create))
        using (Utf8JsonWriter json = new(file))
        {
            json.WriteStartObject();
            json.WriteStartArray("layers");
            foreach (int layer in points[0].Layers)
            {
                json.WriteNumberValue(layer);
            }

            json.WriteEndArray();
            json.WriteStartArray("points");
            foreach (SaturationPoint point in points)
            {
                json.WriteStartObject();
                json.WriteNumber("step", point.Step);
                json.WriteStartArray("saturation");
                foreach (double share in point.Shares)
                {
                    json.WriteNumberValue(share);
                }

                json.WriteEndArray();
                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        File.Move(path + ".tmp", path, overwrite: true);
    }
}
