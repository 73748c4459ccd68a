using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace MoeSharp.Kernels;

/// <summary>Which gradients a backward task writes.</summary>
internal enum AttentionGradients
{
    /// <summary>All three in one pass: five products per tile.</summary>
    All,

    /// <summary>dk and dv of some blocks of keys.</summary>
    KeysAndValues,

    /// <summary>dq of some rows; together with the former seven products per tile, but work for more workers.</summary>
    Queries,
}

/// <summary>The backward pass of one task list. Legend: r row, j block of keys, d head_dim, width d in whole vectors.</summary>
/// <remarks>
/// Scores are computed again block by block from the stored log-sum-exp (FlashAttention, arXiv 2205.14135, algorithm 4). Every
/// gradient is one chain of multiply-adds (dq over rising keys, dk and dv over rising rows), so the split into tasks does not
/// change a bit. The heads of a group are rows of one list and thereby summed in fixed order.
/// </remarks>
internal unsafe struct AttentionBackward : IWorkerJob
{
    private const int Block = AttentionPacking.Block;
    private const int Strip = 8;
    private const float Log2E = 1.44269504f;
    private const float Ln2 = 0.693147181f;

    public WorkerPool Workers;
    public AttentionHeads Heads;
    public AttentionGradients Gradients;
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
    public float* DOutput;
    public float* Dq;
    public int DqStride;
    public float* Dk;
    public int DkStride;
    public float* Dv;
    public int DvStride;
    public long ScratchOffset;
    public long ScratchLength;

