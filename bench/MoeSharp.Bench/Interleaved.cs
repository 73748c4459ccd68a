using System.Diagnostics;
using MoeSharp.Kernels;

namespace MoeSharp.Bench;

/// <summary>Times several actions in turns with the peak probe, so that drift of the machine meets all alike.</summary>
internal sealed class Interleaved(WorkerPool workers)
{
    private const int MinRounds = 5;
    private const double MinSeconds = 0.6;

    private readonly List<string> _names = [];
    private readonly List<double> _work = [];
    private readonly List<Action> _actions = [];

    /// <summary>Median of the peak probes of the last <see cref="Measure"/>, GFLOP/s.</summary>
    public double Peak { get; private set; }

    /// <summary>Adds an action that does so many floating-point operations.</summary>
    public void Add(string name, double operations, Action action)
    {
        _names.Add(name);
        _work.Add(operations);
        _actions.Add(action);
    }

    /// <summary>Runs everything in rounds; returns the median rate of each action in GFLOP/s, in the order of adding.</summary>
    public IReadOnlyList<(string Name, double Gflops)> Measure()
    {
        foreach (Action action in _actions)
        {
            action(); // compiles, touches memory
        }

        List<double> peaks = [];
        List<double>[] times = [.. _actions.Select(_ => new List<double>())];
        long begin = Stopwatch.GetTimestamp();
        while (peaks.Count < MinRounds || Stopwatch.GetElapsedTime(begin).TotalSeconds < MinSeconds)
        {
            peaks.Add(MachineProbe.FmaSample(workers));
            for (int index = 0; index < _actions.Count; index++)
            {
                long start = Stopwatch.GetTimestamp();
                _actions[index]();
                times[index].Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
            }
        }

        Peak = Median(peaks);
        return [.. _names.Select((name, index) => (name, _work[index] / Median(times[index]) / 1e9))];
    }

    private static double Median(List<double> values)
    {
        values.Sort();
        return values[values.Count / 2];
    }
}
