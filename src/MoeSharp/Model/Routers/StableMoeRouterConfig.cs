using System.Text.Json;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;

namespace MoeSharp.Model.Routers;

/// <summary>One expert per token, learned first and then fixed by a light router of token ids (StableMoE, arXiv 2204.08396).</summary>
public sealed record StableMoeRouterConfig : RouterConfig
{
    internal const string Kind = "stablemoe";
    private const double UsualFirstStage = 0.1; // of the authors: 6000 of 60000 updates
    private const double UsualFactor = 0.3; // of both losses
    private const int UsualWidth = 50;
    private const int MostWidth = 1 << 16;
    private const string EmbeddingName = "router_light_embedding";
    private const string LightName = "router_light";

    /// <inheritdoc/>
    public override string Name => Kind;

    /// <inheritdoc/>
    public override bool HasSoftmax(MoeConfig moe) => false;

    /// <summary>Share of the training run that the first stage takes (first_stage).</summary>
    public double FirstStage { get; init; } = UsualFirstStage;

    /// <summary>Factor of the balance loss of the first stage (balance_loss_coef).</summary>
    public float BalanceLossCoef { get; init; } = (float)UsualFactor;

    /// <summary>Factor of the light router's loss (distill_loss_coef).</summary>
    public float DistillLossCoef { get; init; } = (float)UsualFactor;

    /// <summary>Width of the light router's embedding (distill_hidden_size).</summary>
    public int DistillHiddenSize { get; init; } = UsualWidth;

    /// <summary>Whether both losses are means over tokens instead of sums (reduction).</summary>
    public bool IsMean { get; init; } = true;

    internal static RouterConfig ReadSettings(ConfigReader section) => new StableMoeRouterConfig
    {
        FirstStage = section.Number("first_stage", UsualFirstStage),
        BalanceLossCoef = (float)section.Number("balance_loss_coef", UsualFactor),
        DistillLossCoef = (float)section.Number("distill_loss_coef", UsualFactor),
        DistillHiddenSize = section.Int("distill_hidden_size", UsualWidth),
        IsMean = section.OneOf("reduction", "mean", "mean", "sum") == "mean",
    };

    internal override void Write(Utf8JsonWriter writer)
    {
        writer.WriteNumber("first_stage", FirstStage);
        writer.WriteNumber("balance_loss_coef", BalanceLossCoef);
        writer.WriteNumber("distill_loss_coef", DistillLossCoef);
        writer.WriteNumber("distill_hidden_size", DistillHiddenSize);
        writer.WriteString("reduction", IsMean ? "mean" : "sum");
    }

    internal override IReadOnlyList<RouterWeight> Weights(ModelConfig config, MoeConfig moe)
    {
        int width = Math.Clamp(DistillHiddenSize, 1, MostWidth);
        return
        [
            new("router", "gate.weight", new Shape(moe.NumExperts, config.HiddenSize)),
            new(EmbeddingName, "gate.light_embedding.weight", new Shape(config.VocabSize, width)) { IsProduct = false },
            new(LightName, "gate.light.weight", new Shape(moe.NumExperts, width)),
        ];
    }

    internal override void AddProblems(ModelConfig config, MoeConfig moe, List<string> problems)
    {
        RequireOneExpert(moe, problems);
        if (!(FirstStage is >= 0 and <= 1))
        {
            problems.Add($"first_stage {FirstStage} is outside 0..1; it is a share of the training run, {UsualFirstStage} in the paper");
        }

        if (!(BalanceLossCoef >= 0 && DistillLossCoef >= 0) || !float.IsFinite(BalanceLossCoef + DistillLossCoef))
        {
            problems.Add($"balance_loss_coef {BalanceLossCoef} and distill_loss_coef {DistillLossCoef} must be numbers not below 0; both are {UsualFactor} in the paper");
        }

        if (DistillHiddenSize is < 1 or > MostWidth)
        {
            problems.Add($"distill_hidden_size {DistillHiddenSize} is outside 1..{MostWidth}; {UsualWidth} in the paper");
        }
    }

    internal override IRouter Build(MoePlace place, MoeConfig moe)
    {
        LinearRouterProjection projection = new($"{place.Name}.router", place.HiddenSize, moe.NumExperts, false, place.Parameters);
        TokenProjection light = new($"{place.Name}.{EmbeddingName}", $"{place.Name}.{LightName}", place.VocabSize, DistillHiddenSize, moe.NumExperts, place.Parameters);
        return Over(projection, light, moe.ScalingOf(place.Layer));
    }

    /// <summary>The router over its projections.</summary>
    /// <param name="projection">Gives the affinities.</param>
    /// <param name="light">The light router.</param>
    /// <param name="scale">Factor on the weights.</param>
    internal IRouter Over(IRouterProjection projection, IRouterProjection light, float scale) =>
        new StableMoeRouter(projection, light, new StableMoeRule(FirstStage, BalanceLossCoef, DistillLossCoef, IsMean), scale);
}
