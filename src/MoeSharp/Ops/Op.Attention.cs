using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    /// <summary>Causal attention within the batch's segments, from fused projections.</summary>
    /// <param name="qkv">[tokens, (heads + 2 kv_heads) * head_dim]: queries, keys, values, already rotated.</param>
    /// <param name="heads">Head geometry.</param>
    /// <param name="context">Context.</param>
    /// <returns>[tokens, heads * head_dim].</returns>
    public static Tensor Attention(Tensor qkv, AttentionHeads heads, ForwardContext context)
    {
        (int rows, int stride) = (qkv.Rows, qkv.Columns);
        Tensor output = context.Pool.Rent(new Shape(rows, heads.NumHeads * heads.HeadDim)); // [tokens, heads * head_dim]
        Tensor logSumExp = context.Pool.Rent(new Shape(rows, heads.NumHeads)); // [tokens, heads]
        CausalAttention.Forward(
            context.Workers, heads, context.Batch.Segments, qkv.Data, stride, qkv.Data[KeyColumn(heads)..], stride,
            qkv.Data[ValueColumn(heads)..], stride, output.Data, logSumExp.Data);
        if (context.Tape is { } tape)
        {
            AttentionNode node = tape.Record<AttentionNode>(output, context.Timer.Current);
            (node.Qkv, node.Heads, node.LogSumExp, node.Result) = (qkv, heads, logSumExp, output);
            node.Save(qkv);
            node.Save(logSumExp);
            node.Save(output);
        }

        return output;
    }

    /// <summary>Attention of new rows over a cache: writes their keys and values behind the cached ones, then attends to all.</summary>
    /// <param name="qkv">[new tokens, (heads + 2 kv_heads) * head_dim], already rotated.</param>
    /// <param name="heads">Head geometry.</param>
    /// <param name="cache">Cache of the sequence.</param>
    /// <param name="layer">Decoder layer.</param>
    /// <param name="context">Context of a pass without tape.</param>
    /// <returns>[new tokens, heads * head_dim].</returns>
    public static Tensor CachedAttention(Tensor qkv, AttentionHeads heads, KeyValueCache cache, int layer, ForwardContext context)
    {
        (int rows, int stride) = (qkv.Rows, qkv.Columns);
        Span<float> keys = cache.Keys(layer);
        Span<float> values = cache.Values(layer);
        for (int row = 0; row < rows; row++)
        {
            int target = (cache.Length + row) * cache.Width;
            qkv.Data.Slice((row * stride) + KeyColumn(heads), cache.Width).CopyTo(keys[target..]);
            qkv.Data.Slice((row * stride) + ValueColumn(heads), cache.Width).CopyTo(values[target..]);
        }

        Tensor output = context.Pool.Rent(new Shape(rows, heads.NumHeads * heads.HeadDim)); // [new tokens, heads * head_dim]
        Tensor logSumExp = context.Pool.Rent(new Shape(rows, heads.NumHeads));
        CausalAttention.Forward(
            context.Workers, heads, context.Batch.Segments, qkv.Data, stride, keys, cache.Width, values, cache.Width, output.Data, logSumExp.Data);
        return output;
    }

    private static int KeyColumn(AttentionHeads heads) => heads.NumHeads * heads.HeadDim;

    private static int ValueColumn(AttentionHeads heads) => (heads.NumHeads + heads.NumKeyValueHeads) * heads.HeadDim;

    private sealed class AttentionNode : TapeNode
    {
        public Tensor Qkv = null!;
        public AttentionHeads Heads;
        public Tensor LogSumExp = null!;
        public Tensor Result = null!;

        public override void Backward(ForwardContext context)
        {
            int stride = Qkv.Columns;
            (int key, int value) = (KeyColumn(Heads), ValueColumn(Heads));
            Span<float> gradient = Qkv.WriteGradient(out _); // the projection's output has no other reader
            CausalAttention.Backward(
                context.Workers, Heads, context.Batch.Segments, Qkv.Data, stride, Qkv.Data[key..], stride, Qkv.Data[value..], stride,
                Result.Data, LogSumExp.Data, Result.Gradient, gradient, stride, gradient[key..], stride, gradient[value..], stride);
        }
    }
}
