using MoeSharp.Execution;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

/// <summary>Norm of neighbouring heads of a row, each by itself and with the same weight.</summary>
/// <param name="Weight">Scale, [width].</param>
/// <param name="NumHeads">Heads.</param>
public readonly record struct HeadNorm(Parameter Weight, int NumHeads)
{
    /// <summary>Width of a head.</summary>
    public int Width => Weight.Shape[0];

    /// <summary>Columns of all heads.</summary>
    public int Columns => NumHeads * Width;
}

public static partial class Op
{
    /// <summary>Root-mean-square norm of the queries and of the keys of a joint projection, head by head or as a whole.</summary>
    /// <param name="qkv">[tokens, queries | keys | ...].</param>
    /// <param name="queries">Norm of the first columns.</param>
    /// <param name="keys">Norm of the columns behind them.</param>
    /// <param name="epsilon">Added to the mean square.</param>
    /// <param name="context">Context.</param>
    /// <returns>[tokens, queries | keys].</returns>
    public static Tensor NormQueriesAndKeys(Tensor qkv, in HeadNorm queries, in HeadNorm keys, float epsilon, ForwardContext context)
    {
        int rows = qkv.Rows;
        Tensor output = context.Pool.Rent(new Shape(rows, queries.Columns + keys.Columns)); // [tokens, queries | keys]
        Tensor inverseRms = context.Pool.Rent(new Shape(rows * (queries.NumHeads + keys.NumHeads))); // queries of all rows, then keys
        int column = 0;
        int first = 0;
        foreach (HeadNorm norm in (ReadOnlySpan<HeadNorm>)[queries, keys])
        {
            Kernels.RmsNorm.ForwardHeads(
                context.Workers, rows, norm.NumHeads, norm.Width, qkv.Data[column..], qkv.Columns, norm.Weight.Value, epsilon, output.Data[column..], output.Columns, inverseRms.Data[first..]);
            column += norm.Columns;
            first += rows * norm.NumHeads;
        }

        if (context.Tape is { } tape)
        {
            HeadNormNode node = tape.Record<HeadNormNode>(output, context.Timer.Current);
            (node.Qkv, node.Queries, node.Keys, node.InverseRms, node.Result) = (qkv, queries, keys, inverseRms, output);
            node.Save(qkv);
            node.Save(inverseRms);
        }

        return output;
    }

    private sealed class HeadNormNode : TapeNode
    {
        public Tensor Qkv = null!;
        public HeadNorm Queries;
        public HeadNorm Keys;
        public Tensor InverseRms = null!;
        public Tensor Result = null!;

        public override void Backward(ForwardContext context)
        {
            Span<float> gradient = Qkv.WriteGradient(out _); // these columns have no other reader
            int column = 0;
            int first = 0;
            foreach (HeadNorm norm in (ReadOnlySpan<HeadNorm>)[Queries, Keys])
            {
                Kernels.RmsNorm.BackwardHeads(
                    context.Workers, Qkv.Rows, norm.NumHeads, norm.Width, Result.Gradient[column..], Result.Columns, Qkv.Data[column..], Qkv.Columns, norm.Weight.Value,
                    InverseRms.Data[first..], gradient[column..], Qkv.Columns, norm.Weight.AddToGradient(), false);
                column += norm.Columns;
                first += Qkv.Rows * norm.NumHeads;
            }
        }
    }
}
