using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Moe;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;

namespace MoeSharp.Tests.Moe;

/// <summary>One mixture of experts on a table: weights in, outputs, routing and gradients out.</summary>
internal sealed class MoeBench : IDisposable
{
    private readonly WorkerPool _workers = new(2);
    private readonly List<Parameter> _parameters = [];
    private readonly int _hidden;

    public MoeBench(MoeConfig moe, int hidden)
    {
        _hidden = hidden;
        Context = new ForwardContext(_workers);
        Layer = MoeAssembly.Build(new MoePlace(0, "moe", hidden, _parameters), moe);
        _parameters.ForEach(parameter => parameter.AllocateGradient());
        Context.Routing.CaptureTokens = true;
    }

    public MoeLayer Layer { get; }

    public ForwardContext Context { get; }

    public LayerRouting Routing => Context.Routing.Layers[0];

    public IReadOnlyList<Parameter> Parameters => _parameters;

    public void Fill(int seed, float deviation)
    {
        foreach (Parameter parameter in _parameters)
        {
            NormalFill.Fill(_workers, (ulong)(seed + parameter.Name.Length), deviation, parameter.Value);
        }
    }

    public Parameter Parameter(string name) => _parameters.Single(parameter => parameter.Name == name);

    public float[] Forward(float[] x)
    {
        Context.BeginInference(Rows(x));
        float[] y = Layer.Forward(Input(x), Context).Data.ToArray();
        Context.EndPass();
        return y;
    }

    /// <summary>Output and, in the parameters, gradients of the sum of output times cotangent; returns the input's gradient.</summary>
    public (float[] Output, float[] InputGradient) Differentiate(float[] x, float[] cotangent, BalanceConfig balance, TokenBatch? rows = null)
    {
        _parameters.ForEach(parameter => parameter.GradientIsEmpty = true);
        Context.BeginTraining(rows ?? Rows(x), balance, 1f);
        Tensor input = Input(x);
        Tensor output = Layer.Forward(input, Context);
        float[] y = output.Data.ToArray();
        cotangent.CopyTo(output.WriteGradient(out _));
        Context.Tape!.Backward(Context);
        float[] gradient = input.Gradient.ToArray();
        Context.EndPass();
        return (y, gradient);
    }

    /// <summary>As <see cref="Differentiate"/> for a router alone, its logits being the input.</summary>
    public static (RoutedTokens Routed, float[] Gradient) Route(MoeConfig moe, float[] logits, float[] cotangent, float[]? selectionBias)
    {
        using WorkerPool workers = new(2);
        using ForwardContext context = new(workers);
        List<Parameter> parameters = [];
        IRouter router = MoeAssembly.BuildRouter(new MoePlace(0, "moe", moe.NumExperts, parameters), moe);
        parameters.ForEach(parameter => parameter.AllocateGradient());
        for (int expert = 0; expert < moe.NumExperts; expert++)
        {
            parameters[0].Value[(expert * moe.NumExperts) + expert] = 1f;
        }

        selectionBias?.CopyTo(parameters[1].Value);
        TokenBatch batch = new();
        batch.Resize(logits.Length / moe.NumExperts, logits.Length / moe.NumExperts);
        context.BeginTraining(batch, new BalanceConfig(), 1f);
        Tensor x = context.Pool.Rent(new Shape(batch.Count, moe.NumExperts));
        logits.CopyTo(x.Data);
        RoutingPlan plan = router.Route(x, context);
        RouterScores scores = plan.Scores!.Value;
        Tensor shown = moe.Scoring == RouterScoring.SoftmaxOverChosen ? scores.Probs : scores.Scores;
        RoutedTokens routed = new(plan.ExpertIds.ToArray(), plan.RoutingWeights.Data.ToArray(), shown.Data.ToArray());
        cotangent.CopyTo(plan.RoutingWeights.WriteGradient(out _));
        context.Tape!.Backward(context);
        float[] gradient = x.Gradient.ToArray();
        context.EndPass();
        parameters.ForEach(parameter => parameter.Dispose());
        return (routed, gradient);
    }

    public void Dispose()
    {
        _parameters.ForEach(parameter => parameter.Dispose());
        Context.Dispose();
        _workers.Dispose();
    }

    private Tensor Input(float[] x)
    {
        Tensor input = Context.Pool.Rent(new Shape(x.Length / _hidden, _hidden));
        x.CopyTo(input.Data);
        return input;
    }

    private TokenBatch Rows(float[] x)
    {
        TokenBatch batch = new();
        batch.Resize(x.Length / _hidden, x.Length / _hidden);
        return batch;
    }
}

/// <summary>What a router decided.</summary>
internal sealed record RoutedTokens(int[] ExpertIds, float[] RoutingWeights, float[] Scores);
