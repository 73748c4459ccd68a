using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

/// <summary>Differentiable operations: each checks its shapes, runs a kernel and records its backward on the tape when there is one.</summary>
/// <remarks>One file per operation, forward and backward side by side. Layers call these and never kernels.</remarks>
public static partial class Op
{
    /// <summary>Rows of <paramref name="table"/> for the batch's token ids.</summary>
    /// <param name="table">Embedding, [vocab, hidden].</param>
    /// <param name="context">Context; its batch gives the ids.</param>
    /// <returns>[tokens, hidden].</returns>
    public static Tensor Embed(Parameter table, ForwardContext context)
    {
        Span<int> ids = context.Batch.TokenIds;
        Tensor output = context.Pool.Rent(new Shape(ids.Length, table.Shape[1])); // [tokens, hidden]
        if (table.Packed is { } packed)
        {
            RequireServing(table, context);
            for (int row = 0; row < ids.Length; row++)
            {
                packed.DecodeRow(0, ids[row], output.Data[(row * output.Columns)..]);
            }
        }
        else
        {
            Permutation.GatherRows(context.Workers, ids.Length, table.Shape[1], ids, table.Value, output.Data);
        }

        if (context.Tape is { } tape)
        {
            EmbedNode node = tape.Record<EmbedNode>(output, context.Timer.Current);
            (node.Table, node.Result) = (table, output);
        }

        return output;
    }

    private sealed class EmbedNode : TapeNode
    {
        public Parameter Table = null!;
        public Tensor Result = null!;

        public override void Backward(ForwardContext context) =>
            Permutation.ScatterAddRows(context.Workers, Result.Rows, Result.Columns, context.Batch.TokenIds, Result.Gradient, Table.AddToGradient());
    }
}
