using MoeSharp.Kernels;

namespace MoeSharp.Tensors;

/// <summary>A named, trainable weight of a model, with its gradient once training asks for one.</summary>
public sealed class Parameter : IDisposable
{
    private readonly NativeBuffer _value;
    private NativeBuffer? _gradient;

    /// <summary>Allocates the weight; its content is zero.</summary>
    /// <param name="name">Path in the model, for example <c>layers.3.moe.experts.down_projection</c>.</param>
    /// <param name="shape">Dimensions.</param>
    public Parameter(string name, Shape shape)
    {
        Name = name;
        Shape = shape;
        _value = new NativeBuffer(shape.Length);
        Value.Clear();
    }

    /// <summary>Path in the model.</summary>
    public string Name { get; }

    /// <summary>Dimensions.</summary>
    public Shape Shape { get; }

    /// <summary>The weights, row-major.</summary>
    public Span<float> Value => _value.Slice(0, checked((int)Shape.Length));

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
        _value.Dispose();
        _gradient?.Dispose();
    }
}
