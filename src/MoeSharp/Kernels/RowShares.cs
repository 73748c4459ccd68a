namespace MoeSharp.Kernels;

/// <summary>Rows divided by their sums, and the gradient of that.</summary>
public static unsafe class RowShares
{
    private const int ValuesPerChunk = 16 * 1024;

    /// <summary>sums[t] = max(least, sum of x[t]), added up from the left; y[t] = x[t] / sums[t].</summary>
    /// <exception cref="ShapeException">A span is too short.</exception>
    public static void Forward(WorkerPool workers, int rows, int cols, ReadOnlySpan<float> x, float least, Span<float> sums, Span<float> y)
    {
        const string Operation = "RowShares.Forward";
        Require.Length(x.Length, (long)rows * cols, Operation, nameof(x));
        Require.Length(sums.Length, rows, Operation, nameof(sums));
        Require.Length(y.Length, (long)rows * cols, Operation, nameof(y));
        fixed (float* xs = x, s = sums, ys = y)
        {
            ForwardJob job = new() { Cols = cols, X = xs, Least = least, Sums = s, Y = ys };
            workers.ForRows(rows, Math.Max(1, ValuesPerChunk / Math.Max(cols, 1)), ref job);
        }
    }

    /// <summary>dx[t] (= or +=) (dy[t] - dy[t] . y[t]) / sums[t], from the forward's results.</summary>
    /// <exception cref="ShapeException">A span is too short.</exception>
    public static void Backward(WorkerPool workers, int rows, int cols, ReadOnlySpan<float> dy, ReadOnlySpan<float> y, ReadOnlySpan<float> sums, Span<float> dx, bool accumulate)
    {
        const string Operation = "RowShares.Backward";
        Require.Length(dy.Length, (long)rows * cols, Operation, nameof(dy));
        Require.Length(y.Length, (long)rows * cols, Operation, nameof(y));
        Require.Length(sums.Length, rows, Operation, nameof(sums));
        Require.Length(dx.Length, (long)rows * cols, Operation, nameof(dx));
        fixed (float* dys = dy, ys = y, s = sums, dxs = dx)
        {
            BackwardJob job = new() { Cols = cols, Dy = dys, Y = ys, Sums = s, Dx = dxs, Accumulate = accumulate };
            workers.ForRows(rows, Math.Max(1, ValuesPerChunk / Math.Max(cols, 1)), ref job);
        }
    }

    private struct ForwardJob : IRowJob
    {
        public int Cols;
        public float* X;
        public float Least;
        public float* Sums;
        public float* Y;

        public readonly void Run(int begin, int end)
        {
            for (int t = begin; t < end; t++)
            {
                float* x = X + ((long)t * Cols);
                float* y = Y + ((long)t * Cols);
                float sum = 0f;
                for (int i = 0; i < Cols; i++)
                {
                    sum += x[i];
                }

                Sums[t] = sum = Math.Max(sum, Least);
                for (int i = 0; i < Cols; i++)
                {
                    y[i] = x[i] / sum;
                }
            }
        }
    }

    private struct BackwardJob : IRowJob
    {
        public int Cols;
        public float* Dy;
        public float* Y;
        public float* Sums;
        public float* Dx;
        public bool Accumulate;

        public readonly void Run(int begin, int end)
        {
            for (int t = begin; t < end; t++)
            {
                float* dy = Dy + ((long)t * Cols);
                float* y = Y + ((long)t * Cols);
                float* dx = Dx + ((long)t * Cols);
                float dot = 0f;
                for (int i = 0; i < Cols; i++)
                {
                    dot += dy[i] * y[i];
                }

                for (int i = 0; i < Cols; i++)
                {
                    float value = (dy[i] - dot) / Sums[t];
                    dx[i] = Accumulate ? dx[i] + value : value;
                }
            }
        }
    }
}
