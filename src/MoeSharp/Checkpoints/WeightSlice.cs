namespace MoeSharp.Checkpoints;

/// <summary>A range of rows of a parameter and where a checkpoint's tensor holds their elements.</summary>
/// <remarks>
/// Element (row, column) of the range is element <c>SourceOffset + row * SourceRowStep + column * SourceColumnStep</c> of the tensor. With the default steps the range
/// lies in the tensor as it does in the parameter; other steps read fused, stacked, transposed and interleaved tensors. Several slices may read one tensor.
/// A vector of n elements is n rows of one column.
/// </remarks>
/// <param name="CheckpointName">Name of the tensor.</param>
/// <param name="CheckpointShape">Dimensions that the tensor must have.</param>
/// <param name="ParameterName">Name of the parameter.</param>
/// <param name="FirstRow">First row of the range, counted over all groups of the parameter.</param>
/// <param name="NumRows">Rows of the range.</param>
/// <param name="NumColumns">Elements of a row.</param>
public sealed record WeightSlice(string CheckpointName, IReadOnlyList<long> CheckpointShape, string ParameterName, long FirstRow, long NumRows, int NumColumns)
{
    /// <summary>Element of the tensor that is the range's first.</summary>
    public long SourceOffset { get; init; }

    /// <summary>Elements of the tensor from one row to the next.</summary>
    public long SourceRowStep { get; init; } = NumColumns;

    /// <summary>Elements of the tensor from one column to the next.</summary>
    public long SourceColumnStep { get; init; } = 1;

    /// <summary>First element of the range within the parameter.</summary>
    public long FirstElement => checked(FirstRow * NumColumns);

    /// <summary>Number of elements of the range.</summary>
    public long Length => checked(NumRows * NumColumns);

    /// <summary>Whether the range lies in the tensor element after element.</summary>
    public bool IsContiguous => SourceColumnStep == 1 && SourceRowStep == NumColumns;

    /// <summary>Whether each row lies in the tensor element after element.</summary>
    public bool HasContiguousRows => SourceColumnStep == 1;

    /// <summary>The range of a tensor that fills rows exactly as it is stored.</summary>
    /// <param name="checkpointName">Name of the tensor.</param>
    /// <param name="parameterName">Name of the parameter.</param>
    /// <param name="firstRow">Row of the parameter where the tensor begins.</param>
    /// <param name="shape">Dimensions of the tensor; the last is the parameter's row, except that of a vector, whose elements are rows.</param>
    public static WeightSlice Whole(string checkpointName, string parameterName, long firstRow, params long[] shape)
    {
        long length = shape.Aggregate(1L, (product, dimension) => checked(product * dimension));
        int columns = shape.Length < 2 ? 1 : checked((int)shape[^1]);
        return new WeightSlice(checkpointName, shape, parameterName, firstRow, columns == 0 ? 0 : length / columns, columns);
    }
}
