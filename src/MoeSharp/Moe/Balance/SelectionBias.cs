using MoeSharp.Tensors;

namespace MoeSharp.Moe.Balance;

/// <summary>Balances experts without a loss: a bias on the choice, raised for experts with little load and lowered for those with much (arXiv 2408.15664, algorithm 1).</summary>
public static class SelectionBias
{
    private const string Suffix = ".selection_bias";

    /// <summary>Name of a mixture's bias.</summary>
    /// <param name="moe">Path of the mixture.</param>
    public static string NameIn(string moe) => moe + Suffix;

    /// <summary>Whether a parameter is such a bias; it has no gradient.</summary>
    public static bool Is(Parameter parameter) => parameter.Name.EndsWith(Suffix, StringComparison.Ordinal);

    /// <summary>b += speed * sign(mean load - load).</summary>
    /// <param name="bias">Modified, [experts].</param>
    /// <param name="tokensPerExpert">Load of an optimiser step, [experts].</param>
    /// <param name="speed">Size of a move.</param>
    public static void Move(Span<float> bias, ReadOnlySpan<long> tokensPerExpert, float speed)
    {
        long sum = 0;
        foreach (long count in tokensPerExpert)
        {
            sum += count;
        }

        for (int expert = 0; expert < bias.Length; expert++)
        {
            bias[expert] += speed * Math.Sign(sum - (tokensPerExpert[expert] * tokensPerExpert.Length)); // the mean times the experts: no rounding
        }
    }
}
