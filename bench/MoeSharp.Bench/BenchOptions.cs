namespace MoeSharp.Bench;

/// <summary>What a suite is asked to measure; a suite ignores none that it documents and refuses the others.</summary>
/// <param name="Threads">Workers.</param>
/// <param name="Preset">Model, or null for the suite's own choice.</param>
/// <param name="Weights">Names of weight formats; empty for the suite's own choice.</param>
/// <param name="Batch">Sequences that decode together; empty for the suite's own choice.</param>
/// <param name="Prompt">Tokens of the prompt, or null for the suite's own choice.</param>
public sealed record BenchOptions(int Threads, string? Preset, IReadOnlyList<string> Weights, IReadOnlyList<int> Batch, int? Prompt)
{
    /// <summary>Whether anything but the number of threads is set.</summary>
    public bool HasDetails => Preset is not null || Weights.Count > 0 || Batch.Count > 0 || Prompt is not null;
}
