using MoeSharp.Execution;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;

namespace MoeSharp.Verification.Routing;

/// <summary>Random numbers that a case gives instead of drawing them.</summary>
/// <param name="numbers">The numbers, whatever their distribution.</param>
internal sealed class GivenNoise(float[] numbers) : IRouterNoise
{
    /// <inheritdoc/>
    public Tensor Uniform(Shape shape, ForwardContext context) => Give(shape, context);

    /// <inheritdoc/>
    public Tensor Normal(Shape shape, ForwardContext context) => Give(shape, context);

    /// <inheritdoc/>
    public Tensor Gumbel(Shape shape, ForwardContext context) => Give(shape, context);

    private Tensor Give(Shape shape, ForwardContext context)
    {
        Tensor given = context.Pool.Rent(shape);
        numbers.CopyTo(given.Data); // throws when the case gives more than the router asks for
        return numbers.Length == given.Data.Length ? given : throw new InvalidOperationException($"the case gives {numbers.Length} random numbers, the router asks for {shape}");
    }
}
