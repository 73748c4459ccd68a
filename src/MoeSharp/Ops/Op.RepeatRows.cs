using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    /// <summary>Row <c>index[r]</c> of x as row r: what several rows share, given to each.</summary>
    /// <param name="x">[sources, width].</param>
    /// <param name="index">Source of each row, at least <paramref name="rows"/> entries; valid until the pass ends.</param>
    /// <param name="rows">Rows of the result.</param>
    /// <param name="context">Context.</param>
    /// <returns>[rows, width].</returns>
    public static Tensor RepeatRows(Tensor x, int[] index, int rows, ForwardContext context)
    {
        Tensor output = context.Pool.Rent(new Shape(rows, x.Columns)); // [rows, width]
        Permutation.GatherRows(context.Workers, rows, x.Columns, index.AsSpan(0, rows), x.Data, output.Data);
        if (context.Tape is { } tape)
        {
            RepeatRowsNode node = tape.Record<RepeatRowsNode>(output, context.Timer.Current);
            (node.X, node.Index, node.Result) = (x, index, output);
        }

        return output;
    }

    /// <summary>All rows of a weight as a tensor.</summary>
    /// <param name="table">[rows, width].</param>
    /// <param name="context">Context.</param>
    /// <returns>[rows, width].</returns>
    public static Tensor Rows(Parameter table, ForwardContext context)
    {
        Tensor output = context.Pool.Rent(table.Shape); // [rows, width]
        table.Value.CopyTo(output.Data);
        if (context.Tape is { } tape)
        {
            RowsNode node = tape.Record<RowsNode>(output, context.Timer.Current);
            (node.Table, node.Result) = (table, output);
        }

        return output;
    }

    /// <summary>The mean of every sequence's rows, without padding; zero for a sequence of padding alone.</summary>
    /// <param name="x">[tokens, width].</param>
    /// <param name="context">Context; its batch gives the sequences.</param>
    /// <returns>[sequences, width].</returns>
    public static Tensor MeanOfSequences(Tensor x, ForwardContext context)
    {
        TokenBatch batch = context.Batch;
        Tensor means = context.Pool.Rent(new Shape(batch.NumSequences, x.Columns)); // [sequences, width]
        means.Data.Clear();
        for (int sequence = 0; sequence < batch.NumSequences; sequence++)
        {
            (int begin, int count) = batch.Sequence(sequence);
            float share = ShareOfRow(batch, begin, count);
            Span<float> mean = means.Data.Slice(sequence * x.Columns, x.Columns);
            for (int row = begin; row < begin + count; row++)
            {
                AddShare(x.Data.Slice(row * x.Columns, x.Columns), IsPadding(batch, row) ? 0f : share, mean);
            }
        }

        if (context.Tape is { } tape)
        {
            MeanOfSequencesNode node = tape.Record<MeanOfSequencesNode>(means, context.Timer.Current);
            (node.X, node.Result) = (x, means);
        }

        return means;
    }

    private static bool IsPadding(TokenBatch batch, int row) => batch.HasPadding && batch.IsPadding[row];

    private static float ShareOfRow(TokenBatch batch, int begin, int count)
    {
        int real = 0;
        for (int row = begin; row < begin + count; row++)
        {
            real += IsPadding(batch, row) ? 0 : 1;
        }

        return 1f / Math.Max(1, real);
    }

    private static void AddShare(ReadOnlySpan<float> values, float share, Span<float> target)
    {
        for (int column = 0; column < values.Length; column++)
        {
            target[column] += share * values[column];
        }
    }

    private sealed class RepeatRowsNode : TapeNode
    {
        public Tensor X = null!;
        public int[] Index = [];
        public Tensor Result = null!;

        public override void Backward(ForwardContext context) =>
            Permutation.ScatterAddRows(context.Workers, Result.Rows, Result.Columns, Index.AsSpan(0, Result.Rows), Result.Gradient, GradientOf(X, context));
    }

    private sealed class RowsNode : TapeNode
    {
        public Parameter Table = null!;
        public Tensor Result = null!;

        public override void Backward(ForwardContext context) => Elementwise.Accumulate(context.Workers, Result.Gradient, Table.AddToGradient());
    }

    private sealed class MeanOfSequencesNode : TapeNode
    {
        public Tensor X = null!;
        public Tensor Result = null!;

        public override void Backward(ForwardContext context)
        {
            TokenBatch batch = context.Batch;
            Span<float> dx = GradientOf(X, context);
            for (int sequence = 0; sequence < batch.NumSequences; sequence++)
            {
                (int begin, int count) = batch.Sequence(sequence);
                float share = ShareOfRow(batch, begin, count);
                for (int row = begin; row < begin + count; row++)
                {
                    AddShare(Result.Gradient.Slice(sequence * X.Columns, X.Columns), IsPadding(batch, row) ? 0f : share, dx.Slice(row * X.Columns, X.Columns));
                }
            }
        }
    }
}
