using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Moe.Routing;

/// <summary>A fixed random table from token id to experts; nothing is learned (Hash Layers, arXiv 2106.04426, section 3.1).</summary>
/// <remarks>Each of the k choices of a token is a different expert; every weight is 1/k. The table depends on the layer and the token id alone.</remarks>
public sealed class HashRouter : IRouter
{
    private readonly int _numExperts;
    private readonly int _topK;
    private readonly ulong _layerSalt;

    /// <summary>Builds the router.</summary>
    /// <param name="layer">Decoder layer: tables differ between layers.</param>
    /// <param name="numExperts">Routed experts.</param>
    /// <param name="topK">Experts per token.</param>
    public HashRouter(int layer, int numExperts, int topK)
    {
        (_numExperts, _topK) = (numExperts, topK);
        _layerSalt = Scramble((ulong)layer + 1);
    }

    /// <inheritdoc/>
    public RoutingPlan Route(Tensor x, ForwardContext context)
    {
        ReadOnlySpan<int> tokenIds = context.Batch.TokenIds;
        int[] expertIds = context.Indices.Rent(tokenIds.Length * _topK);
        for (int token = 0; token < tokenIds.Length; token++)
        {
            Choose(tokenIds[token], expertIds.AsSpan(token * _topK, _topK));
        }

        Tensor weights = context.Pool.Rent(new Shape(tokenIds.Length, _topK)); // [tokens, top_k]
        weights.Data.Fill(1f / _topK);
        return new RoutingPlan(_numExperts, expertIds, weights, null);
    }

    private void Choose(int tokenId, Span<int> chosen)
    {
        ulong hash = Scramble(_layerSalt ^ (ulong)tokenId);
        for (int slot = 0; slot < chosen.Length; slot++)
        {
            do
            {
                hash = Scramble(hash);
                chosen[slot] = (int)(hash % (ulong)_numExperts);
            }
            while (chosen[..slot].Contains(chosen[slot]));
        }
    }

    private static ulong Scramble(ulong value) => new SplitMix64(value).Next();
}
