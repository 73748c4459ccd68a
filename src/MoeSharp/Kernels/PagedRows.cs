using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels;

/// <summary>Writes new keys and values into the pages of their sequences.</summary>
public static unsafe class PagedRows
{
    // A worker's share should be long against the start of a job (some microseconds).
    private const int FloatsPerChunk = 32 * 1024;
    private const int LinesPerChunk = 512;
    private const int FloatsPerLine = 16;

    /// <summary>Writes the rows of every segment behind the tokens that its sequence already has: query row i goes to token KeyCount - QueryCount + i.</summary>
    /// <param name="workers">Worker pool.</param>
    /// <param name="heads">The layer's place in a page.</param>
    /// <param name="segments">New rows.</param>
    /// <param name="tables">Pages of each segment; they reach to its last key.</param>
    /// <param name="k">Keys, row r head h at r * kStride + h * HeadDim.</param>
    /// <param name="kStride">Floats between key rows.</param>
    /// <param name="v">Values; not read when the layer keeps a latent.</param>
    /// <param name="vStride">Floats between value rows.</param>
    /// <exception cref="ShapeException">A segment leaves a span or its pages.</exception>
    public static void Store(WorkerPool workers, PagedHeads heads, ReadOnlySpan<AttentionSegment> segments, PageTable[] tables, ReadOnlySpan<float> k, int kStride, ReadOnlySpan<float> v, int vStride)
    {
        const string Operation = "PagedRows.Store";
        long rows = 0;
        int pieces = 0;
        CheckPages(segments, tables, Operation);
        foreach (AttentionSegment segment in segments)
        {
            rows = Math.Max(rows, (long)segment.QueryBegin + segment.QueryCount);
            pieces = checked(pieces + (Pieces(segment) * heads.NumHeads));
        }

        Require.Length(k.Length, rows == 0 ? 0 : ((rows - 1) * kStride) + ((long)heads.NumHeads * heads.HeadDim), Operation, nameof(k));
        if (!heads.IsLatent)
        {
            Require.Length(v.Length, rows == 0 ? 0 : ((rows - 1) * vStride) + ((long)heads.NumHeads * heads.ValueDim), Operation, nameof(v));
        }

        fixed (AttentionSegment* segmentsStart = segments)
        fixed (float* ks = k, vs = v)
        {
            Job job = new() { Heads = heads, Segments = segmentsStart, NumSegments = segments.Length, Tables = tables, K = ks, KStride = kStride, V = vs, VStride = vStride };
            workers.ForRows(pieces, Math.Max(1, LinesPerChunk / Lines(heads, (int)Math.Min(PagedHeads.PageTokens, rows))), ref job);
        }
    }

    /// <summary>Rounds keys or values where they lie to what a cache of a format keeps of them, so that a pass without a cache gives the bits of one with it.</summary>
    /// <param name="workers">Worker pool.</param>
    /// <param name="rows">Number of rows.</param>
    /// <param name="width">Columns to round.</param>
    /// <param name="x">Row r at r * stride; modified.</param>
    /// <param name="stride">Floats between rows.</param>
    public static void RoundInPlace(WorkerPool workers, int rows, int width, Span<float> x, int stride)
    {
        Require.Length(x.Length, rows == 0 ? 0 : ((rows - 1L) * stride) + width, "PagedRows.RoundInPlace", nameof(x));
        fixed (float* start = x)
        {
            RoundJob job = new() { X = start, Width = width, Stride = stride };
            workers.ForRows(rows, Math.Max(1, FloatsPerChunk / Math.Max(1, width)), ref job);
        }
    }

    internal static void CheckPages(ReadOnlySpan<AttentionSegment> segments, PageTable[] tables, string operation)
    {
        if (tables.Length < segments.Length)
        {
            ShapeException.Throw(operation, nameof(tables), $"[{segments.Length}]", $"[{tables.Length}]");
        }

        for (int s = 0; s < segments.Length; s++)
        {
            AttentionSegment segment = segments[s];
            if (segment.KeyBegin != 0 || segment.QueryCount < 0 || segment.QueryBegin < 0 || segment.KeyCount < segment.QueryCount || segment.KeyCount > (long)tables[s].Count * PagedHeads.PageTokens)
            {
                ShapeException.Throw(operation, nameof(segments), $"[KeyBegin 0, KeyCount at least QueryCount and at most {tables[s].Count} pages of {PagedHeads.PageTokens}]", segment.ToString());
            }
        }
    }

