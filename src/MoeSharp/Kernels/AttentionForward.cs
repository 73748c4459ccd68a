using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace MoeSharp.Kernels;

/// <summary>The forward pass of one task list. Legend: r row, j block of keys, d head_dim, width a dim in whole vectors.</summary>
/// <remarks>
/// Per block of keys: pack once, then for every strip of eight rows scores, running maximum, exponentials, and the product with
/// the values, all within the first cache. Scores are in units of log 2 (the factor is folded into q), so that exp becomes 2^x.
/// </remarks>
internal unsafe partial struct AttentionForward : IWorkerJob
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
    public PageTable[]? Tables; // of each segment, in place of K and V
    public PagedHeads Paged;
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
        return (Block * (queryWidth + Math.Max(queryWidth, valueWidth))) + (Strip * Block) + 64 + (rows * queryWidth) + (2 * AttentionRowState.Floats(heads.ValueDim, rows));
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
        state.Clear(width, L.Count, rows);
        int last = (task.BlockEnd - 1) / AttentionPacking.PartitionBlocks;
        if (task.BlockBegin / AttentionPacking.PartitionBlocks == last)
        {
            // Merged into the empty state a partition would be itself.
            AttendBlocks<L, TVector>(task, segment, work, state, task.BlockBegin, task.BlockEnd);
        }
        else
        {
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
        for (int first = begin * Block; first < end * Block; first += Block)
        {
            int count = Math.Min(Block, keys - first);

            // Rows before the first see none of the block's keys yet, rows from the end on none any more.
            int row = Math.Max(0, ((first - work.Hidden + 1) * work.Group) - task.RowBegin);
            int rowEnd = work.RowsBefore(first + Block);
            KeyBlock block = Tables is null
                ? PackedBlock<L, TVector>(task, segment, work, first, count)
                : PageBlock<L, TVector>(task, work, first, count, work.SeeTheSame(row, rowEnd, first, count), rowEnd - row <= Strip);
            nint ahead = block.Ahead; // asked for once per block
            for (; row < rowEnd; row += Strip)
            {
                int rows = Math.Min(Strip, rowEnd - row);
                Scores<L, TVector>(work, state, block, row, rows, first, ahead);
                AddValues<L, TVector>(work, state, block, row, rows, ahead);
                ahead = 0;
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly KeyBlock PackedBlock<L, TVector>(in AttentionTask task, AttentionSegment segment, in Workspace work, int first, int count)
        where L : struct, ILanes<TVector>
        where TVector : unmanaged
    {
        long row = segment.KeyBegin + first;
        AttentionPacking.Transposed(K + (row * KStride) + (task.KeyValueHead * Heads.HeadDim), KStride, count, Heads.HeadDim, work.KeysTransposed);
        return new KeyBlock
        {
            KeysTransposed = work.KeysTransposed,
            Values = work.Values,
            ValueStride = work.ValueWidth,
            IsFinite = AttentionPacking.Rows<L, TVector>(V + (row * VStride) + (task.KeyValueHead * Heads.ValueDim), VStride, count, Heads.ValueDim, work.ValueWidth, work.Values),
        };
    }

    // Turned keys and all values are read where they lie. What a page holds behind the last key is masked, whatever it is. Values need a look
    // before use only if some rows do not see all keys that others see.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly KeyBlock PageBlock<L, TVector>(in AttentionTask task, in Workspace work, int first, int count, bool seeTheSame, bool isOneStrip)
        where L : struct, ILanes<TVector>
        where TVector : unmanaged
    {
        float** pages = Tables![task.Segment].Pointer + (first / Block); // the caller checked for null
        float* page = *pages;
        nint ahead = (first / Block) + 1 < task.BlockEnd ? (nint)(pages[1] - page) : ToNextHead(task, page);
        float* keys = page + Paged.Offset + (task.KeyValueHead * Paged.KeyHeadStep);
        float* values = page + Paged.Values + (task.KeyValueHead * Paged.ValueHeadStep);
        if (Paged.Format == CacheFormat.BFloat16)
        {
            if (isOneStrip && seeTheSame && !Paged.IsLatent)
            {
                return new KeyBlock { HalvedKeys = (ushort*)keys, HalvedValues = (ushort*)values, ValueStride = Paged.ValueStride, Ahead = 2 * ahead, IsFinite = true };
            }

            AttentionPacking.Widen((ushort*)values, (nint)Paged.ValueStride * Block, work.Values, 2 * ahead);
            values = work.Values;
            if (Paged.IsLatent)
            {
                keys = values;
            }
            else
            {
                AttentionPacking.Widen((ushort*)keys, (nint)Heads.HeadDim * Block, work.KeysTransposed, 2 * ahead);
                keys = work.KeysTransposed;
            }

            ahead = 0; // what is read from here on is scratch
        }

        if (Paged.IsLatent)
        {
            AttentionPacking.Transposed(keys, Paged.ValueStride, count, Heads.HeadDim, work.KeysTransposed, ahead);
            keys = work.KeysTransposed;
        }

        return new KeyBlock
        {
            KeysTransposed = keys,
            Values = values,
            ValueStride = Paged.ValueStride,
            Ahead = Paged.IsLatent ? 0 : ahead,
            IsFinite = seeTheSame || AttentionPacking.AreFinite<L, TVector>(values, Paged.ValueStride, count, work.ValueWidth),
        };
    }

    // Floats from a page to the first one of the head that this worker takes next, if all take turns; 0 when it has none.
    private readonly nint ToNextHead(in AttentionTask task, float* page)
    {
        bool isNext = task.KeyValueHead + Workers.Workers < Heads.NumKeyValueHeads && Paged.KeyHeadStep == Paged.ValueHeadStep;
        return isNext ? (nint)(Tables![task.Segment].Pointer[task.BlockBegin] - page) + (nint)(Workers.Workers * Paged.KeyHeadStep) : 0;
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

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddValues<L, TVector>(in Workspace work, in AttentionRowState state, in KeyBlock block, int row, int rows, nint ahead)
        where L : struct, ILanes<TVector>
        where TVector : unmanaged
    {
        int width = work.ValueWidth;
        float* outputs = state.Outputs + ((nint)row * width);
        if (block.HalvedValues != null)
        {
            AddHalvedValues<L, TVector>(work, block, outputs, rows, ahead);
            return;
        }

        if (block.IsFinite)
        {
            int begin = work.Begins[0];
            AttentionTile.Multiply<L, TVector>(rows, width, work.Ends[rows - 1] - begin, work.Scores + begin, Block, 1, block.Values + (begin * block.ValueStride), block.ValueStride, outputs, width, work.Scales, ahead);
            return;
        }

        // 0 times infinity is NaN: rows must not even multiply with values that they do not see.
        for (int r = 0; r < rows; r++)
        {
            int begin = work.Begins[r];
            AttentionTile.Multiply<L, TVector>(1, width, work.Ends[r] - begin, work.Scores + (r * Block) + begin, Block, 1, block.Values + (begin * block.ValueStride), block.ValueStride, outputs + (r * width), width, work.Scales + r);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddHalvedValues<L, TVector>(in Workspace work, in KeyBlock block, float* outputs, int rows, nint ahead)
        where L : struct, ILanes<TVector>
        where TVector : unmanaged
    {
        const int Piece = 16; // keys: 8 KiB of 128 columns
        (int begin, int end) = (work.Begins[0], work.Ends[rows - 1]);
        float* scales = work.Scales;
        for (int first = begin / Piece * Piece; first < end; first += Piece)
        {
            int from = Math.Max(begin, first);
            AttentionPacking.Widen(block.HalvedValues + (first * block.ValueStride), (nint)Piece * block.ValueStride, work.Values, ahead);
            AttentionTile.Multiply<L, TVector>(
                rows, work.ValueWidth, Math.Min(end, first + Piece) - from, work.Scores + from, Block, 1, work.Values + ((from - first) * block.ValueStride), block.ValueStride, outputs, work.ValueWidth, scales);
            scales = work.Ones;
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

    /// <summary>Up to 64 keys as the tiles read them.</summary>
    private readonly struct KeyBlock
    {
        public float* KeysTransposed { get; init; } // [head_dim, block], or null for halved ones

        public ushort* HalvedKeys { get; init; } // [head_dim, block] of bfloat16, widened piece by piece where only one strip reads them

        public ushort* HalvedValues { get; init; } // [block, value width] of bfloat16, likewise

        public float* Values { get; init; } // [block, value width]

        public int ValueStride { get; init; }

        /// <summary>Numbers from these keys and values to those of the next block; 0 when that is not known.</summary>
        public nint Ahead { get; init; }

        /// <summary>Whether a masked key may be multiplied by zero instead of being left out.</summary>
        public bool IsFinite { get; init; }
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
        public readonly float* Ones; // [strip]: scales of sums that go on as they are
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
            Scores = Values + (Block * ((Math.Max(queryWidth, valueWidth) + 15) / 16 * 16)); // widened rows are as wide as those of a page, and latents as keys
            Scales = Scores + (Strip * Block);
            Begins = (int*)(Scales + 16);
            Ends = Begins + 16;
            Ones = Scales + 48;
            new Span<float>(Ones, Strip).Fill(1f);
            Queries = Scales + 64;
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

        /// <summary>Whether rows from <paramref name="row"/> to <paramref name="rowEnd"/> see the same of some keys.</summary>
        public bool SeeTheSame(int row, int rowEnd, int first, int count)
        {
            int early = Visible(row);
            int late = Visible(rowEnd - 1);
            return early == late || (early >= first + count && late - Window <= first);
        }

        /// <summary>Rows of the task whose window begins before a key.</summary>
        public int RowsBefore(int key)
        {
            long queries = (long)key + Window - Hidden; // query i sees from Hidden + i - Window on
            return (int)Math.Clamp((queries * Group) - RowBegin, 0, Rows);
        }
    }
}
