using System.Globalization;
using MoeSharp.Analysis.Study;
using MoeSharp.Checkpoints;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Training;

namespace MoeSharp.Cli.Study;

/// <summary>Router saturation over the checkpoints that a run folder still holds, or as the run measured it.</summary>
internal static class RunSaturation
{
    private const string StepPrefix = "step-";

    /// <summary>Compares every checkpoint of a run with its last one. Where only one is left, what the run itself kept about its routers; empty where there is neither.</summary>
    /// <param name="path">What the user named as the model.</param>
    /// <param name="last">The model that was loaded from it.</param>
    /// <param name="lastFolder">Its folder.</param>
    /// <param name="text">Text.</param>
    /// <param name="workers">Workers.</param>
    /// <param name="cancellation">Checked before each pass.</param>
    public static IReadOnlyList<SaturationPoint> Measure(string path, LanguageModel last, string lastFolder, StudyText text, WorkerPool workers, CancellationToken cancellation)
    {
        List<(long Step, string Folder)> checkpoints = Find(path);
        int end = checkpoints.FindIndex(checkpoint => Path.GetFullPath(checkpoint.Folder) == Path.GetFullPath(lastFolder));
        if (end < 0 || last.Config.Moe is null)
        {
            return [];
        }

        if (end == 0)
        {
            IReadOnlyList<SaturationPoint> kept = RoutingHistory.Read(path);
            return kept.Count > 1 && kept[^1].Step == checkpoints[0].Step ? kept : [];
        }

        RouterChoices final = RouterSaturation.ChoicesOf(last, text, workers, cancellation);
        List<SaturationPoint> points = [];
        foreach ((long step, string folder) in checkpoints.Take(end))
        {
            using ModelFiles files = ModelFiles.Open(folder);
            using LanguageModel model = files.Load(new LoadOptions { Threads = workers.Workers }, cancellation);
            points.Add(RouterSaturation.ChoicesOf(model, text, workers, cancellation).Against(step, final));
        }

        return [.. points, final.Against(checkpoints[end].Step, final)];
    }

    private static List<(long Step, string Folder)> Find(string path)
    {
        string folder = Path.Combine(path, CheckpointStore.FolderName);
        List<(long, string)> found = [];
        foreach (string checkpoint in Directory.Exists(folder) ? Directory.EnumerateDirectories(folder, StepPrefix + "*") : [])
        {
            if (long.TryParse(Path.GetFileName(checkpoint).AsSpan(StepPrefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out long step))
            {
                found.Add((step, checkpoint));
            }
        }

        return [.. found.Order()];
    }
}