    // Cache lines that some new rows of one head touch: every column of turned keys has a line of its own.
    private static int Lines(PagedHeads heads, int rows)
    {
        int values = rows * heads.ValueStride / FloatsPerLine;
        return Math.Max(1, heads.IsLatent ? values : values + (heads.HeadDim * ((rows + FloatsPerLine - 1) / FloatsPerLine)));
    }

    // Pages that a segment's new rows touch.
    private static int Pieces(in AttentionSegment segment) => segment.QueryCount == 0
        ? 0
        : ((segment.KeyCount - 1) / PagedHeads.PageTokens) - ((segment.KeyCount - segment.QueryCount) / PagedHeads.PageTokens) + 1;

    private struct RoundJob : IRowJob
    {
        public float* X;
        public int Width;
        public int Stride;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run(int begin, int end)
        {
            for (nint row = begin; row < end; row++)
            {
                float* x = X + (row * Stride);
                for (nint c = 0; c < Width; c++)
                {
                    x[c] = NumberFormats.FromBFloat16(NumberFormats.ToBFloat16(x[c]));
                }
            }
        }
    }

    // One piece: the new rows of one head in one page of one segment.
    private struct Job : IRowJob
    {
        public PagedHeads Heads;
        public AttentionSegment* Segments;
        public int NumSegments;
        public PageTable[] Tables;
        public float* K;
        public int KStride;
        public float* V;
        public int VStride;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run(int begin, int end)
        {
            int before = 0;
            for (int s = 0; s < NumSegments && before < end; s++)
            {
                int pieces = Pieces(Segments[s]) * Heads.NumHeads;
                for (int piece = Math.Max(begin, before); piece < Math.Min(end, before + pieces); piece++)
                {
                    (int page, int head) = Math.DivRem(piece - before, Heads.NumHeads);
                    StorePiece(Segments[s], Tables[s], page, head);
                }

                before += pieces;
            }
        }

        private readonly void StorePiece(in AttentionSegment segment, PageTable table, int page, int head)
        {
            int old = segment.KeyCount - segment.QueryCount;
            int index = (old / PagedHeads.PageTokens) + page;
            int first = Math.Max(old, index * PagedHeads.PageTokens);
            int count = Math.Min(segment.KeyCount, (index + 1) * PagedHeads.PageTokens) - first;
            int place = first - (index * PagedHeads.PageTokens);
            long row = segment.QueryBegin + first - old;
            float* to = table.Pointer[index];
            float* k = K + (row * KStride) + ((long)head * Heads.HeadDim);
            float* v = V + (row * VStride) + ((long)head * Heads.ValueDim);
            float* keys = to + Heads.Offset + (head * Heads.KeyHeadStep);
            if (Heads.Format == CacheFormat.BFloat16)
            {
                StoreHalves(k, v, count, (ushort*)keys, (ushort*)(to + Heads.Values + (head * Heads.ValueHeadStep)), place);
                return;
            }

            if (Heads.IsLatent)
            {
                CopyRows(k, KStride, Heads.HeadDim, count, keys + ((long)place * Heads.ValueStride), Heads.ValueStride);
                return;
            }

            AttentionPacking.TransposedColumns(k, KStride, count, Heads.HeadDim, keys + place);
            CopyRows(v, VStride, Heads.ValueDim, count, to + Heads.Values + (head * Heads.ValueHeadStep) + ((long)place * Heads.ValueStride), Heads.ValueStride);
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private readonly void StoreHalves(float* k, float* v, int count, ushort* keys, ushort* values, int place)
        {
            for (nint row = 0; row < count; row++)
            {
                nint to = (place + row) * Heads.ValueStride;
                if (Heads.IsLatent)
                {
                    Round(k + (row * KStride), Heads.HeadDim, keys + to, 1);
                }
                else
                {
                    Round(k + (row * KStride), Heads.HeadDim, keys + place + row, PagedHeads.PageTokens);
                    Round(v + (row * VStride), Heads.ValueDim, values + to, 1);
                }
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static void Round(float* from, int width, ushort* to, nint step)
        {
            for (nint c = 0; c < width; c++)
            {
                to[c * step] = NumberFormats.ToBFloat16(from[c]);
            }
        }

        private static void CopyRows(float* from, int fromStride, int width, int count, float* to, int toStride)
        {
            for (nint row = 0; row < count; row++)
            {
                new ReadOnlySpan<float>(from + (row * fromStride), width).CopyTo(new Span<float>(to + (row * toStride), width));
            }
        }
    }
}
