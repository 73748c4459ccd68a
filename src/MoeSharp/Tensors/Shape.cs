namespace MoeSharp.Tensors;

/// <summary>Dimensions of a row-major tensor of rank 1 to 3.</summary>
public readonly record struct Shape
{
    private readonly int _first;
    private readonly int _second;
    private readonly int _third;

    /// <summary>A vector.</summary>
    public Shape(int first) => (Rank, _first, _second, _third) = (1, first, 1, 1);

    /// <summary>A matrix.</summary>
    public Shape(int first, int second) => (Rank, _first, _second, _third) = (2, first, second, 1);

    /// <summary>A stack of matrices.</summary>
    public Shape(int first, int second, int third) => (Rank, _first, _second, _third) = (3, first, second, third);

    /// <summary>Number of dimensions.</summary>
    public int Rank { get; }

    /// <summary>Number of elements.</summary>
    public long Length => (long)_first * _second * _third;

    /// <summary>Size of dimension <paramref name="axis"/>, counted from the left.</summary>
    public int this[int axis] => axis switch
    {
        0 when Rank > 0 => _first,
        1 when Rank > 1 => _second,
        2 when Rank > 2 => _third,
        _ => throw new ArgumentOutOfRangeException(nameof(axis), axis, $"the shape {this} has {Rank} dimensions"),
    };

    /// <summary>Dimensions as an array.</summary>
    public int[] ToArray() => Rank switch { 1 => [_first], 2 => [_first, _second], _ => [_first, _second, _third] };

    /// <inheritdoc/>
    public override string ToString() => "[" + string.Join(", ", ToArray()) + "]";
}
