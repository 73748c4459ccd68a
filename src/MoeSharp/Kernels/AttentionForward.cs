using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace MoeSharp.Kernels;

/// <summary>A stretch of query rows of one segment and key/value head; the unit that a worker takes.</summary>
/// <remarks>Rows number the pairs (query, head of the group) with the head running fastest, so that the heads of a group share packed keys.</remarks>
internal struct AttentionTask
{
    public int Segment;
    public int KeyValueHead;
    public int RowBegin;
    public int RowEnd;
    public int BlockBegin;
    public int BlockEnd;
}

/// <summary>The forward pass of one task list. Legend: r row, j block of keys, d head_dim, width d in whole vectors.</summary>
/// <remarks>
/// Per block of keys: pack once, then for every strip of eight rows scores, running maximum, exponentials, and the product with
/// the values, all within the first cache. Scores are in units of log 2 (the factor is folded into q), so that exp becomes 2^x.
/// </remarks>
internal unsafe struct AttentionForward : IWorkerJob
{
    private const int Block = AttentionPacking.Block;
    private const int Strip = 8;
    private const float Log2E = 1.44269504f;
    private const float Ln2 = 0.693147181f;

    public WorkerPool Workers;
    public AttentionHeads Heads;
    public AttentionTask* Tasks;
    public int NumTasks;
    public int NextTask;
    public AttentionSegment* Segments;
    public float* Q;
    public int QStride;
    public float* K;
    public int KStride;
    public float* V;
    public int VStride;
    public float* Output;
    public float* LogSumExp;
    public long ScratchOffset;
    public long ScratchLength;

