using MoeSharp.Kernels.Formats;

namespace MoeSharp.Checkpoints.Export;

/// <summary>A tensor that was written.</summary>
/// <param name="Name">Name in the new file.</param>
/// <param name="Format">Stored format.</param>
/// <param name="Weights">Numbers.</param>
/// <param name="Bytes">Bytes stored.</param>
/// <param name="IsCopied">Whether the stored bytes were already in this format.</param>
public readonly record struct WrittenTensor(string Name, WeightFormat Format, long Weights, long Bytes, bool IsCopied);

/// <summary>Experts of a layer that calibration text reached.</summary>
/// <param name="Parameter">Their matrices.</param>
/// <param name="Rows">Rows that each expert saw.</param>
public sealed record ExpertCoverage(string Parameter, IReadOnlyList<long> Rows)
{
    /// <summary>Experts that no token reached; they are quantised with equal weights for all columns.</summary>
    public int NumUnreached => Rows.Count(rows => rows == 0);
}

/// <summary>What was written.</summary>
/// <param name="Path">File or folder.</param>
/// <param name="Tensors">Its tensors.</param>
/// <param name="SourceTensors">Tensors of the source.</param>
/// <param name="SourceTensorsUsed">Those of them that the model consists of.</param>
/// <param name="SourceBytes">Bytes of all tensors of the source.</param>
/// <param name="Ignored">Names of tensors of the source that the model does not need and the new file does not have.</param>
/// <param name="Coverage">Experts reached by calibration; empty without it.</param>
/// <param name="Warnings">What the reader of the receipt should know.</param>
public sealed record ExportReport(
    string Path,
    IReadOnlyList<WrittenTensor> Tensors,
    int SourceTensors,
    int SourceTensorsUsed,
    long SourceBytes,
    IReadOnlyList<string> Ignored,
    IReadOnlyList<ExpertCoverage> Coverage,
    IReadOnlyList<string> Warnings)
{
    /// <summary>Bytes written for tensors.</summary>
    public long Bytes => Tensors.Sum(tensor => tensor.Bytes);
}
