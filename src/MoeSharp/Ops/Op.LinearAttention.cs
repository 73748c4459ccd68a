using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    /// <summary>Lightning attention within the batch's segments, from a state of zeros or, where the context has sequences, from theirs; for passes without gradients.</summary>
    /// <param name="qkv">[tokens, heads * 3 head_dim]: query, key and value of a head lie together.</param>
    /// <param name="decays">Factor on each head's state per token, [heads].</param>
    /// <param name="headDim">Width of a head.</param>
    /// <param name="layer">Decoder layer, for the state.</param>
    /// <param name="context">Context.</param>
    /// <returns>[tokens, heads * head_dim].</returns>
    /// <exception cref="ConfigurationException">The pass is one of training.</exception>
    public static Tensor LinearAttention(Tensor qkv, ReadOnlySpan<float> decays, int headDim, int layer, ForwardContext context)
    {
        RequireNoTape("linear attention", context);
        int numHeads = decays.Length;
        Tensor output = context.Pool.Rent(new Shape(qkv.Rows, numHeads * headDim)); // [tokens, heads * head_dim]
        Tensor? scratch = context.Sequences is null ? context.Pool.Rent(new Shape(numHeads, headDim, headDim)) : null; // [heads, head_dim, head_dim]
        ReadOnlySpan<AttentionSegment> segments = context.Batch.Segments;
        for (int index = 0; index < segments.Length; index++)
        {
            AttentionSegment segment = segments[index];
            Span<float> state = OpenState(scratch, index, layer, context);
            LightningAttention.Forward(
                context.Workers, numHeads, headDim, segment.QueryCount, qkv.Data[(segment.QueryBegin * qkv.Columns)..], decays, state, output.Data[(segment.QueryBegin * output.Columns)..]);
        }

        return output;
    }

    /// <summary>x = silu(x), in place; for passes without gradients.</summary>
    public static Tensor SiluInPlace(Tensor x, ForwardContext context)
    {
        RequireNoTape("silu of a projection", context);
        Elementwise.Silu(context.Workers, x.Data);
        return x;
    }

    /// <summary>x *= sigmoid(gate), in place; for passes without gradients.</summary>
    public static Tensor SigmoidGateInPlace(Tensor x, Tensor gate, ForwardContext context)
    {
        RequireNoTape("an output gate", context);
        Elementwise.SigmoidGate(context.Workers, gate.Data, x.Data);
        return x;
    }

    // The state before the segment's first row, in the place where the state after its last belongs.
    private static Span<float> OpenState(Tensor? scratch, int segment, int layer, ForwardContext context)
    {
        if (scratch is not null)
        {
            scratch.Data.Clear();
            return scratch.Data;
        }

        CachedSequence sequence = context.Sequences![segment]; // without a scratch state there are sequences
        Span<float> state = sequence.NextState(layer);
        sequence.State(layer).CopyTo(state);
        return state;
    }

    private static void RequireNoTape(string what, ForwardContext context)
    {
        if (context.Tape is not null)
        {
            throw new ConfigurationException($"this architecture cannot be trained: there is no backward pass for {what}. Use it for text only.");
        }
    }
}
