using MoeSharp.Kernels;
using MoeSharp.Tensors;
using MoeSharp.Training;

namespace MoeSharp.Tests.Training;

public sealed class AdamWOptimizerTests
{
    private static readonly OptimizerConfig s_config = new() { Beta1 = 0.9f, Beta2 = 0.95f, Epsilon = 1e-8f, WeightDecay = 0.1f, ClipNorm = 1f };

    [Theory]
    [InlineData(1, false)]
    [InlineData(2, false)]
    [InlineData(2, true)]
    public void Matches_a_reference_in_double_precision(int workers, bool decayEveryTensor)
    {
        using WorkerPool pool = new(workers);
        Parameter[] parameters = [new("matrix", new Shape(37, 19)), new("norm", new Shape(41)), new("stack", new Shape(3, 5, 7))];
        Random random = new(5);
        foreach (Parameter parameter in parameters)
        {
            Fill(parameter.Value, random, 1);
        }

        double[][] weights = [.. parameters.Select(parameter => parameter.Value.ToArray().Select(value => (double)value).ToArray())];
        double[][] first = [.. weights.Select(values => new double[values.Length])];
        double[][] second = [.. weights.Select(values => new double[values.Length])];
        using AdamWOptimizer optimizer = new(parameters, s_config with { DecayEveryTensor = decayEveryTensor });

        for (int step = 1; step <= 4; step++)
        {
            float size = step == 2 ? 1e-3f : 1f; // step 2 stays below the clip norm
            foreach (Parameter parameter in parameters)
            {
                Fill(parameter.Gradient, random, size);
                parameter.GradientIsEmpty = false;
            }

            double norm = Math.Sqrt(parameters.Sum(parameter => parameter.Gradient.ToArray().Sum(value => (double)value * value)));
            Assert.Equal(norm, optimizer.GradientNorm(pool), norm * 1e-6);
            double scale = Math.Min(1, 1 / (norm + 1e-6));
            for (int p = 0; p < parameters.Length; p++)
            {
                double decay = decayEveryTensor || parameters[p].Shape.Rank > 1 ? 0.1 : 0;
                float[] gradient = parameters[p].Gradient.ToArray();
                for (int i = 0; i < gradient.Length; i++)
                {
                    double g = gradient[i] * scale;
                    first[p][i] = (0.9 * first[p][i]) + (0.1 * g);
                    second[p][i] = (0.95 * second[p][i]) + (0.05 * g * g);
                    weights[p][i] = (weights[p][i] * (1 - (0.01 * decay))) - (0.01 * (first[p][i] / (1 - Math.Pow(0.9, step))) / (Math.Sqrt(second[p][i] / (1 - Math.Pow(0.95, step))) + 1e-8));
                }
            }

            optimizer.Step(0.01f, optimizer.GradientNorm(pool), pool);
        }

        for (int p = 0; p < parameters.Length; p++)
        {
            float[] actual = parameters[p].Value.ToArray();
            for (int i = 0; i < actual.Length; i++)
            {
                Assert.True(Math.Abs(actual[i] - weights[p][i]) < 2e-6, $"{parameters[p].Name}[{i}]: expected {weights[p][i]}, actual {actual[i]}"); // float32 rounding of values up to 1, four steps
            }
        }
    }

    [Fact]
    public void Clipping_scales_by_the_global_norm()
    {
        using WorkerPool pool = new(1);
        Parameter a = new("a", new Shape(1, 1));
        Parameter b = new("b", new Shape(1, 1));
        using AdamWOptimizer optimizer = new([a, b], s_config with { ClipNorm = 0.5f, WeightDecay = 0 });
        (a.Gradient[0], b.Gradient[0]) = (3, 4);
        (a.GradientIsEmpty, b.GradientIsEmpty) = (false, false);

        double norm = optimizer.GradientNorm(pool);
        optimizer.Step(0.1f, norm, pool);

        Assert.Equal(5, norm, 1e-12);
        Assert.Equal(0.1 * 3 * 0.5 / 5, optimizer.FirstMoment(0)[0], 1e-6);
        Assert.Equal(0.05 * 0.4 * 0.4, optimizer.SecondMoment(1)[0], 1e-6);
    }

    [Fact]
    public void A_parameter_without_a_gradient_stays()
    {
        using WorkerPool pool = new(1);
        Parameter used = new("used", new Shape(2, 2));
        Parameter idle = new("idle", new Shape(2, 2));
        idle.Value.Fill(3);
        using AdamWOptimizer optimizer = new([used, idle], s_config);
        optimizer.ClearGradients();
        used.Gradient.Fill(1);
        used.GradientIsEmpty = false;

        optimizer.Step(0.1f, optimizer.GradientNorm(pool), pool);

        Assert.All(idle.Value.ToArray(), value => Assert.Equal(3, value));
        Assert.All(used.Value.ToArray(), value => Assert.NotEqual(0, value));
    }

    [Fact]
    public void Names_the_gradient_that_is_not_finite_before_larger_ones()
    {
        using WorkerPool pool = new(1);
        Parameter large = new("large", new Shape(4));
        Parameter broken = new("broken", new Shape(4));
        using AdamWOptimizer optimizer = new([large, broken], s_config);
        large.Gradient.Fill(1e6f);
        broken.Gradient.Fill(0);
        (large.GradientIsEmpty, broken.GradientIsEmpty) = (false, false);

        Assert.Equal("large", optimizer.LargestGradient(pool).Name);
        broken.Gradient[2] = float.NaN;
        Assert.Equal("broken", optimizer.LargestGradient(pool).Name);
    }

    private static void Fill(Span<float> values, Random random, float size)
    {
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = size * ((2 * random.NextSingle()) - 1);
        }
    }
}
