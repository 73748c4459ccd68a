using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace MoeSharp.Kernels;

/// <summary>The forward pass of one task list. Legend: r row, j block of keys, d head_dim, width a dim in whole vectors.</summary>
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
    public AttentionSplit* Splits;
    public float* States; // of the splits
    public int NumTasks;
    public int NextTask;
    public AttentionSegment* Segments;
    public float* Q;
    public int QStride;
    public float* K;
    public int KStride;
    public float* V;
    public int VStride;
    public float* Sinks; // [heads], or null
    public float* Output;
    public float* LogSumExp;
    public long ScratchOffset;
    public long ScratchLength;

    /// <summary>Scratch floats that a task of <paramref name="rows"/> rows needs in the widest vectors.</summary>
    public static long ScratchFloats(AttentionHeads heads, long rows)
    {
        long queryWidth = (heads.HeadDim + 15L) / 16 * 16;
        long valueWidth = (heads.ValueDim + 15L) / 16 * 16;
        return (Block * (queryWidth + valueWidth)) + (Strip * Block) + 64 + (rows * queryWidth) + (2 * AttentionRowState.Floats(heads.ValueDim, rows));
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
    private readonly void Attend<L, TVector>(in AttentionTask task, float* scratch)
        where L : struct, ILanes<TVector>
        where TVector : unmanaged
    {
        AttentionSegment segment = Segments[task.Segment];
        int group = Heads.NumHeads / Heads.NumKeyValueHeads;
        int rows = task.RowEnd - task.RowBegin;
        int width = AttentionPacking.PaddedWidth<L, TVector>(Heads.ValueDim);
        Workspace work = new(scratch, AttentionPacking.PaddedWidth<L, TVector>(Heads.HeadDim), width, L.Count, rows)
        {
            HeadDim = Heads.HeadDim,
            Group = group,
            RowBegin = task.RowBegin,
            Hidden = segment.KeyCount - segment.QueryCount + 1,
            Window = Heads.Window == 0 ? int.MaxValue : Heads.Window,
            ScoreCap = Heads.ScoreCap * Log2E,
        };
        PackQueries<L, TVector>(task, segment, work);
        if (task.Split >= 0)
        {
            AttendPart<L, TVector>(task, segment, work);
            return;
        }

        AttentionRowState state = new(work.States, width, L.Count, rows);
        int last = (task.BlockEnd - 1) / AttentionPacking.PartitionBlocks;
        if (task.BlockBegin / AttentionPacking.PartitionBlocks == last)
        {
            // Merged into the empty state it would be itself.
            state.Clear(width, L.Count, rows);
            AttendBlocks<L, TVector>(task, segment, work, state, task.BlockBegin, task.BlockEnd);
        }
        else
        {
            state.Clear(width, L.Count, rows);
            AttentionRowState part = new(work.States + AttentionRowState.Floats(Heads.ValueDim, rows), width, L.Count, rows);
            for (int block = task.BlockBegin; block < task.BlockEnd;)
            {
                int end = Math.Min(task.BlockEnd, ((block / AttentionPacking.PartitionBlocks) + 1) * AttentionPacking.PartitionBlocks);
                part.Clear(width, L.Count, rows);
                AttendBlocks<L, TVector>(task, segment, work, part, block, end);
                state.Merge<L, TVector>(part, width, rows);
                block = end;
            }
        }

        WriteRows<L, TVector>(task, segment, work, state);
    }

    // Leaves the states of the task's partitions where all tasks of the split find them; whoever finishes last merges them.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void AttendPart<L, TVector>(in AttentionTask task, AttentionSegment segment, in Workspace work)
        where L : struct, ILanes<TVector>
        where TVector : unmanaged
    {
        AttentionSplit* split = Splits + task.Split;
        float* states = States + split->States;
        long length = AttentionRowState.Floats(Heads.ValueDim, work.Rows);
        for (int block = task.BlockBegin; block < task.BlockEnd;)
        {
            int partition = block / AttentionPacking.PartitionBlocks;
            int end = Math.Min(task.BlockEnd, (partition + 1) * AttentionPacking.PartitionBlocks);
            AttentionRowState part = new(states + ((partition - split->FirstPartition) * length), work.ValueWidth, L.Count, work.Rows);
            part.Clear(work.ValueWidth, L.Count, work.Rows);
            AttendBlocks<L, TVector>(task, segment, work, part, block, end);
            block = end;
        }

        if (Interlocked.Decrement(ref split->RemainingTasks) != 0)
        {
            return;
        }

        AttentionRowState state = new(work.States, work.ValueWidth, L.Count, work.Rows);
        state.Clear(work.ValueWidth, L.Count, work.Rows);
        for (int partition = 0; partition < split->NumPartitions; partition++)
        {
            state.Merge<L, TVector>(new AttentionRowState(states + (partition * length), work.ValueWidth, L.Count, work.Rows), work.ValueWidth, work.Rows);
        }

        WriteRows<L, TVector>(task, segment, work, state);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void AttendBlocks<L, TVector>(in AttentionTask task, AttentionSegment segment, in Workspace work, in AttentionRowState state, int begin, int end)
        where L : struct, ILanes<TVector>
        where TVector : unmanaged
    {
        int keys = work.Visible(work.Rows - 1);
        float* k = K + ((long)segment.KeyBegin * KStride) + (task.KeyValueHead * Heads.HeadDim);
        float* v = V + ((long)segment.KeyBegin * VStride) + (task.KeyValueHead * Heads.ValueDim);
        for (int first = begin * Block; first < end * Block; first += Block)
        {
            int count = Math.Min(Block, keys - first);
            AttentionPacking.Transposed(k + ((long)first * KStride), KStride, count, Heads.HeadDim, work.KeysTransposed);
            bool isFinite = AttentionPacking.Rows<L, TVector>(v + ((long)first * VStride), VStride, count, Heads.ValueDim, work.ValueWidth, work.Values);

            // Rows before the first see none of the block's keys yet, rows from the end on none any more.
            int row = Math.Max(0, ((first - work.Hidden + 1) * work.Group) - task.RowBegin);
            int rowEnd = work.RowsBefore(first + Block);
            for (; row < rowEnd; row += Strip)
            {
                int rows = Math.Min(Strip, rowEnd - row);
                Scores<L, TVector>(work, state, row, rows, first);
                AddValues<L, TVector>(work, state, row, rows, isFinite);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void PackQueries<L, TVector>(in AttentionTask task, AttentionSegment segment, in Workspace work)
        where L : struct, ILanes<TVector>
        where TVector : unmanaged
    {
        int d = Heads.HeadDim;
        for (int row = 0; row < work.Rows; row++)
        {
            (int query, int member) = Math.DivRem(task.RowBegin + row, work.Group);
            float* q = Q + ((long)(segment.QueryBegin + query) * QStride) + (((task.KeyValueHead * work.Group) + member) * d);
            AttentionPacking.Row<L, TVector>(q, Heads.Scale * Log2E, d, work.QueryWidth, work.Queries + ((nint)row * work.QueryWidth));
        }
    }

    // Scores of a strip against the block, turned in place into 2^(score - maximum); masked ones become 0. The factor by which
    // the older part of each row must shrink for the new maximum is left in work.Scales, the keys each row sees in work.Begins and work.Ends.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Scores<L, TVector>(in Workspace work, in AttentionRowState state, int row, int rows, int first)
        where L : struct, ILanes<TVector>
        where TVector : unmanaged
    {
        int* ends = work.Ends;
        SetVisible(work, row, rows, first);
        int seen = ends[rows - 1];
        int cols = (seen + L.Count - 1) / L.Count * L.Count;
        float* scores = work.Scores;
        AttentionTile.Multiply<L, TVector>(rows, cols, work.HeadDim, work.Queries + ((nint)row * work.QueryWidth), work.QueryWidth, 1, work.KeysTransposed, Block, scores, Block, null);
        if (work.ScoreCap != 0f)
        {
            Cap<L, TVector>(scores, rows, cols, work.ScoreCap);
        }

        if (work.Begins[rows - 1] > 0)
        {
            Hide(work, rows);
        }

        float* scales = work.Scales;
        float* maxima = state.Maxima + row;
        for (int r = 0; r < rows; r++)
        {
            float old = maxima[r];
            float max = ends[r] == Block ? MaxOfBlock<L, TVector>(scores + (r * Block)) : MaxOf<L, TVector>(scores + (r * Block), ends[r]);
            max = max > old ? max : old;
            maxima[r] = max;
            scales[r] = old - SoftmaxRow.Shift(max);
        }

        for (int r = 0; r < rows; r += L.Count)
        {
            L.Store(scales + r, VectorMath.Exp2<L, TVector>(L.Load(scales + r)));
        }

        float* sums = state.Sums + ((nint)row * L.Count);
        for (int r = 0; r < rows; r++)
        {
            float shift = SoftmaxRow.Shift(maxima[r]);
            TVector added = ends[r] == Block
                ? ExponentialsOfBlock<L, TVector>(scores + (r * Block), shift)
                : Exponentials<L, TVector>(scores + (r * Block), shift, ends[r], seen);
            L.Store(sums, L.MultiplyAdd(L.Load(sums), L.Broadcast(scales[r]), added));
            sums += L.Count;
        }
    }

    // Row r of the strip sees keys Begins[r] (inclusive) to Ends[r] (exclusive) of the block; both rise with r.
    private static void SetVisible(in Workspace work, int row, int rows, int first)
    {
        (int query, int member) = Math.DivRem(work.RowBegin + row, work.Group);
        for (int r = 0; r < rows; r++)
        {
            int keys = work.Hidden + query - first;
            work.Ends[r] = Math.Min(Block, keys);
            work.Begins[r] = Math.Max(0, keys - work.Window);
            if (++member == work.Group)
            {
                (query, member) = (query + 1, 0);
            }
        }
    }

    // Keys that have left a row's window get no share: their exponential is exactly 0.
    private static void Hide(in Workspace work, int rows)
    {
        for (int r = 0; r < rows; r++)
        {
            new Span<float>(work.Scores + (r * Block), Math.Min(Block, work.Begins[r])).Fill(float.NegativeInfinity);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Cap<L, TVector>(float* scores, int rows, int cols, float cap)
        where L : struct, ILanes<TVector>
        where TVector : unmanaged
    {
        TVector caps = L.Broadcast(cap);
        TVector inverse = L.Broadcast(1f / cap);
        for (int r = 0; r < rows; r++)
        {
            for (int i = 0; i < cols; i += L.Count)
            {
                float* at = scores + (r * Block) + i;
                L.Store(at, L.Multiply(caps, VectorMath.Tanh<L, TVector>(L.Multiply(L.Load(at), inverse))));
            }
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
    private static void AddValues<L, TVector>(in Workspace work, in AttentionRowState state, int row, int rows, bool isFinite)
        where L : struct, ILanes<TVector>
        where TVector : unmanaged
    {
        int width = work.ValueWidth;
        float* outputs = state.Outputs + ((nint)row * width);
        if (isFinite)
        {
            int begin = work.Begins[0];
            AttentionTile.Multiply<L, TVector>(rows, width, work.Ends[rows - 1] - begin, work.Scores + begin, Block, 1, work.Values + (begin * width), width, outputs, width, work.Scales);
            return;
        }

        // 0 times infinity is NaN: rows must not even multiply with values that they do not see.
        for (int r = 0; r < rows; r++)
        {
            int begin = work.Begins[r];
            AttentionTile.Multiply<L, TVector>(1, width, work.Ends[r] - begin, work.Scores + (r * Block) + begin, Block, 1, work.Values + (begin * width), width, outputs + (r * width), width, work.Scales + r);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void WriteRows<L, TVector>(in AttentionTask task, AttentionSegment segment, in Workspace work, in AttentionRowState state)
        where L : struct, ILanes<TVector>
        where TVector : unmanaged
    {
        int d = Heads.ValueDim;
        for (int row = 0; row < work.Rows; row++)
        {
            (int query, int member) = Math.DivRem(task.RowBegin + row, work.Group);
            int head = (task.KeyValueHead * work.Group) + member;
            long index = ((long)(segment.QueryBegin + query) * Heads.NumHeads) + head;
            float sum = L.Sum(L.Load(state.Sums + ((nint)row * L.Count)));
            float max = state.Maxima[row];
            float scale = 1f;
            if (Sinks != null)
            {
                float sink = Sinks[head] * Log2E;
                float shift = SoftmaxRow.Shift(sink > max ? sink : max);
                scale = MathF.Pow(2f, max - shift);
                sum = (sum * scale) + MathF.Pow(2f, sink - shift);
                max = sink > max ? sink : max;
            }

            // All scores negative infinity: no key has a share, the row is 0.
            float inverse = sum == 0f ? 0f : scale / sum;
            AttentionPacking.Unpack<L, TVector>(state.Outputs + ((nint)row * work.ValueWidth), inverse, d, Output + (index * d));
            LogSumExp[index] = (max * Ln2) + MathF.Log(sum);
        }
    }

    /// <summary>The memory of one task and the numbers that place its rows among the keys.</summary>
    private readonly struct Workspace
    {
        public readonly float* KeysTransposed; // [head_dim, block]
        public readonly float* Values; // [block, value width]
        public readonly float* Scores; // [strip, block]
        public readonly float* Scales; // [strip], with room for a whole vector
        public readonly int* Begins; // [strip], first key of the block that each row sees
        public readonly int* Ends; // [strip], behind the last one
        public readonly float* Queries; // [rows, query width], times scale / ln 2
        public readonly float* States; // room for two states of all rows
        public readonly int QueryWidth;
        public readonly int ValueWidth;
        public readonly int Rows;

        public Workspace(float* scratch, int queryWidth, int valueWidth, int lanes, int rows)
        {
            (QueryWidth, ValueWidth, Rows) = (queryWidth, valueWidth, rows);
            KeysTransposed = scratch;
            Values = KeysTransposed + (Block * queryWidth);
            Scores = Values + (Block * valueWidth);
            Scales = Scores + (Strip * Block);
            Begins = (int*)(Scales + 16);
            Ends = Begins + 16;
            Queries = Scales + 48;
            States = Queries + ((nint)rows * queryWidth);
        }

        public int HeadDim { get; init; }

        public int Group { get; init; }

        public int RowBegin { get; init; }

        /// <summary>Keys that even the first query of the segment sees, were there no window.</summary>
        public int Hidden { get; init; }

        /// <summary>Most keys that a row sees.</summary>
        public int Window { get; init; }

        /// <summary>Cap of the scores in units of log 2, or 0.</summary>
        public float ScoreCap { get; init; }

        /// <summary>Number of keys up to the last one that a row of the task sees.</summary>
        public int Visible(int row) => Hidden + ((RowBegin + row) / Group);

        /// <summary>Rows of the task whose window begins before a key.</summary>
        public int RowsBefore(int key)
        {
            long queries = (long)key + Window - Hidden; // query i sees from Hidden + i - Window on
            return (int)Math.Clamp((queries * Group) - RowBegin, 0, Rows);
        }
    }
}
