using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Moe.Routing;

/// <summary>A fixed table from token id to experts; nothing is learned (Hash Layers, arXiv 2106.04426, section 3.1).</summary>
/// <remarks>Every weight is the scale. With the token before as input a text's first token goes by a boundary token.</remarks>
/// <param name="table">The table.</param>
/// <param name="boundaryTokenId">What stands before the first token of a text when the token before decides; null when the token itself does.</param>
/// <param name="numExperts">Routed experts.</param>
/// <param name="topK">Experts per token.</param>
/// <param name="scale">Weight of every expert.</param>
public sealed class HashRouter(IHashTable table, int? boundaryTokenId, int numExperts, int topK, float scale) : IRouter
{
    /// <inheritdoc/>
    public RoutingPlan Route(Tensor x, ForwardContext context)
    {
        int tokens = context.Batch.Count;
        int[] inputs = context.Indices.Rent(tokens);
        ReadInputs(inputs.AsSpan(0, tokens), context);
        int[] expertIds = context.Indices.Rent(tokens * topK);
        for (int token = 0; token < tokens; token++)
        {
            table.Choose(inputs[token], expertIds.AsSpan(token * topK, topK));
        }

        Tensor weights = context.Pool.Rent(new Shape(tokens, topK)); // [tokens, top_k]
        weights.Data.Fill(scale);
        return new RoutingPlan(numExperts, expertIds, weights, null);
    }

    // The token that decides for each row. A cached text remembers its tokens, so a row's predecessor is known wherever a pass begins.
    private void ReadInputs(Span<int> inputs, ForwardContext context)
    {
        TokenBatch batch = context.Batch;
        if (boundaryTokenId is not { } boundary)
        {
            batch.TokenIds.CopyTo(inputs);
            return;
        }

        inputs.Fill(boundary);
        for (int index = 0; index < batch.NumSegments; index++)
        {
            AttentionSegment segment = batch.Segments[index];
            Span<int> rows = inputs.Slice(segment.QueryBegin, segment.QueryCount);
            batch.TokenIds.Slice(segment.QueryBegin, segment.QueryCount - 1).CopyTo(rows[1..]);
            if (context.Sequences is { } sequences && sequences[index].Length > 0)
            {
                rows[0] = sequences[index].Tokens[^1];
            }
        }
    }
}
