using MoeSharp.Kernels;
using MoeSharp.Model.Routers;
using MoeSharp.Tensors;

namespace MoeSharp.Model;

/// <summary>How new weights are drawn.</summary>
public enum WeightInitScheme
{
    /// <summary>Every matrix normal with InitializerRange, norms 1 (DeepSeekMoE, arXiv 2401.06066, section 4.1.3: 0.006).</summary>
    Normal,

    /// <summary>Matrices normal with 1/sqrt(fan in), projections back into the residual stream divided by sqrt(2 layers), embedding 0.5, head 0.3/sqrt(hidden): learns faster when the model is small.</summary>
    FanIn,
}

/// <summary>The only place where weights get their first values.</summary>
public static class WeightInit
{
    private const double EmbeddingDeviation = 0.5; // of FanIn: measured on models of hidden size 64 to 256
    private const double HeadFactor = 0.3; // of FanIn: starts near uniform predictions

    /// <summary>Draws every weight from the seed. A weight's values depend on seed, name and shape alone.</summary>
    /// <param name="model">Model whose weights are overwritten.</param>
    /// <param name="seed">Seed.</param>
    /// <param name="scheme">How they are drawn.</param>
    /// <param name="workers">Workers; their number does not change the result.</param>
    public static void Initialize(LanguageModel model, ulong seed, WeightInitScheme scheme, WorkerPool workers)
    {
        foreach (Parameter parameter in model.Parameters)
        {
            if (parameter.Name.EndsWith("norm", StringComparison.Ordinal))
            {
                parameter.Value.Fill(1f);
            }
            else if (parameter.Name.EndsWith("bias", StringComparison.Ordinal))
            {
                parameter.Value.Clear();
            }
            else
            {
                double deviation = scheme == WeightInitScheme.Normal ? model.Config.InitializerRange : FanIn(parameter, model.Config);
                NormalFill.Fill(workers, seed ^ Fnv1a.Of(parameter.Name), (float)deviation, parameter.Value);
                ApplyRouterRule(parameter, model.Config);
            }
        }
    }

    private static void ApplyRouterRule(Parameter parameter, ModelConfig config)
    {
        if (config.Moe is not { Router: { } router })
        {
            return;
        }

        FirstValues values = router.FirstValuesOf(parameter.Name[(parameter.Name.LastIndexOf('.') + 1)..], config);
        if (values.Kind == FirstValueKind.Constant)
        {
            parameter.Value.Fill(values.Amount);
        }
        else if (values.Kind == FirstValueKind.Orthogonal)
        {
            OrthogonalRows.Make(parameter.Value, parameter.Shape[0], parameter.Shape[1], values.Amount);
        }
    }

    private static double FanIn(Parameter parameter, ModelConfig config)
    {
        bool isOfHead = config.AttentionExperts is { Kind: AttentionExpertsKind.SwitchHead } && parameter.Name.EndsWith(".attention.output_projection", StringComparison.Ordinal);
        double fanIn = 1.0 / Math.Sqrt((double)parameter.Shape[parameter.Shape.Rank - 1] * (isOfHead ? config.NumAttentionHeads : 1)); // the outputs of all heads are added
        return parameter.Name switch
        {
            "embedding" => EmbeddingDeviation,
            "head" => HeadFactor * fanIn,
            string name when name.EndsWith("down_projection", StringComparison.Ordinal) || name.EndsWith("output_projection", StringComparison.Ordinal) =>
                fanIn / Math.Sqrt(2.0 * config.NumHiddenLayers),
            _ => fanIn,
        };
    }
}
