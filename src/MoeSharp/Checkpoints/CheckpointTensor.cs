namespace MoeSharp.Checkpoints;

/// <summary>A tensor of a checkpoint with all the slices that read it: what writes it back.</summary>
/// <param name="Name">Name in the file.</param>
/// <param name="Shape">Dimensions.</param>
/// <param name="Slices">What it consists of; together they cover it once.</param>
internal sealed record CheckpointTensor(string Name, IReadOnlyList<long> Shape, IReadOnlyList<WeightSlice> Slices)
{
    /// <summary>Number of elements.</summary>
    public long Length => Shape.Aggregate(1L, (product, dimension) => checked(product * dimension));

    /// <summary>The tensors of a table, in the order in which the table first names them.</summary>
    public static List<CheckpointTensor> Group(IEnumerable<WeightSlice> slices) =>
        [.. slices.GroupBy(slice => slice.CheckpointName, StringComparer.Ordinal).Select(group => new CheckpointTensor(group.Key, group.First().CheckpointShape, [.. group]))];

    /// <summary>Whether the tensor is one range of a parameter, as it lies there.</summary>
    public bool IsOneRange => Slices.Count == 1 && Slices[0].IsContiguous && Slices[0].Length == Length;

    /// <summary>Copies the tensor's elements together.</summary>
    /// <param name="parameter">Gives the elements of a parameter.</param>
    public float[] Gather(Func<string, ReadOnlyMemory<float>> parameter)
    {
        float[] values = new float[Length];
        foreach (WeightSlice slice in Slices)
        {
            WeightRows.Scatter(slice, parameter(slice.ParameterName).Span, values);
        }

        return values;
    }
}
