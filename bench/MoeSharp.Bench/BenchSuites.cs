namespace MoeSharp.Bench;

/// <summary>The suites by name. A suite is one class with <c>Run(threads)</c>; add it here and <c>moe bench</c> knows it.</summary>
public static class BenchSuites
{
    private static readonly Dictionary<string, Func<int, IReadOnlyList<BenchResult>>> Suites = new(StringComparer.Ordinal)
    {
        ["kernels"] = KernelBenchmarks.Run,
        ["kernels-large"] = KernelBenchmarks.RunLarge,
        ["tiny"] = threads => TrainingBenchmarks.Run("tiny", threads),
        ["small"] = threads => TrainingBenchmarks.Run("small", threads),
        ["layer16b"] = LayerBenchmarks.Run,
        ["attention"] = AttentionBenchmarks.Run,
        ["elementwise"] = ElementwiseBenchmarks.Run,
        ["formats"] = _ => FormatBenchmarks.Run(),
    };

    /// <summary>Names of the suites; the first one runs when none is asked for.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. Suites.Keys];

    /// <summary>Gives the suite of that name: a function of the number of threads.</summary>
    /// <exception cref="ConfigurationException">There is no such suite.</exception>
    public static Func<int, IReadOnlyList<BenchResult>> Find(string name) =>
        Suites.TryGetValue(name, out Func<int, IReadOnlyList<BenchResult>>? suite)
            ? suite
            : throw new ConfigurationException($"There is no benchmark suite '{name}'. Use one of: {string.Join(", ", Names)}.");
}
