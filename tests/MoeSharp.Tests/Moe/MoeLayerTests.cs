using FsCheck;
using FsCheck.Fluent;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Layers;
using MoeSharp.Moe;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;

namespace MoeSharp.Tests.Moe;

public sealed class MoeLayerTests
{
    private const int Hidden = 12;
    private const int Experts = 5;
    private const int TopK = 2;
    private const int Intermediate = 7;

    [Fact]
    public void Permuting_tokens_permutes_outputs_bit_for_bit()
    {
        Check.One(Config.QuickThrowOnFailure, Prop.ForAll(ArbMap.Default.ArbFor<int>(), ArbMap.Default.ArbFor<int>(), (seed, size) =>
        {
            using Layer layer = new(seed);
            int tokens = 1 + (Math.Abs(size % 40));
            float[] x = Normal(seed + 1, tokens * Hidden);
            int[] order = [.. Enumerable.Range(0, tokens)];
            new Random(seed).Shuffle(order);
            float[] y = layer.Forward(x);
            float[] permuted = layer.Forward([.. order.SelectMany(t => x[(t * Hidden)..((t + 1) * Hidden)])]);
            for (int row = 0; row < tokens; row++)
            {
                Assert.Equal(y[(order[row] * Hidden)..((order[row] + 1) * Hidden)], permuted[(row * Hidden)..((row + 1) * Hidden)]);
            }
        }));
    }

    [Fact]
    public void Rows_added_as_padding_change_no_other_row()
    {
        using Layer layer = new(3);
        float[] x = Normal(4, 9 * Hidden);
        float[] alone = layer.Forward(x);
        float[] padded = layer.Forward([.. x, .. new float[6 * Hidden], .. Normal(5, 3 * Hidden)]);
        Assert.Equal(alone, padded[..alone.Length]);
    }

    [Fact]
    public void Equal_experts_with_normalised_weights_are_one_dense_feed_forward()
    {
        using Layer layer = new(6, topK: Experts, isNormalized: true);
        layer.MakeExpertsEqual();
        float[] x = Normal(7, 11 * Hidden);
        float[] expected = layer.DenseOfFirstExpert(x);
        float[] actual = layer.Forward(x);
        for (int i = 0; i < x.Length; i++)
        {
            Assert.True(Math.Abs(expected[i] - actual[i]) <= 1e-5f * (1f + Math.Abs(expected[i])), $"element {i}: {actual[i]}, expected {expected[i]}");
        }
    }

    [Fact]
    public void All_tokens_to_one_expert_leaves_the_others_without_gradient()
    {
        using Layer layer = new(8, topK: 1);
        layer.SendAllTo(2);
        float[] x = [.. Normal(9, 10 * Hidden).Select(MathF.Abs)];
        layer.ForwardBackward(x, 0f, 0f);
        Assert.Equal([0, 0, 10, 0, 0], layer.Context.Routing.Layers[0].TokensPerExpert);
        int size = 2 * Intermediate * Hidden;
        float[] gradient = layer.Parameter("moe.experts.gate_up_projection").Gradient.ToArray();
        for (int expert = 0; expert < Experts; expert++)
        {
            bool isZero = gradient[(expert * size)..((expert + 1) * size)].All(g => g == 0f);
            Assert.Equal(expert != 2, isZero);
        }
    }

    [Fact]
    public void Balanced_routing_gives_exactly_one_and_collapse_gives_the_number_of_experts()
    {
        // Router rows are unit vectors, tokens are large multiples of them: expert e takes exactly the tokens of kind e.
        using Layer layer = new(10, topK: 1);
        layer.MakeRouterIdentity();
        float[] balanced = [.. Enumerable.Range(0, 3 * Experts).SelectMany(t => Unit(t % Experts, 100f))];
        layer.ForwardBackward(balanced, 0.01f, 0f);
        Assert.Equal(1.0, layer.Context.Routing.Layers[0].Losses[AuxiliaryLoss.ExpertLevel], 1e-6);
        float[] collapsed = [.. Enumerable.Range(0, 3 * Experts).SelectMany(_ => Unit(1, 100f))];
        layer.ForwardBackward(collapsed, 0.01f, 0f);
        Assert.Equal(Experts, layer.Context.Routing.Layers[0].Losses[AuxiliaryLoss.ExpertLevel], 1e-6);
    }

    [Fact]
    public void Z_loss_of_zero_logits_is_the_squared_log_of_the_number_of_experts()
    {
        using Layer layer = new(11);
        layer.Parameter("moe.router").Value.Clear();
        layer.ForwardBackward(Normal(12, 4 * Hidden), 0f, 0.1f);
        Assert.Equal(Math.Pow(Math.Log(Experts), 2), layer.Context.Routing.Layers[0].Losses[AuxiliaryLoss.ZLoss], 1e-5);
    }

