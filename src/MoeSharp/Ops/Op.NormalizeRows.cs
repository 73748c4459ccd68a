using MoeSharp.Execution;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    private const float LeastSum = 1e-30f; // of sigmoids around -70; what is added to larger sums would let a router lower its balance losses by lowering all scores alike

    /// <summary>Rows divided by their sums.</summary>
    /// <param name="x">[tokens, experts], positive.</param>
    /// <param name="context">Context.</param>
    /// <returns>[tokens, experts]; every row sums to 1, however small its values are, down to sums of 1e-30.</returns>
    public static Tensor NormalizeRows(Tensor x, ForwardContext context)
    {
        Tensor output = context.Pool.Rent(x.Shape);
        Tensor sums = context.Pool.Rent(new Shape(x.Rows));
        int columns = x.Columns;
        for (int row = 0; row < x.Rows; row++)
        {
            Span<float> values = x.Data.Slice(row * columns, columns);
            Span<float> result = output.Data.Slice(row * columns, columns);
            float sum = 0f;
            foreach (float value in values)
            {
                sum += value;
            }

            sum = Math.Max(sum, LeastSum);
            sums.Data[row] = sum;
            for (int column = 0; column < columns; column++)
            {
                result[column] = values[column] / sum;
            }
        }

        if (context.Tape is { } tape)
        {
            NormalizeNode node = tape.Record<NormalizeNode>(output, context.Timer.Current);
            (node.X, node.Sums, node.Result) = (x, sums, output);
            node.Save(sums);
            node.Save(output);
        }

        return output;
    }

    private sealed class NormalizeNode : TapeNode
    {
        public Tensor X = null!;
        public Tensor Sums = null!;
        public Tensor Result = null!;

        // y = x / S  =>  dx_j = (dy_j - sum_i dy_i y_i) / S
        public override void Backward(ForwardContext context)
        {
            Span<float> dx = X.WriteGradient(out bool accumulate);
            Span<float> y = Result.Data;
            Span<float> dy = Result.Gradient;
            ReadOnlySpan<float> sums = Sums.Data;
            int columns = X.Columns;
            for (int row = 0; row < sums.Length; row++)
            {
                float sum = sums[row];
                float dot = 0f;
                for (int i = row * columns; i < (row + 1) * columns; i++)
                {
                    dot += dy[i] * y[i];
                }

                for (int i = row * columns; i < (row + 1) * columns; i++)
                {
                    float value = (dy[i] - dot) / sum;
                    dx[i] = accumulate ? dx[i] + value : value;
                }
            }
        }
    }
}
