using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels;

/// <summary>Biases of routed experts: every group of rows has its own.</summary>
/// <remarks>Rows of group g are <c>offsets[g]</c> to <c>offsets[g + 1] - 1</c>. Legend: r row, g group, h column.</remarks>
public static unsafe class GroupedBias
{
    /// <summary>y[r] += rowWeight[r] * bias[g]; an empty <paramref name="rowWeights"/> means weight 1.</summary>
    /// <param name="workers">Worker pool.</param>
    /// <param name="offsets">First row of each group, [groups + 1].</param>
    /// <param name="cols">Columns.</param>
    /// <param name="bias">[groups, cols].</param>
    /// <param name="rowWeights">[rows], or empty.</param>
    /// <param name="y">+= [rows, cols].</param>
    public static void Add(WorkerPool workers, ReadOnlySpan<int> offsets, int cols, ReadOnlySpan<float> bias, ReadOnlySpan<float> rowWeights, Span<float> y)
    {
        const string Operation = "GroupedBias.Add";
        int rows = offsets[^1];
        Require.Length(bias.Length, (offsets.Length - 1L) * cols, Operation, nameof(bias));
        Require.Length(rowWeights.Length, rowWeights.IsEmpty ? 0 : rows, Operation, nameof(rowWeights));
        Require.Length(y.Length, (long)rows * cols, Operation, nameof(y));
        fixed (int* firsts = offsets)
        fixed (float* biases = bias, weights = rowWeights, ys = y)
        {
            LaneRows.For(workers, rows, cols, new AddJob { Groups = offsets.Length - 1, Cols = cols, Offsets = firsts, Bias = biases, RowWeights = weights, Y = ys });
        }
    }

    /// <summary>dBias[g] += sum over the group's rows of rowWeight[r] dy[r]; dRowWeights[r] += dy[r] . bias[g].</summary>
    /// <param name="workers">Worker pool.</param>
    /// <param name="offsets">First row of each group, [groups + 1].</param>
    /// <param name="cols">Columns.</param>
    /// <param name="dy">Gradient of y; row r is row <c>gather[r]</c>.</param>
    /// <param name="gather">Rows of <paramref name="dy"/>, or empty for row r itself.</param>
    /// <param name="bias">[groups, cols]; may be empty when there are no row weights.</param>
    /// <param name="rowWeights">[rows], or empty.</param>
    /// <param name="dBias">+= [groups, cols].</param>
    /// <param name="dRowWeights">+= [rows]; ignored when <paramref name="rowWeights"/> is empty.</param>
    public static void Backward(
        WorkerPool workers, ReadOnlySpan<int> offsets, int cols, ReadOnlySpan<float> dy, ReadOnlySpan<int> gather, ReadOnlySpan<float> bias, ReadOnlySpan<float> rowWeights,
        Span<float> dBias, Span<float> dRowWeights)
    {
        const string Operation = "GroupedBias.Backward";
        int rows = offsets[^1];
        int groups = offsets.Length - 1;
        Require.Length(dBias.Length, (long)groups * cols, Operation, nameof(dBias));
        Require.Length(bias.Length, rowWeights.IsEmpty ? 0 : (long)groups * cols, Operation, nameof(bias));
        Require.Length(rowWeights.Length, rowWeights.IsEmpty ? 0 : rows, Operation, nameof(rowWeights));
        Require.Length(dRowWeights.Length, rowWeights.IsEmpty ? 0 : rows, Operation, nameof(dRowWeights));
        Require.Length(gather.Length, gather.IsEmpty ? 0 : rows, Operation, nameof(gather));
        int last = gather.IsEmpty ? rows - 1 : -1;
        foreach (int row in gather)
        {
            last = Math.Max(last, row);
        }

        Require.Length(dy.Length, (last + 1L) * cols, Operation, nameof(dy));
        fixed (int* firsts = offsets, index = gather)
        fixed (float* dys = dy, biases = bias, weights = rowWeights, dBiases = dBias, dWeights = dRowWeights)
        {
            BackwardJob job = new() { Cols = cols, Offsets = firsts, Gather = index, Dy = dys, Bias = biases, RowWeights = weights, DBias = dBiases, DRowWeights = dWeights };
            LaneRows.ForChunks(workers, groups, 1, job); // a group's sum stays with one worker: the same order for any number of them
        }
    }

    private struct AddJob : ILaneRows
    {
        public int Groups;
        public int Cols;
        public int* Offsets;
        public float* Bias;
        public float* RowWeights; // null: all 1
        public float* Y;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            int g = 0;
            for (int r = begin; r < end; r++)
            {
                while (g < Groups - 1 && Offsets[g + 1] <= r)
                {
                    g++;
                }

                AddRow<L, V>(Bias + ((long)g * Cols), RowWeights == null ? 1f : RowWeights[r], Y + ((long)r * Cols), Cols);
            }
        }
    }

    private struct BackwardJob : ILaneRows
    {
        public int Cols;
        public int* Offsets;
        public int* Gather; // null: row r itself
        public float* Dy;
        public float* Bias;
        public float* RowWeights; // null: all 1
        public float* DBias;
        public float* DRowWeights;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            for (int g = begin; g < end; g++)
            {
                for (int r = Offsets[g]; r < Offsets[g + 1]; r++)
                {
                    float* dy = Dy + ((long)(Gather == null ? r : Gather[r]) * Cols);
                    AddRow<L, V>(dy, RowWeights == null ? 1f : RowWeights[r], DBias + ((long)g * Cols), Cols);
                    if (RowWeights != null)
                    {
                        DRowWeights[r] += LaneLoop.Dot<L, V>(dy, Bias + ((long)g * Cols), Cols);
                    }
                }
            }
        }
    }

    // y += factor * x
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void AddRow<L, V>(float* x, float factor, float* y, int cols)
        where L : struct, ILanes<V>
        where V : unmanaged => LaneLoop.Map<L, V, AddMap>(0, cols, new AddMap { X = x, Factor = factor, Y = y });

    private struct AddMap : ILaneMap
    {
        public float* X;
        public float Factor;
        public float* Y;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public readonly void At<W, L, V>(W at)
            where W : struct, ILaneWindow<V>
            where L : struct, ILanes<V>
            where V : unmanaged => at.Store(Y, L.MultiplyAdd(L.Broadcast(Factor), at.Load(X), at.Load(Y)));
    }
}