    /// <summary>Scratch floats that a task of <paramref name="rows"/> rows needs in the widest vectors.</summary>
    public static long ScratchFloats(int headDim, long rows)
    {
        long width = (headDim + 15L) / 16 * 16;
        return (5 * Block * width) + (2 * Block * Block) + 16 + (rows * ((3 * width) + 2)) + 64;
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
                Differentiate<Lanes512, Vector512<float>>(Tasks[task], scratch);
            }
            else if (Vector256.IsHardwareAccelerated)
            {
                Differentiate<Lanes256, Vector256<float>>(Tasks[task], scratch);
            }
            else if (Vector128.IsHardwareAccelerated)
            {
                Differentiate<Lanes128, Vector128<float>>(Tasks[task], scratch);
            }
            else
            {
                Differentiate<Lanes1, float>(Tasks[task], scratch);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void Differentiate<L, TVector>(AttentionTask task, float* scratch)
        where L : struct, ILanes<TVector>
        where TVector : unmanaged
    {
        int d = Heads.HeadDim;
        int group = Heads.NumHeads / Heads.NumKeyValueHeads;
        AttentionSegment segment = Segments[task.Segment];
        Workspace work = new(scratch, AttentionPacking.PaddedWidth<L, TVector>(d), task.RowEnd - task.RowBegin) { HeadDim = d, Group = group, RowBegin = task.RowBegin };
        PackRows<L, TVector>(task, segment, work);

        float* k = K + ((long)segment.KeyBegin * KStride) + (task.KeyValueHead * d);
        float* v = V + ((long)segment.KeyBegin * VStride) + (task.KeyValueHead * d);
        for (int j = task.BlockBegin; j < task.BlockEnd; j++)
        {
            int first = j * Block;
            int keys = Math.Min(Block, segment.KeyCount - first);
            AttentionPacking.Transposed(k + ((long)first * KStride), KStride, keys, d, work.KeysTransposed);
            AttentionPacking.Transposed(v + ((long)first * VStride), VStride, keys, d, work.ValuesTransposed);
            AttentionPacking.Rows<L, TVector>(k + ((long)first * KStride), KStride, keys, d, work.Width, work.Keys);
            new Span<float>(work.DKeys, 2 * Block * work.Width).Clear();

            // Rows before this one see none of the block's keys.
            for (int row = Math.Max(0, (first * group) - task.RowBegin); row < work.Rows; row += Block)
            {
                Tile<L, TVector>(work, row, Math.Min(Block, work.Rows - row), first, keys);
            }

            if (Gradients != AttentionGradients.Queries)
            {
                WriteKeyGradients<L, TVector>(task, segment, work, first, keys);
            }
        }

        if (Gradients != AttentionGradients.KeysAndValues)
        {
            WriteQueryGradients<L, TVector>(task, segment, work);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void PackRows<L, TVector>(AttentionTask task, AttentionSegment segment, in Workspace work)
        where L : struct, ILanes<TVector>
        where TVector : unmanaged
    {
        int d = Heads.HeadDim;
        for (int row = 0; row < work.Rows; row++)
        {
            (int query, int member) = Math.DivRem(task.RowBegin + row, work.Group);
            int head = (task.KeyValueHead * work.Group) + member;
            long index = ((long)(segment.QueryBegin + query) * Heads.NumHeads) + head;
            float* dOutput = work.DOutputs + ((nint)row * work.Width);
            float* q = Q + ((long)(segment.QueryBegin + query) * QStride) + (head * d);
            AttentionPacking.Row<L, TVector>(q, Heads.Scale * Log2E, d, work.Width, work.Queries + ((nint)row * work.Width));
            AttentionPacking.Row<L, TVector>(DOutput + (index * d), 1f, d, work.Width, dOutput);
            TVector dot = L.Zero;
            for (int c = 0; c < d; c += L.Count)
            {
                float* output = Output + (index * d) + c;
                dot = L.MultiplyAdd(L.Load(dOutput + c), d - c >= L.Count ? L.Load(output) : L.LoadFirst(output, d - c), dot);
            }

            work.Deltas[row] = L.Sum(dot);

            // A row without any visible score has no softmax; an infinite sum makes all its probabilities 0.
            float logSumExp = LogSumExp[index];
            work.LogSums[row] = logSumExp == float.NegativeInfinity ? float.PositiveInfinity : logSumExp * Log2E;
        }

        new Span<float>(work.DQueries, work.Rows * work.Width).Clear();
    }

    // All gradients that up to 64 rows and 64 keys give each other.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void Tile<L, TVector>(in Workspace work, int row, int rows, int first, int keys)
        where L : struct, ILanes<TVector>
        where TVector : unmanaged
    {
        for (int r = 0; r < rows; r += Strip)
        {
            int count = Math.Min(Strip, rows - r);
            int seen = Math.Min(keys, work.Visible(row + r + count - 1) - first);
            Probabilities<L, TVector>(work, row + r, count, r, first, seen);
            if (Gradients != AttentionGradients.KeysAndValues)
            {
                AttentionTile.Multiply<L, TVector>(
                    count, work.Width, seen, work.DScores + (r * Block), Block, 1, work.Keys, work.Width,
                    work.DQueries + ((nint)(row + r) * work.Width), work.Width, work.Ones);
            }
        }

        for (int key = 0; key < keys && Gradients != AttentionGradients.Queries; key += Strip)
        {
            // Rows of the tile before this one see none of the strip's keys.
            int skipped = Math.Max(0, ((first + key) * work.Group) - work.RowBegin - row);
            int depth = rows - skipped;
            if (depth <= 0)
            {
                return;
            }

            int count = Math.Min(Strip, keys - key);
            nint rowsAt = (nint)(row + skipped) * work.Width;
            nint at = ((nint)skipped * Block) + key;
            AttentionTile.Multiply<L, TVector>(count, work.Width, depth, work.Scores + at, 1, Block, work.DOutputs + rowsAt, work.Width, work.DValues + (key * work.Width), work.Width, work.Ones);
            AttentionTile.Multiply<L, TVector>(count, work.Width, depth, work.DScores + at, 1, Block, work.Queries + rowsAt, work.Width, work.DKeys + (key * work.Width), work.Width, work.Ones);
        }
    }

    // Probabilities p = 2^(score - log-sum) of a strip and p (dp - delta), both 0 where masked.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Probabilities<L, TVector>(in Workspace work, int row, int rows, int tileRow, int first, int seen)
        where L : struct, ILanes<TVector>
        where TVector : unmanaged
    {
        int cols = (seen + L.Count - 1) / L.Count * L.Count;
        float* scores = work.Scores + (tileRow * Block);
        float* dScores = work.DScores + (tileRow * Block);
        AttentionTile.Multiply<L, TVector>(rows, cols, work.HeadDim, work.Queries + ((nint)row * work.Width), work.Width, 1, work.KeysTransposed, Block, scores, Block, null);
        AttentionTile.Multiply<L, TVector>(rows, cols, work.HeadDim, work.DOutputs + ((nint)row * work.Width), work.Width, 1, work.ValuesTransposed, Block, dScores, Block, null);
        (int query, int member) = Math.DivRem(work.RowBegin + row, work.Group);
        for (int r = 0; r < rows; r++)
        {
            int visible = Math.Min(seen, query + 1 - first);
            TVector logSum = L.Broadcast(work.LogSums[row + r]);
            TVector delta = L.Broadcast(work.Deltas[row + r]);
            if (visible == Block)
            {
                for (int i = 0; i < Block; i += L.Count)
                {
                    TVector p = VectorMath.Exp2<L, TVector>(L.Subtract(L.Load(scores + i), logSum));
                    L.Store(scores + i, p);
                    L.Store(dScores + i, L.Multiply(p, L.Subtract(L.Load(dScores + i), delta)));
                }
            }
            else
            {
                PartOfBlock<L, TVector>(scores, dScores, logSum, delta, visible);
            }

            scores += Block;
            dScores += Block;
            if (++member == work.Group)
            {
                (query, member) = (query + 1, 0);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PartOfBlock<L, TVector>(float* scores, float* dScores, TVector logSum, TVector delta, int visible)
        where L : struct, ILanes<TVector>
        where TVector : unmanaged
    {
        int i = 0;
        for (; i < visible; i += L.Count)
        {
            TVector p = VectorMath.Exp2<L, TVector>(L.Subtract(L.Load(scores + i), logSum));
            TVector ds = L.Multiply(p, L.Subtract(L.Load(dScores + i), delta));
            if (visible - i < L.Count)
            {
                p = L.KeepFirst(p, visible - i, L.Zero);
                ds = L.KeepFirst(ds, visible - i, L.Zero);
            }

            L.Store(scores + i, p);
            L.Store(dScores + i, ds);
        }

        for (; i < Block; i += L.Count)
        {
            L.Store(scores + i, L.Zero);
            L.Store(dScores + i, L.Zero);
        }
    }

    // The packed queries carry scale / ln 2, so their sum needs only the factor ln 2.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void WriteKeyGradients<L, TVector>(AttentionTask task, AttentionSegment segment, in Workspace work, int first, int keys)
        where L : struct, ILanes<TVector>
        where TVector : unmanaged
    {
        int d = Heads.HeadDim;
        for (int key = 0; key < keys; key++)
        {
            long row = segment.KeyBegin + first + key;
            AttentionPacking.Unpack<L, TVector>(work.DKeys + (key * work.Width), Ln2, d, Dk + (row * DkStride) + (task.KeyValueHead * d));
            AttentionPacking.Unpack<L, TVector>(work.DValues + (key * work.Width), 1f, d, Dv + (row * DvStride) + (task.KeyValueHead * d));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void WriteQueryGradients<L, TVector>(AttentionTask task, AttentionSegment segment, in Workspace work)
        where L : struct, ILanes<TVector>
        where TVector : unmanaged
    {
        int d = Heads.HeadDim;
        for (int row = 0; row < work.Rows; row++)
        {
            (int query, int member) = Math.DivRem(task.RowBegin + row, work.Group);
            float* dq = Dq + ((long)(segment.QueryBegin + query) * DqStride) + (((task.KeyValueHead * work.Group) + member) * d);
            AttentionPacking.Unpack<L, TVector>(work.DQueries + ((nint)row * work.Width), Heads.Scale, d, dq);
        }
    }

    /// <summary>The memory of one task and the numbers that place its rows among the keys.</summary>
    private readonly struct Workspace
    {
        public readonly float* KeysTransposed; // [head_dim, block]
        public readonly float* ValuesTransposed; // [head_dim, block]
        public readonly float* Keys; // [block, width]
        public readonly float* DKeys; // [block, width]
        public readonly float* DValues; // [block, width], behind DKeys
        public readonly float* Scores; // [block rows, block]
        public readonly float* DScores; // [block rows, block]
        public readonly float* Ones; // [strip]
        public readonly float* Queries; // [rows, width], times scale / ln 2
        public readonly float* DOutputs; // [rows, width]
        public readonly float* DQueries; // [rows, width]
        public readonly float* Deltas; // [rows]
        public readonly float* LogSums; // [rows], of base 2
        public readonly int Width;
        public readonly int Rows;

        public Workspace(float* scratch, int width, int rows)
        {
            Width = width;
            Rows = rows;
            KeysTransposed = scratch;
            ValuesTransposed = KeysTransposed + (Block * width);
            Keys = ValuesTransposed + (Block * width);
            DKeys = Keys + (Block * width);
            DValues = DKeys + (Block * width);
            Scores = DValues + (Block * width);
            DScores = Scores + (Block * Block);
            Ones = DScores + (Block * Block);
            Queries = Ones + 16;
            DOutputs = Queries + ((nint)rows * width);
            DQueries = DOutputs + ((nint)rows * width);
            Deltas = DQueries + ((nint)rows * width);
            LogSums = Deltas + rows;
            new Span<float>(Ones, Strip).Fill(1f);
        }

        public int HeadDim { get; init; }

        public int Group { get; init; }

        public int RowBegin { get; init; }

        /// <summary>Number of keys that a row of the task sees.</summary>
        public int Visible(int row) => 1 + ((RowBegin + row) / Group);
    }
}