    /// <summary>Scratch floats that a task of <paramref name="rows"/> rows needs in the widest vectors.</summary>
    public static long ScratchFloats(int headDim, long rows)
    {
        long width = (headDim + 15L) / 16 * 16;
        return (2 * Block * width) + (2 * Strip * Block) + (rows * ((2 * width) + 16 + 1)) + 64;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Run(int worker, int workers)
    {
        float* scratch = Workers.Scratch(worker, ScratchOffset + ScratchLength) + ScratchOffset;
        int task;
        while ((task = Interlocked.Increment(ref NextTask) - 1) < NumTasks)
        {
            if (Vector512.IsHardwareAccelerated)
            {
                Attend<Lanes512, Vector512<float>>(Tasks[task], scratch);
            }
            else if (Vector256.IsHardwareAccelerated)
            {
                Attend<Lanes256, Vector256<float>>(Tasks[task], scratch);
            }
            else if (Vector128.IsHardwareAccelerated)
            {
                Attend<Lanes128, Vector128<float>>(Tasks[task], scratch);
            }
            else
            {
                Attend<Lanes1, float>(Tasks[task], scratch);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void Attend<L, TVector>(AttentionTask task, float* scratch)
        where L : struct, ILanes<TVector>
        where TVector : unmanaged
    {
        int d = Heads.HeadDim;
        int group = Heads.NumHeads / Heads.NumKeyValueHeads;
        AttentionSegment segment = Segments[task.Segment];
        Workspace work = new(scratch, AttentionPacking.PaddedWidth<L, TVector>(d), L.Count, task.RowEnd - task.RowBegin)
        {
            HeadDim = d,
            Group = group,
            RowBegin = task.RowBegin,
            Hidden = segment.KeyCount - segment.QueryCount + 1,
        };
        int keys = work.Visible(work.Rows - 1);
        float* k = K + ((long)segment.KeyBegin * KStride) + (task.KeyValueHead * d);
        float* v = V + ((long)segment.KeyBegin * VStride) + (task.KeyValueHead * d);
        PackQueries<L, TVector>(task, segment, work);
        for (int first = 0; first < keys; first += Block)
        {
            int count = Math.Min(Block, keys - first);
            AttentionPacking.Transposed(k + ((long)first * KStride), KStride, count, d, work.KeysTransposed);
            bool isFinite = AttentionPacking.Rows<L, TVector>(v + ((long)first * VStride), VStride, count, d, work.Width, work.Values);

            // Rows before this one see none of the block's keys.
            int row = Math.Max(0, ((first - work.Hidden + 1) * group) - task.RowBegin);
            for (; row < work.Rows; row += Strip)
            {
                int rows = Math.Min(Strip, work.Rows - row);
                Scores<L, TVector>(work, row, rows, first);
                AddValues<L, TVector>(work, row, rows, isFinite);
            }
        }

        WriteRows<L, TVector>(task, segment, work);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void PackQueries<L, TVector>(AttentionTask task, AttentionSegment segment, in Workspace work)
        where L : struct, ILanes<TVector>
        where TVector : unmanaged
    {
        int d = Heads.HeadDim;
        for (int row = 0; row < work.Rows; row++)
        {
            (int query, int member) = Math.DivRem(task.RowBegin + row, work.Group);
            float* q = Q + ((long)(segment.QueryBegin + query) * QStride) + (((task.KeyValueHead * work.Group) + member) * d);
            AttentionPacking.Row<L, TVector>(q, Heads.Scale * Log2E, d, work.Width, work.Queries + ((nint)row * work.Width));
        }

        new Span<float>(work.Outputs, work.Rows * work.Width).Clear();
        new Span<float>(work.Sums, work.Rows * L.Count).Clear();
        new Span<float>(work.Maxima, work.Rows).Fill(float.NegativeInfinity);
    }

    // Scores of a strip against the block, turned in place into 2^(score - maximum); masked ones become 0. The factor by which
    // the older part of each row must shrink for the new maximum is left in work.Scales, the keys each row sees in work.Visibles.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Scores<L, TVector>(in Workspace work, int row, int rows, int first)
        where L : struct, ILanes<TVector>
        where TVector : unmanaged
    {
        int* visibles = work.Visibles;
        (int query, int member) = Math.DivRem(work.RowBegin + row, work.Group);
        for (int r = 0; r < rows; r++)
        {
            visibles[r] = Math.Min(Block, work.Hidden + query - first);
            if (++member == work.Group)
            {
                (query, member) = (query + 1, 0);
            }
        }

        int seen = visibles[rows - 1];
        int cols = (seen + L.Count - 1) / L.Count * L.Count;
        float* scores = work.Scores;
        AttentionTile.Multiply<L, TVector>(rows, cols, work.HeadDim, work.Queries + ((nint)row * work.Width), work.Width, 1, work.KeysTransposed, Block, scores, Block, null);

        float* scales = work.Scales;
        float* maxima = work.Maxima + row;
        for (int r = 0; r < rows; r++)
        {
            float old = maxima[r];
            float max = visibles[r] == Block ? MaxOfBlock<L, TVector>(scores + (r * Block)) : MaxOf<L, TVector>(scores + (r * Block), visibles[r]);
            max = max > old ? max : old;
            maxima[r] = max;
            scales[r] = old - SoftmaxRow.Shift(max);
        }

        for (int r = 0; r < rows; r += L.Count)
        {
            L.Store(scales + r, VectorMath.Exp2<L, TVector>(L.Load(scales + r)));
        }

        float* sums = work.Sums + ((nint)row * L.Count);
        for (int r = 0; r < rows; r++)
        {
            float shift = SoftmaxRow.Shift(maxima[r]);
            TVector added = visibles[r] == Block
                ? ExponentialsOfBlock<L, TVector>(scores + (r * Block), shift)
                : Exponentials<L, TVector>(scores + (r * Block), shift, visibles[r], seen);
            L.Store(sums, L.MultiplyAdd(L.Load(sums), L.Broadcast(scales[r]), added));
            sums += L.Count;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static float MaxOfBlock<L, TVector>(float* scores)
        where L : struct, ILanes<TVector>
        where TVector : unmanaged
    {
        TVector result = L.Load(scores);
        for (int i = L.Count; i < Block; i += L.Count)
        {
            result = L.Max(result, L.Load(scores + i));
        }

        return L.MaxLane(result);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static float MaxOf<L, TVector>(float* scores, int visible)
        where L : struct, ILanes<TVector>
        where TVector : unmanaged
    {
        TVector lowest = L.Broadcast(float.NegativeInfinity);
        TVector result = lowest;
        int i = 0;
        for (; i <= visible - L.Count; i += L.Count)
        {
            result = L.Max(result, L.Load(scores + i));
        }

        if (i < visible)
        {
            result = L.Max(result, L.KeepFirst(L.Load(scores + i), visible - i, lowest));
        }

        return L.MaxLane(result);
    }

    // Each lane sums its own keys in rising order, so that a masked key adds an exact zero to the same lane in every call.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector ExponentialsOfBlock<L, TVector>(float* scores, float shift)
        where L : struct, ILanes<TVector>
        where TVector : unmanaged
    {
        TVector shifts = L.Broadcast(shift);
        TVector sum = L.Zero;
        for (int i = 0; i < Block; i += L.Count)
        {
            TVector e = VectorMath.Exp2<L, TVector>(L.Subtract(L.Load(scores + i), shifts));
            sum = L.Add(sum, e);
            L.Store(scores + i, e);
        }

        return sum;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector Exponentials<L, TVector>(float* scores, float shift, int visible, int seen)
        where L : struct, ILanes<TVector>
        where TVector : unmanaged
    {
        TVector shifts = L.Broadcast(shift);
        TVector sum = L.Zero;
        int i = 0;
        for (; i < visible; i += L.Count)
        {
            TVector e = VectorMath.Exp2<L, TVector>(L.Subtract(L.Load(scores + i), shifts));
            e = visible - i < L.Count ? L.KeepFirst(e, visible - i, L.Zero) : e;
            sum = L.Add(sum, e);
            L.Store(scores + i, e);
        }

        for (; i < seen; i += L.Count)
        {
            L.Store(scores + i, L.Zero);
        }

        return sum;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddValues<L, TVector>(in Workspace work, int row, int rows, bool isFinite)
        where L : struct, ILanes<TVector>
        where TVector : unmanaged
    {
        float* outputs = work.Outputs + ((nint)row * work.Width);
        if (isFinite)
        {
            AttentionTile.Multiply<L, TVector>(rows, work.Width, work.Visibles[rows - 1], work.Scores, Block, 1, work.Values, work.Width, outputs, work.Width, work.Scales);
            return;
        }

        // 0 times infinity is NaN: rows must not even multiply with values that they do not see.
        for (int r = 0; r < rows; r++)
        {
            AttentionTile.Multiply<L, TVector>(1, work.Width, work.Visibles[r], work.Scores + (r * Block), Block, 1, work.Values, work.Width, outputs + (r * work.Width), work.Width, work.Scales + r);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void WriteRows<L, TVector>(AttentionTask task, AttentionSegment segment, in Workspace work)
        where L : struct, ILanes<TVector>
        where TVector : unmanaged
    {
        int d = Heads.HeadDim;
        for (int row = 0; row < work.Rows; row++)
        {
            (int query, int member) = Math.DivRem(task.RowBegin + row, work.Group);
            long index = ((long)(segment.QueryBegin + query) * Heads.NumHeads) + (task.KeyValueHead * work.Group) + member;
            float sum = L.Sum(L.Load(work.Sums + ((nint)row * L.Count)));

            // All scores negative infinity: no key has a share, the row is 0.
            float inverse = sum == 0f ? 0f : 1f / sum;
            AttentionPacking.Unpack<L, TVector>(work.Outputs + ((nint)row * work.Width), inverse, d, Output + (index * d));
            LogSumExp[index] = (work.Maxima[row] * Ln2) + MathF.Log(sum);
        }
    }

    /// <summary>The memory of one task and the numbers that place its rows among the keys.</summary>
    private readonly struct Workspace
    {
        public readonly float* KeysTransposed; // [head_dim, block]
        public readonly float* Values; // [block, width]
        public readonly float* Scores; // [strip, block]
        public readonly float* Scales; // [strip], with room for a whole vector
        public readonly int* Visibles; // [strip], keys of the block that each row sees
        public readonly float* Queries; // [rows, width], times scale / ln 2
        public readonly float* Outputs; // [rows, width]
        public readonly float* Sums; // [rows, lanes]
        public readonly float* Maxima; // [rows]
        public readonly int Width;
        public readonly int Rows;

        public Workspace(float* scratch, int width, int lanes, int rows)
        {
            Width = width;
            Rows = rows;
            KeysTransposed = scratch;
            Values = KeysTransposed + (Block * width);
            Scores = Values + (Block * width);
            Scales = Scores + (Strip * Block);
            Visibles = (int*)(Scales + 16);
            Queries = Scales + 32;
            Outputs = Queries + ((nint)rows * width);
            Sums = Outputs + ((nint)rows * width);
            Maxima = Sums + ((nint)rows * lanes);
        }

        public int HeadDim { get; init; }

        public int Group { get; init; }

        public int RowBegin { get; init; }

        /// <summary>Keys that even the first query of the segment sees.</summary>
        public int Hidden { get; init; }

        /// <summary>Number of keys that a row of the task sees.</summary>
        public int Visible(int row) => Hidden + ((RowBegin + row) / Group);
    }
}