    [Fact]
    public void Ties_go_to_the_lowest_expert()
    {
        using Layer layer = new(13);
        layer.Parameter("moe.router").Value.Clear();
        layer.Forward(Normal(14, 4 * Hidden));
        Assert.Equal([4, 4, 0, 0, 0], layer.Context.Routing.Layers[0].TokensPerExpert);
    }

    private static float[] Unit(int index, float value)
    {
        float[] row = new float[Hidden];
        row[index] = value;
        return row;
    }

    private static float[] Normal(int seed, int length)
    {
        using WorkerPool workers = new(1);
        float[] values = new float[length];
        NormalFill.Fill(workers, (ulong)seed, 1f, values);
        return values;
    }

    private sealed class Layer : IDisposable
    {
        private readonly List<Parameter> _parameters = [];
        private readonly WorkerPool _workers = new(2);
        private readonly MoeLayer _layer;

        public Layer(int seed, int topK = TopK, bool isNormalized = false)
        {
            TopKRouter router = new("moe.router", Hidden, Experts, topK, isNormalized, 1f, _parameters);
            GroupedExperts experts = new("moe.experts", Experts, Hidden, Intermediate, _parameters);
            _layer = new MoeLayer(0, router, experts, null);
            Context = new ForwardContext(_workers);
            foreach (Parameter parameter in _parameters)
            {
                NormalFill.Fill(_workers, (ulong)(seed + parameter.Name.Length), 0.5f, parameter.Value);
                parameter.AllocateGradient();
            }
        }

        public ForwardContext Context { get; }

        public Parameter Parameter(string name) => _parameters.Single(p => p.Name == name);

        public float[] Forward(float[] x)
        {
            Context.BeginInference(Rows(x));
            Tensor input = Context.Pool.Rent(new Shape(x.Length / Hidden, Hidden));
            x.CopyTo(input.Data);
            float[] y = _layer.Forward(input, Context).Data.ToArray();
            Context.EndPass();
            return y;
        }

        public void ForwardBackward(float[] x, float expertAlpha, float zLossAlpha)
        {
            _parameters.ForEach(p => p.GradientIsEmpty = true);
            Context.BeginTraining(Rows(x), new BalanceConfig { ExpertAlpha = expertAlpha, ZLossAlpha = zLossAlpha }, 1f);
            Tensor input = Context.Pool.Rent(new Shape(x.Length / Hidden, Hidden));
            x.CopyTo(input.Data);
            Tensor y = _layer.Forward(input, Context);
            y.WriteGradient(out _).Fill(1f);
            Context.Tape!.Backward(Context);
            Context.EndPass();
        }

        public void MakeExpertsEqual()
        {
            foreach (Parameter parameter in _parameters.Skip(1))
            {
                Span<float> value = parameter.Value;
                int size = value.Length / Experts;
                for (int expert = 1; expert < Experts; expert++)
                {
                    value[..size].CopyTo(value[(expert * size)..]);
                }
            }
        }

        public void SendAllTo(int expert)
        {
            Parameter("moe.router").Value.Clear();
            Parameter("moe.router").Value.Slice(expert * Hidden, Hidden).Fill(1f);
        }

        public void MakeRouterIdentity()
        {
            Parameter("moe.router").Value.Clear();
            for (int expert = 0; expert < Experts; expert++)
            {
                Parameter("moe.router").Value[(expert * Hidden) + expert] = 1f;
            }
        }

        public float[] DenseOfFirstExpert(float[] x)
        {
            List<Parameter> weights = [];
            FeedForwardLayer dense = new("dense", Hidden, Intermediate, weights);
            for (int index = 0; index < 2; index++)
            {
                Span<float> source = _parameters[index + 1].Value;
                source[..weights[index].Value.Length].CopyTo(weights[index].Value);
            }

            Context.BeginInference(Rows(x));
            Tensor input = Context.Pool.Rent(new Shape(x.Length / Hidden, Hidden));
            x.CopyTo(input.Data);
            float[] y = dense.Forward(input, Context).Data.ToArray();
            Context.EndPass();
            weights.ForEach(w => w.Dispose());
            return y;
        }

        public void Dispose()
        {
            _parameters.ForEach(p => p.Dispose());
            Context.Dispose();
            _workers.Dispose();
        }

        private static TokenBatch Rows(float[] x)
        {
            TokenBatch batch = new();
            batch.Resize(x.Length / Hidden, x.Length / Hidden);
            return batch;
        }
    }
}
