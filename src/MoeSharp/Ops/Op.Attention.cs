using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

/// <summary>Where the queries, keys or values of attention lie: some columns of every row of a tensor.</summary>
/// <param name="Tensor">[tokens, columns].</param>
/// <param name="Column">First column.</param>
public readonly record struct AttentionRows(Tensor Tensor, int Column)
{
    internal Span<float> Data => Tensor.Data[Column..];

    internal int Stride => Tensor.Columns;
}

public static partial class Op
{
    /// <summary>Causal attention within the batch's segments; with cached sequences in the context, also over their tokens, behind which the new keys and values are written.</summary>
    /// <param name="q">Queries, heads * head_dim columns, already rotated.</param>
    /// <param name="k">Keys, kv_heads * head_dim columns, already rotated.</param>
    /// <param name="v">Values, kv_heads * value_dim columns; may lie within the keys (latent attention), and the cache then keeps them once.</param>
    /// <param name="heads">Head geometry.</param>
    /// <param name="sinks">A further logit of every query head that only takes a share of the softmax, [heads], or null.</param>
    /// <param name="layer">Decoder layer, for the cache.</param>
    /// <param name="context">Context.</param>
    /// <returns>[tokens, heads * value_dim].</returns>
    /// <exception cref="ConfigurationException">A training pass meets an attention that has no backward pass.</exception>
    public static Tensor Attention(AttentionRows q, AttentionRows k, AttentionRows v, AttentionHeads heads, Parameter? sinks, int layer, ForwardContext context)
    {
        context.ThrowIfGivenUp();
        int rows = q.Tensor.Rows;
        Tensor output = context.Pool.Rent(new Shape(rows, heads.NumHeads * heads.ValueDim)); // [tokens, heads * value_dim]
        Tensor logSumExp = context.Pool.Rent(new Shape(rows, heads.NumHeads)); // [tokens, heads]
        ReadOnlySpan<float> sinkLogits = sinks is null ? [] : sinks.Value;
        if (context.Sequences is { Count: > 0 } sequences)
        {
            PagedHeads paged = sequences[0].Pages.Layout.Heads(layer);
            CheckPages(paged, context);
            CheckLatent(paged, k, v, layer);
            PagedRows.Store(context.Workers, paged, context.Batch.Segments, context.PageTables, k.Data, k.Stride, v.Data, v.Stride);
            CausalAttention.Forward(
                context.Workers, heads, context.Batch.Segments, q.Data, q.Stride, paged, context.PageTables, sinkLogits, output.Data, logSumExp.Data);
            return output;
        }

        if (context.CacheFormat == CacheFormat.BFloat16 && context.Tape is null)
        {
            PagedRows.RoundInPlace(context.Workers, rows, heads.NumKeyValueHeads * heads.HeadDim, k.Data, k.Stride);
            PagedRows.RoundInPlace(context.Workers, rows, heads.NumKeyValueHeads * heads.ValueDim, v.Data, v.Stride);
        }

        CausalAttention.Forward(
            context.Workers, heads, context.Batch.Segments, q.Data, q.Stride, k.Data, k.Stride, v.Data, v.Stride, sinkLogits, output.Data, logSumExp.Data);
        if (context.Tape is { } tape)
        {
            RecordAttention(tape, new AttentionInputs(q, k, v, heads, sinks), logSumExp, output, context);
        }

        return output;
    }

    private static void CheckPages(PagedHeads paged, ForwardContext context)
    {
        if (paged.Format != context.CacheFormat)
        {
            throw new InvalidOperationException($"the model keeps keys and values as {context.CacheFormat}, the pages of its sequences as {paged.Format}");
        }
    }

    // A cache that keeps a latent has no room for values of their own.
    private static void CheckLatent(PagedHeads paged, AttentionRows k, AttentionRows v, int layer)
    {
        if (paged.IsLatent && (!ReferenceEquals(k.Tensor, v.Tensor) || k.Column != v.Column))
        {
            throw new InvalidOperationException($"the cache of layer {layer} keeps a latent, but its values are not the first columns of its keys");
        }
    }

    private static void RecordAttention(Tape tape, in AttentionInputs inputs, Tensor logSumExp, Tensor output, ForwardContext context)
    {
        if (!inputs.Heads.IsPlain || inputs.Sinks is not null)
        {
            throw new ConfigurationException("this architecture cannot be trained: there is no backward pass for attention with a window, sinks, a cap on the scores, or values of another width than the keys. Use it for text only, or train an architecture with plain attention.");
        }

        AttentionNode node = tape.Record<AttentionNode>(output, context.Timer.Current);
        (node.Inputs, node.LogSumExp, node.Result) = (inputs, logSumExp, output);
        foreach (Tensor tensor in (ReadOnlySpan<Tensor>)[inputs.Q.Tensor, inputs.K.Tensor, inputs.V.Tensor, logSumExp, output])
        {
            node.Save(tensor);
        }
    }

    private readonly record struct AttentionInputs(AttentionRows Q, AttentionRows K, AttentionRows V, AttentionHeads Heads, Parameter? Sinks);

    private sealed class AttentionNode : TapeNode
    {
        public AttentionInputs Inputs;
        public Tensor LogSumExp = null!;
        public Tensor Result = null!;

        public override void Backward(ForwardContext context)
        {
            (AttentionRows q, AttentionRows k, AttentionRows v, AttentionHeads heads, _) = Inputs;
            CausalAttention.Backward(
                context.Workers, heads, context.Batch.Segments, q.Data, q.Stride, k.Data, k.Stride, v.Data, v.Stride,
                Result.Data, LogSumExp.Data, Result.Gradient, Gradient(q), q.Stride, Gradient(k), k.Stride, Gradient(v), v.Stride);
        }

        // The projections' outputs have no other reader, so that the gradient may be written, not added.
        private static Span<float> Gradient(AttentionRows rows) => rows.Tensor.WriteGradient(out _)[rows.Column..];
    }
}
