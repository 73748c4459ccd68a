using System.Text.Json;
using MoeSharp.Moe.Routing;
using MoeSharp.Moe.Routing.Assignment;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Model.Routers;

/// <summary>Experts by a balanced transport plan of every training pass, by the logits otherwise (S-BASE, arXiv 2202.01169; Megatron).</summary>
/// <remarks>Megatron's form is sinkhorn_temperature 1, sinkhorn_epsilon 1e-8, sinkhorn_tolerance 1e-4 and subtract_row_max false.</remarks>
public sealed record SinkhornRouterConfig : RouterConfig
{
    internal const string Kind = "sinkhorn";
    private const int UsualRounds = 100; // far more than the tolerance asks for, unless logits are very uneven
    private const double UsualTolerance = 1e-4; // of Megatron
    private const int MostRounds = 100_000;

    /// <inheritdoc/>
    public override string Name => Kind;

    /// <summary>tau (sinkhorn_temperature).</summary>
    public double Temperature { get; init; } = 1;

    /// <summary>Rounds at most (sinkhorn_iterations).</summary>
    public int Iterations { get; init; } = UsualRounds;

    /// <summary>Mean change of the experts' factors at which rounds end; 0 for all rounds (sinkhorn_tolerance).</summary>
    public double Tolerance { get; init; } = UsualTolerance;

    /// <summary>Added to the denominators (sinkhorn_epsilon).</summary>
    public double Epsilon { get; init; }

    /// <summary>Whether a row's largest logit is subtracted first (subtract_row_max).</summary>
    public bool SubtractsRowMax { get; init; } = true;

    /// <summary>Whether weights are sigmoids of logits or their softmax (scoring_func); null for sigmoid with one expert per token and softmax with several.</summary>
    public bool? IsSigmoid { get; init; }

    /// <inheritdoc/>
    public override bool HasSoftmax(MoeConfig moe) => !WeighsBySigmoid(moe);

    internal static RouterConfig ReadSettings(ConfigReader section)
    {
        bool isGiven = section.Value("scoring_func") is not null;
        bool isSigmoid = section.OneOf("scoring_func", "softmax", "softmax", "sigmoid") == "sigmoid";
        return new SinkhornRouterConfig
        {
            Temperature = section.Number("sinkhorn_temperature", 1),
            Iterations = section.Int("sinkhorn_iterations", UsualRounds),
            Tolerance = section.Number("sinkhorn_tolerance", UsualTolerance),
            Epsilon = section.Number("sinkhorn_epsilon", 0),
            SubtractsRowMax = section.Switch("subtract_row_max", true),
            IsSigmoid = isGiven ? isSigmoid : null,
        };
    }

    internal override void Write(Utf8JsonWriter writer)
    {
        writer.WriteNumber("sinkhorn_temperature", Temperature);
        writer.WriteNumber("sinkhorn_iterations", Iterations);
        writer.WriteNumber("sinkhorn_tolerance", Tolerance);
        writer.WriteNumber("sinkhorn_epsilon", Epsilon);
        writer.WriteBoolean("subtract_row_max", SubtractsRowMax);
        if (IsSigmoid is { } isSigmoid)
        {
            writer.WriteString("scoring_func", isSigmoid ? "sigmoid" : "softmax");
        }
    }

    internal override IReadOnlyList<RouterWeight> Weights(ModelConfig config, MoeConfig moe) => [new("router", "gate.weight", new Shape(moe.NumExperts, config.HiddenSize))];

    internal override void AddProblems(ModelConfig config, MoeConfig moe, List<string> problems)
    {
        if (!(Temperature > 0) || !double.IsFinite(Temperature))
        {
            problems.Add($"sinkhorn_temperature {Temperature} must be a positive number; 1 leaves the logits as they are");
        }

        if (Iterations is < 1 or > MostRounds)
        {
            problems.Add($"sinkhorn_iterations {Iterations} is outside 1..{MostRounds}; {UsualRounds} is plenty");
        }

        if (!(Tolerance >= 0) || !(Epsilon >= 0))
        {
            problems.Add($"sinkhorn_tolerance {Tolerance} and sinkhorn_epsilon {Epsilon} must not be negative; Megatron has 1e-4 and 1e-8");
        }

        if (moe.NormTopKProb && moe.TopK == 1)
        {
            problems.Add("norm_topk_prob divides a single weight by itself: it would always be 1 and the router would get no gradient; set it to false, or num_experts_per_tok to 2");
        }
    }

    internal override IRouter Build(MoePlace place, MoeConfig moe)
    {
        LinearRouterProjection projection = new($"{place.Name}.router", place.HiddenSize, moe.NumExperts, false, place.Parameters);
        return Over(projection, moe, moe.ScalingOf(place.Layer));
    }

    /// <summary>The router over a projection.</summary>
    /// <param name="projection">Gives the logits.</param>
    /// <param name="moe">Experts per token and whether their weights are divided by their sum.</param>
    /// <param name="scale">Factor on the weights.</param>
    internal SinkhornRouter Over(IRouterProjection projection, MoeConfig moe, float scale)
    {
        SinkhornRule rule = new(Temperature, Iterations, Tolerance, Epsilon, SubtractsRowMax);
        GatedChoice choice = new(moe.TopK, new WeightRule(moe.NormTopKProb ? moe.NormOrder : 0f, scale));
        return new SinkhornRouter(projection, rule, WeighsBySigmoid(moe), choice);
    }

    private bool WeighsBySigmoid(MoeConfig moe) => IsSigmoid ?? moe.TopK == 1;
}
