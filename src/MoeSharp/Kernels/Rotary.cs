using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels;

/// <summary>Which columns of a row are turned.</summary>
/// <param name="NumHeads">Heads per row.</param>
/// <param name="HeadStep">Floats from one head to the next.</param>
/// <param name="RotaryDim">Lanes of each head that are turned, from its first; even.</param>
/// <param name="IsInterleaved">Whether lanes 2i and 2i + 1 form a pair instead of i and i + RotaryDim/2.</param>
public readonly record struct RotaryHeads(int NumHeads, int HeadStep, int RotaryDim, bool IsInterleaved = false)
{
    /// <summary>Columns from the first head's first lane to the last head's last.</summary>
    public long Width => ((NumHeads - 1L) * HeadStep) + RotaryDim;
}

/// <summary>Rotary position embedding: pairs of lanes are turned by an angle that grows with the position.</summary>
/// <remarks>
/// RoFormer, arXiv 2104.09864, equation 34. Published LLaMA-style checkpoints pair lane i with i + RotaryDim/2, others neighbours.
/// Cosines and sines may carry a common factor (YaRN); the inverse is the transpose, which is what the gradient needs.
/// </remarks>
public static unsafe class Rotary
{
    /// <summary>Rotates heads of every row in place.</summary>
    /// <param name="workers">Worker pool.</param>
    /// <param name="rows">Rows of <paramref name="x"/>.</param>
    /// <param name="heads">Columns that are turned; the first head starts at column 0 of x.</param>
    /// <param name="positions">Position of each row, [rows].</param>
    /// <param name="cos">Cosines, [positions, RotaryDim/2].</param>
    /// <param name="sin">Sines, same shape.</param>
    /// <param name="x">Rows with stride <paramref name="stride"/>; modified.</param>
    /// <param name="stride">Floats from one row to the next.</param>
    /// <param name="inverse">Rotates backwards: the gradient of the rotation.</param>
    public static void Apply(WorkerPool workers, int rows, in RotaryHeads heads, ReadOnlySpan<int> positions, ReadOnlySpan<float> cos, ReadOnlySpan<float> sin, Span<float> x, int stride, bool inverse)
    {
        const string Operation = "Rotary.Apply";
        int half = heads.RotaryDim / 2;
        if (rows <= 0 || half == 0 || heads.NumHeads == 0)
        {
            return;
        }

        Require.Length(positions.Length, rows, Operation, nameof(positions));
        Require.Indices(positions[..rows], 0, Math.Min(cos.Length, sin.Length) / half, Operation, nameof(positions));
        Require.Length(heads.NumHeads > 1 ? heads.HeadStep : heads.RotaryDim, heads.RotaryDim, Operation, nameof(heads));
        Require.Length(stride, heads.Width, Operation, nameof(stride));
        Require.Length(x.Length, ((rows - 1L) * stride) + heads.Width, Operation, nameof(x));
        fixed (int* positionsStart = positions)
        fixed (float* cosines = cos, sines = sin, xs = x)
        {
            RotateJob job = new()
            {
                NumHeads = heads.NumHeads,
                HeadStep = heads.HeadStep,
                Half = half,
                IsInterleaved = heads.IsInterleaved,
                Positions = positionsStart,
                Cos = cosines,
                Sin = sines,
                X = xs,
                Stride = stride,
                Sign = inverse ? -1f : 1f,
            };
            LaneRows.For(workers, rows, heads.NumHeads * heads.RotaryDim, job);
        }
    }

    private struct RotateJob : ILaneRows
    {
        public int NumHeads;
        public int HeadStep;
        public int Half;
        public bool IsInterleaved;
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
            for (int t = begin; t < end; t++)
            {
                float* cos = Cos + ((long)Positions[t] * Half);
                float* sin = Sin + ((long)Positions[t] * Half);
                float* row = X + ((long)t * Stride);
                if (IsInterleaved)
                {
                    RotateNeighbours(cos, sin, row);
                }
                else
                {
                    RotateHalves<L, V>(cos, sin, row);
                }
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private readonly void RotateHalves<L, V>(float* cos, float* sin, float* row)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            V sign = L.Broadcast(Sign);
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

                    first += HeadStep;
                }
            }
        }

        // Few columns are turned this way (64 shared lanes in latent attention), so a plain loop does.
        private readonly void RotateNeighbours(float* cos, float* sin, float* row)
        {
            for (int head = 0; head < NumHeads; head++)
            {
                float* first = row + ((long)head * HeadStep);
                for (int i = 0; i < Half; i++)
                {
                    float s = Sign * sin[i];
                    (float a, float b) = (first[2 * i], first[(2 * i) + 1]);
                    first[2 * i] = (a * cos[i]) - (b * s);
                    first[(2 * i) + 1] = (b * cos[i]) + (a * s);
                }
            }
        }
    }
}
