namespace MoeSharp.Kernels;

/// <summary>log(1 + e^x), a smooth maximum of x and 0, element by element.</summary>
public static unsafe class Softplus
{
    private const int Chunk = 2048; // values that a worker takes at a time: about 20 us

    /// <summary>y = log(1 + e^x) + shift.</summary>
    public static void Forward(WorkerPool workers, ReadOnlySpan<float> x, float shift, Span<float> y)
    {
        Require.Length(y.Length, x.Length, "Softplus.Forward", nameof(y));
        fixed (float* xs = x, ys = y)
        {
            ForwardJob job = new() { X = xs, Shift = shift, Y = ys };
            workers.ForRows(x.Length, Chunk, ref job);
        }
    }

    /// <summary>dx (= or +=) dy sigmoid(x).</summary>
    public static void Backward(WorkerPool workers, ReadOnlySpan<float> dy, ReadOnlySpan<float> x, Span<float> dx, bool accumulate)
    {
        Require.Length(dy.Length, x.Length, "Softplus.Backward", nameof(dy));
        Require.Length(dx.Length, x.Length, "Softplus.Backward", nameof(dx));
        fixed (float* dys = dy, xs = x, dxs = dx)
        {
            BackwardJob job = new() { Dy = dys, X = xs, Dx = dxs, Accumulate = accumulate };
            workers.ForRows(x.Length, Chunk, ref job);
        }
    }

    private struct ForwardJob : IRowJob
    {
        public float* X;
        public float Shift;
        public float* Y;

        public readonly void Run(int begin, int end)
        {
            for (int i = begin; i < end; i++)
            {
                Y[i] = MathF.Max(X[i], 0f) + MathF.Log(1f + MathF.Exp(-MathF.Abs(X[i]))) + Shift; // the exponential is at most 1
            }
        }
    }

    private struct BackwardJob : IRowJob
    {
        public float* Dy;
        public float* X;
        public float* Dx;
        public bool Accumulate;

        public readonly void Run(int begin, int end)
        {
            for (int i = begin; i < end; i++)
            {
                float slope = Dy[i] / (1f + MathF.Exp(-X[i]));
                Dx[i] = Accumulate ? Dx[i] + slope : slope;
            }
        }
    }
}
