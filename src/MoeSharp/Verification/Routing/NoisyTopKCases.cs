using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Moe.Balance;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;

namespace MoeSharp.Verification.Routing;

/// <summary>Cases of the router with learned noise and of the loss that balances its loads.</summary>
internal static class NoisyTopKCases
{
    /// <summary>Noise, choice, weights, importance, load, and the gradients of weights, importance and load by both logits.</summary>
    public static void CheckRouter(RoutingCase fixture, WorkerPool workers)
    {
        bool isTraining = fixture.Flag("training");
        using NoisyPass pass = new(fixture, workers, isTraining, new BalanceConfig { LoadAlpha = 1 });
        fixture.Compare("noisy_logits", pass.Plan.Scores!.Value.Logits.Data); // a router by scores has them
        fixture.Compare("expert_ids", pass.Plan.ExpertIds);
        fixture.Compare("routing_weights", pass.Plan.RoutingWeights.Data);
        if (isTraining)
        {
            fixture.Compare("noise_std", pass.Deviation);
        }

        pass.CompareAmounts(fixture);
        CompareGradients(fixture, workers, "weights", new BalanceConfig(), usesCotangent: true);
        CompareGradients(fixture, workers, "importance_cv_squared", new BalanceConfig { ImportanceAlpha = 1 }, usesCotangent: false);
        CompareGradients(fixture, workers, "load_cv_squared", new BalanceConfig { LoadAlpha = 1 }, usesCotangent: false);
    }

    /// <summary>The load loss as training has it.</summary>
    public static void CheckLoadLoss(RoutingCase fixture, WorkerPool workers)
    {
        float alpha = (float)fixture.Number("load_loss_coef");
        using NoisyPass pass = new(fixture, workers, fixture.Flag("training"), new BalanceConfig { LoadAlpha = alpha });
        fixture.Compare("expert_ids", pass.Plan.ExpertIds);
        fixture.Compare("routing_weights", pass.Plan.RoutingWeights.Data);
        pass.CompareAmounts(fixture);
        fixture.Compare("loss", alpha * pass.Record(fixture, usesCotangent: false)[AuxiliaryLoss.Load]);
        fixture.Compare("grad_clean_logits", RouterProbe.GradientOf(pass.Clean));
        fixture.Compare("grad_noise_logits", RouterProbe.GradientOf(pass.NoiseSize));
    }

    // A pass of its own for every gradient. Without training there is no noise: its gradients are those of a training pass whose noise is zero, and none of the load.
    private static void CompareGradients(RoutingCase fixture, WorkerPool workers, string of, BalanceConfig balance, bool usesCotangent)
    {
        bool isTraining = fixture.Flag("training");
        if (!isTraining && balance.LoadAlpha != 0)
        {
            float[] none = new float[fixture.Floats("clean_logits").Length];
            fixture.Compare($"grad_clean_logits_of_{of}", none);
            fixture.Compare($"grad_noise_logits_of_{of}", none);
            return;
        }

        using NoisyPass pass = new(fixture, workers, true, balance, isTraining ? 1f : 0f);
        pass.Record(fixture, usesCotangent);
        fixture.Compare($"grad_clean_logits_of_{of}", RouterProbe.GradientOf(pass.Clean));
        fixture.Compare($"grad_noise_logits_of_{of}", RouterProbe.GradientOf(pass.NoiseSize));
    }
}

/// <summary>One pass of the noisy router over a case.</summary>
internal sealed class NoisyPass : IDisposable
{
    private readonly RouterProbe _probe;

    public NoisyPass(RoutingCase fixture, WorkerPool workers, bool isTraining, BalanceConfig balance, float noiseFactor = 1f)
    {
        _probe = new RouterProbe(workers, fixture.Sizes("clean_logits")[0], isTraining, balance);
        _probe.SetRows(fixture);
        (Clean, NoiseSize) = (_probe.Input(fixture.Floats("clean_logits")), _probe.Input(fixture.Floats("noise_logits")));
        GivenNoise noise = new([.. fixture.Floats("noise").Select(number => noiseFactor * number)]);
        NoisyTopKRouter router = new(new GivenLogits(Clean), new GivenLogits(NoiseSize), noise, (float)fixture.Number("noise_epsilon"), fixture.Int("num_experts_per_tok"), 1f);
        Plan = router.Route(Clean, _probe.Context);
        if (isTraining)
        {
            Deviation = Ops.Op.Softplus(NoiseSize, (float)fixture.Number("noise_epsilon"), _probe.Context).Data.ToArray();
        }
    }

    /// <summary>Logits without noise.</summary>
    public Tensor Clean { get; }

    /// <summary>Logits of the noise.</summary>
    public Tensor NoiseSize { get; }

    /// <summary>Standard deviations of the noise, in training.</summary>
    public float[] Deviation { get; } = [];

    /// <summary>What the router decided.</summary>
    public RoutingPlan Plan { get; }

    /// <summary>Compares importance and load, and their squared variations where the case has them.</summary>
    public void CompareAmounts(RoutingCase fixture)
    {
        double[] amounts = new double[Plan.NumExperts];
        Plan.SumImportance(_probe.Batch.IsPadding, amounts);
        Compare(fixture, "importance", amounts);
        Array.Clear(amounts);
        for (int row = 0; row < Plan.NumTokens; row++)
        {
            for (int column = 0; column < (_probe.Batch.HasPadding && _probe.Batch.IsPadding[row] ? 0 : Plan.NumExperts); column++)
            {
                bool isChosen = Plan.ExpertIds.Slice(row * Plan.TopK, Plan.TopK).Contains(column);
                amounts[column] += Plan.ChoiceChances is { } chances ? chances.Data[(row * Plan.NumExperts) + column] : isChosen ? 1 : 0;
            }
        }

        Compare(fixture, "load", amounts);
    }

    /// <summary>Takes the losses, adds the cotangent of the weights where asked, and walks back.</summary>
    /// <returns>The losses.</returns>
    public AuxiliaryLosses Record(RoutingCase fixture, bool usesCotangent)
    {
        LayerRouting record = _probe.Context.Routing.Next(0, Plan.NumExperts);
        new BalanceLosses().Record(Plan, record, _probe.Context);
        if (usesCotangent)
        {
            _probe.Backward(Plan.RoutingWeights, fixture.Floats("cotangent"));
        }
        else
        {
            _probe.Backward();
        }

        return record.Losses;
    }

    /// <inheritdoc/>
    public void Dispose() => _probe.Dispose();

    private static void Compare(RoutingCase fixture, string name, double[] amounts)
    {
        fixture.Compare(name, amounts);
        if (fixture.Expects($"{name}_cv_squared"))
        {
            fixture.Compare($"{name}_cv_squared", VariationLoss.Measure(amounts, new double[amounts.Length]));
        }
    }
}
