using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels;

/// <summary>Rotary position embedding in the half layout: lanes i and i + headDim/2 form a pair.</summary>
/// <remarks>RoFormer, arXiv 2104.09864, equation 34; the half layout is that of the published LLaMA-style checkpoints.</remarks>
public static unsafe class Rotary
{
    /// <summary>Rotates <paramref name="numHeads"/> consecutive heads of every row in place.</summary>
    /// <param name="workers">Worker pool.</param>
    /// <param name="rows">Rows of <paramref name="x"/>.</param>
    /// <param name="numHeads">Heads per row, starting at column 0 of x.</param>
    /// <param name="headDim">Width of a head; even.</param>
    /// <param name="positions">Position of each row, [rows].</param>
    /// <param name="cos">Cosines, [positions, headDim/2].</param>
    /// <param name="sin">Sines, same shape.</param>
    /// <param name="x">Rows with stride <paramref name="stride"/>; modified.</param>
    /// <param name="stride">Floats from one row to the next.</param>
    /// <param name="inverse">Rotates backwards: the gradient of the rotation.</param>
    public static void Apply(WorkerPool workers, int rows, int numHeads, int headDim, ReadOnlySpan<int> positions, ReadOnlySpan<float> cos, ReadOnlySpan<float> sin, Span<float> x, int stride, bool inverse)
    {
        const string Operation = "Rotary.Apply";
        int half = headDim / 2;
        if (rows <= 0 || half == 0 || numHeads == 0)
        {
            return;
        }

        Require.Length(positions.Length, rows, Operation, nameof(positions));
        Require.Indices(positions[..rows], 0, Math.Min(cos.Length, sin.Length) / half, Operation, nameof(positions));
        Require.Length(stride, (long)numHeads * headDim, Operation, nameof(stride));
        Require.Length(x.Length, ((rows - 1L) * stride) + ((long)numHeads * headDim), Operation, nameof(x));
        fixed (int* positionsStart = positions)
        fixed (float* cosines = cos, sines = sin, xs = x)
        {
            RotateJob job = new() { NumHeads = numHeads, Half = half, Positions = positionsStart, Cos = cosines, Sin = sines, X = xs, Stride = stride, Sign = inverse ? -1f : 1f };
            LaneRows.For(workers, rows, numHeads * headDim, job);
        }
    }

    private struct RotateJob : ILaneRows
    {
        public int NumHeads;
        public int Half;
        public int* Positions;
        public float* Cos;
        public float* Sin;
        public float* X;
        public int Stride;
        public float Sign;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            V sign = L.Broadcast(Sign);
            for (int t = begin; t < end; t++)
            {
                float* cos = Cos + ((long)Positions[t] * Half);
                float* sin = Sin + ((long)Positions[t] * Half);
                float* row = X + ((long)t * Stride);
                for (int i = 0; i < Half; i += L.Count)
                {
                    // The angle is shared by all heads: read it once.
                    int n = Half - i;
                    bool isWhole = n >= L.Count;
                    V c = isWhole ? L.Load(cos + i) : L.LoadFirst(cos + i, n);
                    V s = L.Multiply(sign, isWhole ? L.Load(sin + i) : L.LoadFirst(sin + i, n));
                    float* first = row + i;
                    for (int head = 0; head < NumHeads; head++)
                    {
                        if (isWhole)
                        {
                            V a = L.Load(first);
                            V b = L.Load(first + Half);
                            L.Store(first, L.SubtractProduct(b, s, L.Multiply(a, c)));
                            L.Store(first + Half, L.MultiplyAdd(a, s, L.Multiply(b, c)));
                        }
                        else
                        {
                            V a = L.LoadFirst(first, n);
                            V b = L.LoadFirst(first + Half, n);
                            L.StoreFirst(first, L.SubtractProduct(b, s, L.Multiply(a, c)), n);
                            L.StoreFirst(first + Half, L.MultiplyAdd(a, s, L.Multiply(b, c)), n);
                        }

                        first += 2 * Half;
                    }
                }
            }
        }
    }
}
