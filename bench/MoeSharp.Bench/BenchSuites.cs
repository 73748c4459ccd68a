namespace MoeSharp.Bench;

/// <summary>The suites by name. A suite is one class with a <c>Run</c>; add it here and <c>moe bench</c> knows it.</summary>
public static class BenchSuites
{
    private static readonly Dictionary<string, Func<BenchOptions, IReadOnlyList<BenchResult>>> Suites = new(StringComparer.Ordinal)
    {
        ["kernels"] = Plain(KernelBenchmarks.Run),
        ["kernels-large"] = Plain(KernelBenchmarks.RunLarge),
        ["tiny"] = Plain(threads => TrainingBenchmarks.Run("tiny", threads)),
        ["small"] = Plain(threads => TrainingBenchmarks.Run("small", threads)),
        ["routers"] = Plain(RouterBenchmarks.Run),
        ["fine-grained"] = Plain(StepBenchmarks.Run),
        ["study"] = Plain(StudyBenchmarks.Run),
        ["layer16b"] = Plain(LayerBenchmarks.Run),
        ["attention"] = Plain(AttentionBenchmarks.Run),
        ["elementwise"] = Plain(ElementwiseBenchmarks.Run),
        ["quantized"] = QuantizedBenchmarks.Run,
        ["decode"] = DecodeBenchmarks.Run,
        ["formats"] = Plain(_ => FormatBenchmarks.Run()),
    };

    /// <summary>Names of the suites; the first one runs when none is asked for.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. Suites.Keys];

    /// <summary>Gives the suite of that name.</summary>
    /// <exception cref="ConfigurationException">There is no such suite.</exception>
    public static Func<BenchOptions, IReadOnlyList<BenchResult>> Find(string name) =>
        Suites.TryGetValue(name, out Func<BenchOptions, IReadOnlyList<BenchResult>>? suite)
            ? suite
            : throw new ConfigurationException($"There is no benchmark suite '{name}'. Use one of: {string.Join(", ", Names)}.");

    private static Func<BenchOptions, IReadOnlyList<BenchResult>> Plain(Func<int, IReadOnlyList<BenchResult>> run) =>
        options => options.HasDetails
            ? throw new ConfigurationException("This suite measures a fixed set: leave out --preset, --weights, --batch and --prompt, or use the suites quantized and decode.")
            : run(options.Threads);
}
