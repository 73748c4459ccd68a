using MoeSharp.Kernels.Formats;

namespace MoeSharp.Checkpoints;

/// <summary>One tensor of a checkpoint.</summary>
/// <param name="Name">Name in the file.</param>
/// <param name="Shape">Dimensions, the contiguous one last; empty for a single number.</param>
/// <param name="Format">How its elements are stored.</param>
public sealed record WeightTensor(string Name, IReadOnlyList<long> Shape, WeightFormat Format)
{
    /// <summary>Number of elements.</summary>
    public long Length => Shape.Aggregate(1L, (product, dimension) => checked(product * dimension));

    /// <summary>Bytes stored.</summary>
    /// <exception cref="ShapeException">A row is not whole blocks.</exception>
    public long ByteLength => Length == 0 ? 0 : checked(Format.RowBytes(Shape.Count == 0 ? 1 : Shape[^1]) * (Shape.Count == 0 ? 1 : Length / Shape[^1]));
}

/// <summary>The tensors of a checkpoint, whatever its files are; reading is safe from several threads at once.</summary>
public interface IWeightSource : IDisposable
{
    /// <summary>Where the tensors come from, for messages.</summary>
    string Description { get; }

    /// <summary>All tensor names.</summary>
    IReadOnlyCollection<string> Names { get; }

    /// <summary>The tensor with a name, or null.</summary>
    /// <exception cref="FileFormatException">It is there, but in a format that holds no weights.</exception>
    WeightTensor? Find(string name);

    /// <summary>Copies elements as they are stored.</summary>
    /// <param name="tensor">A tensor of this source.</param>
    /// <param name="firstElement">First element; a multiple of the format's block length.</param>
    /// <param name="count">Elements; a multiple of the block length.</param>
    /// <param name="blocks">= their blocks.</param>
    void ReadBlocks(WeightTensor tensor, long firstElement, long count, Span<byte> blocks);

    /// <summary>Reads elements as floats.</summary>
    /// <param name="tensor">A tensor of this source.</param>
    /// <param name="firstElement">First element, anywhere.</param>
    /// <param name="values">= elements from there on.</param>
    void ReadFloats(WeightTensor tensor, long firstElement, Span<float> values);
}
