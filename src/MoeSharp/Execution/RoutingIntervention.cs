namespace MoeSharp.Execution;

/// <summary>One routed expert of one layer.</summary>
/// <param name="Layer">Decoder layer.</param>
/// <param name="Expert">Expert within the layer.</param>
public readonly record struct ExpertPlace(int Layer, int Expert);

/// <summary>A change to the choices of a trained model's routers, to see what its experts are good for. Weights are untouched; only passes without gradients take it.</summary>
/// <remarks>The experiments of DeepSeekMoE (arXiv 2401.06066, section 4.5): the best experts disabled, the shared expert disabled, fewer experts.</remarks>
public sealed record RoutingIntervention
{
    /// <summary>Routed experts per token in place of the model's; null for the model's own number.</summary>
    public int? TopK { get; init; }

    /// <summary>How many of the experts with the highest scores each token may not choose; the choice is made from the others.</summary>
    public int MaskedBest { get; init; }

    /// <summary>Whether shared experts are left out.</summary>
    public bool WithoutSharedExperts { get; init; }

    /// <summary>Experts that no token may choose.</summary>
    public IReadOnlyCollection<ExpertPlace> SwitchedOff { get; init; } = [];

    /// <summary>Whether the choice of routed experts changes in a layer.</summary>
    /// <param name="layer">Decoder layer.</param>
    public bool ChangesChoice(int layer)
    {
        if (TopK is not null || MaskedBest > 0)
        {
            return true;
        }

        foreach (ExpertPlace place in SwitchedOff)
        {
            if (place.Layer == layer)
            {
                return true;
            }
        }

        return false;
    }
}
