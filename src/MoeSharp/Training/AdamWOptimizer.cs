using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Training;

/// <summary>AdamW over a model's parameters, with clipping by the global gradient norm.</summary>
/// <remarks>
/// g = g * min(1, clip / (norm + 1e-6)); then arXiv 1711.05101, algorithm 2. Weights are decayed before the step is taken.
/// By default only matrices decay (every tensor of rank 2 and more: projections, router, embedding, head).
/// </remarks>
public sealed class AdamWOptimizer : IDisposable
{
    private const double ClipEpsilon = 1e-6; // keeps the factor finite for a zero gradient; the convention of golden/README.md

    private readonly OptimizerConfig _config;
    private readonly NativeBuffer[] _firstMoments;
    private readonly NativeBuffer[] _secondMoments;

    /// <summary>Allocates gradients and zero moments for every parameter.</summary>
    /// <param name="parameters">Parameters; not owned.</param>
    /// <param name="config">Coefficients.</param>
    public AdamWOptimizer(IReadOnlyList<Parameter> parameters, OptimizerConfig config)
    {
        Parameters = parameters;
        _config = config;
        _firstMoments = new NativeBuffer[parameters.Count];
        _secondMoments = new NativeBuffer[parameters.Count];
        for (int i = 0; i < parameters.Count; i++)
        {
            parameters[i].AllocateGradient();
            _firstMoments[i] = new NativeBuffer(parameters[i].Shape.Length);
            _secondMoments[i] = new NativeBuffer(parameters[i].Shape.Length);
            FirstMoment(i).Clear();
            SecondMoment(i).Clear();
        }
    }

    /// <summary>The parameters that are updated, in model order.</summary>
    public IReadOnlyList<Parameter> Parameters { get; }

    /// <summary>Updates made so far; set when a run is resumed.</summary>
    public long StepsDone { get; set; }

    /// <summary>First moment of parameter <paramref name="index"/>, laid out like its value.</summary>
    public Span<float> FirstMoment(int index) => _firstMoments[index].Slice(0, checked((int)_firstMoments[index].Length));

    /// <summary>Second moment of parameter <paramref name="index"/>, laid out like its value.</summary>
    public Span<float> SecondMoment(int index) => _secondMoments[index].Slice(0, checked((int)_secondMoments[index].Length));

    /// <summary>Declares every gradient empty: the first backward pass of a step overwrites, later ones add.</summary>
    public void ClearGradients()
    {
        for (int i = 0; i < Parameters.Count; i++)
        {
            Parameters[i].GradientIsEmpty = true;
        }
    }

    /// <summary>Global norm of the gradient, before clipping; the same bits for any number of workers.</summary>
    public double GradientNorm(WorkerPool workers)
    {
        double sum = 0;
        for (int i = 0; i < Parameters.Count; i++)
        {
            if (!Parameters[i].GradientIsEmpty)
            {
                sum += Elementwise.SumOfSquares(workers, Parameters[i].Gradient);
            }
        }

        return Math.Sqrt(sum);
    }

    /// <summary>Clips and updates every parameter that has a gradient.</summary>
    /// <param name="learningRate">Rate of this update.</param>
    /// <param name="gradientNorm">What <see cref="GradientNorm"/> returned.</param>
    /// <param name="workers">Workers.</param>
    public void Step(float learningRate, double gradientNorm, WorkerPool workers)
    {
        StepsDone++;
        float scale = _config.ClipNorm > 0 ? (float)Math.Min(1, _config.ClipNorm / (gradientNorm + ClipEpsilon)) : 1f;
        AdamWCoefficients coefficients = new(
            learningRate,
            _config.Beta1,
            _config.Beta2,
            _config.Epsilon,
            _config.WeightDecay,
            BiasCorrection1: (float)(1 - Math.Pow(_config.Beta1, StepsDone)),
            BiasCorrection2: (float)(1 - Math.Pow(_config.Beta2, StepsDone)),
            scale);
        AdamWCoefficients withoutDecay = coefficients with { WeightDecay = 0 };
        for (int i = 0; i < Parameters.Count; i++)
        {
            Parameter parameter = Parameters[i];
            if (parameter.GradientIsEmpty)
            {
                continue; // nothing was written: no update, as for a parameter that does not take part
            }

            bool decays = _config.DecayEveryTensor || parameter.Shape.Rank > 1;
            AdamW.Step(workers, decays ? coefficients : withoutDecay, parameter.Value, parameter.Gradient, FirstMoment(i), SecondMoment(i));
        }
    }

    /// <summary>The parameter with the largest gradient norm; one that is not finite counts as the largest.</summary>
    public NamedNorm LargestGradient(WorkerPool workers)
    {
        NamedNorm largest = new("none", 0);
        foreach (Parameter parameter in Parameters)
        {
            if (parameter.GradientIsEmpty)
            {
                continue;
            }

            double norm = Math.Sqrt(Elementwise.SumOfSquares(workers, parameter.Gradient));
            if (!double.IsFinite(norm))
            {
                return new NamedNorm(parameter.Name, norm);
            }

            if (norm > largest.Norm)
            {
                largest = new NamedNorm(parameter.Name, norm);
            }
        }

        return largest;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (NativeBuffer buffer in _firstMoments.Concat(_secondMoments))
        {
            buffer.Dispose();
        }
    }
}

/// <summary>A parameter's name with the norm of its gradient.</summary>
/// <param name="Name">Path in the model.</param>
/// <param name="Norm">Euclidean norm.</param>
public readonly record struct NamedNorm(string Name, double Norm);
