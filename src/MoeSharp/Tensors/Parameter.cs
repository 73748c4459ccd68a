using MoeSharp.Kernels;
using MoeSharp.Kernels.Quantized;

namespace MoeSharp.Tensors;

/// <summary>A named weight of a model: float32 and trainable, with its gradient once training asks for one, or packed for serving.</summary>
public sealed class Parameter : IDisposable
{
    private NativeBuffer? _value;
    private NativeBuffer? _gradient;

    /// <summary>Makes a float32 weight; its content is zero. Memory is taken when it is first used, unless it is packed before.</summary>
    /// <param name="name">Path in the model, for example <c>layers.3.moe.experts.down_projection</c>.</param>
    /// <param name="shape">Dimensions.</param>
    public Parameter(string name, Shape shape)
    {
        Name = name;
        Shape = shape;
    }

    /// <summary>Path in the model.</summary>
    public string Name { get; }

    /// <summary>Dimensions.</summary>
    public Shape Shape { get; }

    /// <summary>The weights in the layout that products read, or null when they are float32.</summary>
    public PackedMatrix? Packed { get; private set; }

    /// <summary>The weights, row-major.</summary>
    /// <exception cref="InvalidOperationException">They are packed.</exception>
    public Span<float> Value => (_value ?? Allocate()).Slice(0, checked((int)Shape.Length));

    /// <summary>Holds the weights packed from now on; they cannot be trained.</summary>
    /// <param name="matrix">As many groups, rows and columns as the shape has (one group for a matrix); owned from now on.</param>
    /// <exception cref="ShapeException">The sizes differ.</exception>
    public void Pack(PackedMatrix matrix)
    {
        int rank = Shape.Rank;
        int groups = rank == 3 ? Shape[0] : 1;
        if (rank < 2 || matrix.Groups != groups || matrix.Rows != Shape[rank - 2] || matrix.Columns != Shape[rank - 1])
        {
            ShapeException.Throw(Name, nameof(matrix), Shape.ToString(), $"[{matrix.Groups}, {matrix.Rows}, {matrix.Columns}]");
        }

        Packed?.Dispose();
        Packed = matrix;
        _value?.Dispose();
        _value = null;
    }

    /// <summary>The gradient, same layout as <see cref="Value"/>.</summary>
    /// <exception cref="InvalidOperationException"><see cref="AllocateGradient"/> was not called.</exception>
    public Span<float> Gradient => (_gradient ?? throw new InvalidOperationException($"{Name} has no gradient: call AllocateGradient first")).Slice(0, checked((int)Shape.Length));

    /// <summary>Whether a gradient is kept.</summary>
    public bool HasGradient => _gradient is not null;

    /// <summary>Whether the gradient holds nothing yet in this step, so that the first writer may overwrite instead of add.</summary>
    /// <remarks>Set it at the start of an optimiser step; the operation that writes the gradient clears it. Content is undefined while true.</remarks>
    public bool GradientIsEmpty { get; set; } = true;

    /// <summary>Allocates the gradient if there is none. Content is undefined until written.</summary>
    public void AllocateGradient() => _gradient ??= new NativeBuffer(Shape.Length);

    /// <summary>Gives the gradient to its next writer and notes that it is not empty any more.</summary>
    /// <param name="accumulate">Whether the writer must add to what is there; otherwise the content is undefined.</param>
    internal Span<float> WriteGradient(out bool accumulate)
    {
        accumulate = !GradientIsEmpty;
        GradientIsEmpty = false;
        return Gradient;
    }

    /// <summary>As <see cref="WriteGradient"/> for writers that only add: an empty gradient becomes zero first.</summary>
    internal Span<float> AddToGradient()
    {
        Span<float> gradient = WriteGradient(out bool accumulate);
        if (!accumulate)
        {
            gradient.Clear();
        }

        return gradient;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _value?.Dispose();
        _gradient?.Dispose();
        Packed?.Dispose();
    }

    // Several threads may fill one weight: the first to come allocates it.
    private NativeBuffer Allocate()
    {
        if (Packed is not null)
        {
            throw new InvalidOperationException($"{Name} is packed: it has no float32 values");
        }

        NativeBuffer fresh = new(Shape.Length);
        fresh.Clear();
        if (Interlocked.CompareExchange(ref _value, fresh, null) is { } first)
        {
            fresh.Dispose();
            return first;
        }

        return fresh;
    }
}
