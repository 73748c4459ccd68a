using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Moe.Routing;

/// <summary>Where a router's random numbers come from.</summary>
public interface IRouterNoise
{
    /// <summary>Numbers from 0 (inclusive) to 1 (exclusive), evenly distributed.</summary>
    /// <param name="shape">How many.</param>
    /// <param name="context">Context.</param>
    Tensor Uniform(Shape shape, ForwardContext context);

    /// <summary>Numbers with mean 0 and standard deviation 1, normally distributed.</summary>
    /// <param name="shape">How many.</param>
    /// <param name="context">Context.</param>
    Tensor Normal(Shape shape, ForwardContext context);

    /// <summary>Numbers -log(-log u): the largest of logits plus such numbers is a sample from their softmax.</summary>
    /// <param name="shape">How many.</param>
    /// <param name="context">Context.</param>
    Tensor Gumbel(Shape shape, ForwardContext context);
}

/// <summary>Numbers that depend on the pass's seed and the router's place alone: the same for any number of workers and after resuming.</summary>
/// <param name="place">Path of the router in the model; other routers draw other numbers.</param>
public sealed class SeededNoise(string place) : IRouterNoise
{
    private readonly ulong _stream = Fnv1a.Of(place);

    /// <inheritdoc/>
    public Tensor Uniform(Shape shape, ForwardContext context)
    {
        Tensor numbers = context.Pool.Rent(shape);
        UniformFill.Fill(context.Workers, Seed(context), numbers.Data);
        return numbers;
    }

    /// <inheritdoc/>
    public Tensor Normal(Shape shape, ForwardContext context)
    {
        Tensor numbers = context.Pool.Rent(shape);
        NormalNoise.Fill(context.Workers, Seed(context), numbers.Data);
        return numbers;
    }

    /// <inheritdoc/>
    public Tensor Gumbel(Shape shape, ForwardContext context)
    {
        Tensor numbers = context.Pool.Rent(shape);
        UniformFill.FillGumbel(context.Workers, Seed(context), numbers.Data);
        return numbers;
    }

    private ulong Seed(ForwardContext context) => new SplitMix64(context.NoiseSeed, _stream).Next();
}
