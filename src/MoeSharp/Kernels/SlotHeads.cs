using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels;

/// <summary>Where the heads of a slot's row lie in its token's row.</summary>
/// <remarks>Piece p of slot j of a token lies at column p * PieceStep + (j / Share) * Width; slots that share a place are summed there.</remarks>
/// <param name="SlotsPerToken">Slots of a token.</param>
/// <param name="Share">Neighbouring slots that have one place.</param>
/// <param name="Pieces">Pieces of a slot's row.</param>
/// <param name="Width">Floats of a piece.</param>
public readonly record struct SlotColumns(int SlotsPerToken, int Share, int Pieces, int Width)
{
    /// <summary>Floats of a token's row from one piece of a slot to the next.</summary>
    public int PieceStep => SlotsPerToken / Share * Width;

    /// <summary>Floats of a token's row.</summary>
    public int TokenWidth => Pieces * PieceStep;

    /// <summary>Floats of a slot's row.</summary>
    public int SlotWidth => Pieces * Width;
}

/// <summary>Moves heads between the rows of experts and the rows of tokens, multiplied by the slots' weights; each direction is the other one's gradient.</summary>
/// <remarks>Legend: t token, j slot of a token, r row of an expert, p piece, h column. A token's sums run in slot order, so they do not depend on where the rows lie.</remarks>
public static unsafe class SlotHeads
{
    /// <summary>tokens[t, place of (j, p)] = sum over the slots j of that place of weight * rows[slotRows[t, j], p].</summary>
    /// <param name="workers">Worker pool.</param>
    /// <param name="columns">Where the pieces lie.</param>
    /// <param name="numTokens">Tokens.</param>
    /// <param name="slotRows">Row of each slot; negative where it has none.</param>
    /// <param name="weights">Weight of each slot; empty for 1.</param>
    /// <param name="rows">Rows of the experts.</param>
    /// <param name="tokens">= rows of the tokens; 0 where no slot has a row.</param>
    /// <exception cref="ShapeException">A span is too short, or a row lies outside.</exception>
    public static void Collect(WorkerPool workers, SlotColumns columns, int numTokens, ReadOnlySpan<int> slotRows, ReadOnlySpan<float> weights, ReadOnlySpan<float> rows, Span<float> tokens)
    {
        Check("SlotHeads.Collect", columns, numTokens, slotRows, weights.Length, rows.Length, tokens.Length);
        fixed (int* slotRow = slotRows)
        fixed (float* ws = weights, rs = rows, ts = tokens)
        {
            LaneRows.For(workers, numTokens, columns.TokenWidth, new CollectJob { Columns = columns, SlotRows = slotRow, Weights = weights.IsEmpty ? null : ws, Rows = rs, Tokens = ts });
        }
    }

    /// <summary>rows[slotRows[t, j], p] = weight * tokens[t, place of (j, p)].</summary>
    /// <param name="workers">Worker pool.</param>
    /// <param name="columns">Where the pieces lie.</param>
    /// <param name="numTokens">Tokens.</param>
    /// <param name="slotRows">Row of each slot; negative where it has none.</param>
    /// <param name="weights">Weight of each slot; empty for 1.</param>
    /// <param name="tokens">Rows of the tokens.</param>
    /// <param name="rows">= rows of the experts.</param>
    /// <exception cref="ShapeException">A span is too short, or a row lies outside.</exception>
    public static void Spread(WorkerPool workers, SlotColumns columns, int numTokens, ReadOnlySpan<int> slotRows, ReadOnlySpan<float> weights, ReadOnlySpan<float> tokens, Span<float> rows)
    {
        Check("SlotHeads.Spread", columns, numTokens, slotRows, weights.Length, rows.Length, tokens.Length);
        fixed (int* slotRow = slotRows)
        fixed (float* ws = weights, rs = rows, ts = tokens)
        {
            // A slot has a row of its own, so that tokens can go to different workers.
            LaneRows.For(workers, numTokens, columns.TokenWidth, new SpreadJob { Columns = columns, SlotRows = slotRow, Weights = weights.IsEmpty ? null : ws, Rows = rs, Tokens = ts });
        }
    }

    /// <summary>products[t, j] = sum over p of tokens[t, place of (j, p)] . rows[slotRows[t, j], p]: the gradient of a slot's weight.</summary>
    /// <param name="workers">Worker pool.</param>
    /// <param name="columns">Where the pieces lie.</param>
    /// <param name="numTokens">Tokens.</param>
    /// <param name="slotRows">Row of each slot; negative where it has none.</param>
    /// <param name="tokens">Rows of the tokens.</param>
    /// <param name="rows">Rows of the experts.</param>
    /// <param name="products">= or += one number per slot; 0 where it has no row.</param>
    /// <param name="accumulate">Whether to add.</param>
    /// <exception cref="ShapeException">A span is too short, or a row lies outside.</exception>
    public static void Dot(WorkerPool workers, SlotColumns columns, int numTokens, ReadOnlySpan<int> slotRows, ReadOnlySpan<float> tokens, ReadOnlySpan<float> rows, Span<float> products, bool accumulate)
    {
        Check("SlotHeads.Dot", columns, numTokens, slotRows, products.Length, rows.Length, tokens.Length);
        fixed (int* slotRow = slotRows)
        fixed (float* ps = products, rs = rows, ts = tokens)
        {
            LaneRows.For(workers, numTokens, columns.TokenWidth, new DotJob { Columns = columns, SlotRows = slotRow, Products = ps, Rows = rs, Tokens = ts, Accumulate = accumulate });
        }
    }

    private static void Check(string operation, SlotColumns columns, int numTokens, ReadOnlySpan<int> slotRows, int numWeights, int rows, int tokens)
    {
        long slots = (long)numTokens * columns.SlotsPerToken;
        Require.Length(slotRows.Length, slots, operation, nameof(slotRows));
        Require.Length(numWeights == 0 ? int.MaxValue : numWeights, slots, operation, "weights");
        Require.Length(tokens, (long)numTokens * columns.TokenWidth, operation, nameof(tokens));
        Require.Indices(slotRows[..(int)slots], int.MinValue, rows / Math.Max(columns.SlotWidth, 1), operation, nameof(slotRows));
    }

    private struct CollectJob : ILaneRows
    {
        public SlotColumns Columns;
        public int* SlotRows;
        public float* Weights;
        public float* Rows;
        public float* Tokens;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            for (int t = begin; t < end; t++)
            {
                for (int place = 0; place < Columns.SlotsPerToken / Columns.Share; place++)
                {
                    long slot = ((long)t * Columns.SlotsPerToken) + (place * Columns.Share);
                    for (int p = 0; p < Columns.Pieces; p++)
                    {
                        float* target = Tokens + ((long)t * Columns.TokenWidth) + (p * Columns.PieceStep) + (place * Columns.Width);
                        float* first = Rows + (p * Columns.Width);
                        LaneLoop.Map<L, V, CollectMap>(0, Columns.Width, new CollectMap { Job = this, Slot = slot, Rows = first, Y = target });
                    }
                }
            }
        }
    }

    // One piece of one place: the sum over the slots that share it.
    private struct CollectMap : ILaneMap
    {
        public CollectJob Job;
        public long Slot;
        public float* Rows;
        public float* Y;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public readonly void At<W, L, V>(W at)
            where W : struct, ILaneWindow<V>
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            V sum = L.Zero;
            for (long slot = Slot; slot < Slot + Job.Columns.Share; slot++)
            {
                if (Job.SlotRows[slot] >= 0)
                {
                    V value = at.Load(Rows + ((long)Job.SlotRows[slot] * Job.Columns.SlotWidth));
                    sum = Job.Weights == null ? L.Add(sum, value) : L.MultiplyAdd(L.Broadcast(Job.Weights[slot]), value, sum);
                }
            }

            at.Store(Y, sum);
        }
    }

    private struct SpreadJob : ILaneRows
    {
        public SlotColumns Columns;
        public int* SlotRows;
        public float* Weights;
        public float* Rows;
        public float* Tokens;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            for (int t = begin; t < end; t++)
            {
                for (int j = 0; j < Columns.SlotsPerToken; j++)
                {
                    long slot = ((long)t * Columns.SlotsPerToken) + j;
                    if (SlotRows[slot] < 0)
                    {
                        continue;
                    }

                    float weight = Weights == null ? 1f : Weights[slot];
                    for (int p = 0; p < Columns.Pieces; p++)
                    {
                        float* source = Tokens + ((long)t * Columns.TokenWidth) + (p * Columns.PieceStep) + (j / Columns.Share * Columns.Width);
                        float* row = Rows + ((long)SlotRows[slot] * Columns.SlotWidth) + (p * Columns.Width);
                        LaneLoop.Map<L, V, LaneLoop.Scaled>(0, Columns.Width, new LaneLoop.Scaled { X = source, Factor = weight, Y = row });
                    }
                }
            }
        }
    }

    private struct DotJob : ILaneRows
    {
        public SlotColumns Columns;
        public int* SlotRows;
        public float* Products;
        public float* Rows;
        public float* Tokens;
        public bool Accumulate;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            for (int t = begin; t < end; t++)
            {
                for (int j = 0; j < Columns.SlotsPerToken; j++)
                {
                    long slot = ((long)t * Columns.SlotsPerToken) + j;
                    V sum = L.Zero;
                    for (int p = 0; p < Columns.Pieces && SlotRows[slot] >= 0; p++)
                    {
                        float* source = Tokens + ((long)t * Columns.TokenWidth) + (p * Columns.PieceStep) + (j / Columns.Share * Columns.Width);
                        float* row = Rows + ((long)SlotRows[slot] * Columns.SlotWidth) + (p * Columns.Width);
                        sum = LaneLoop.Sum<L, V, LaneLoop.Products>(Columns.Width, new LaneLoop.Products { X = source, Y = row }, sum);
                    }

                    Products[slot] = (Accumulate ? Products[slot] : 0f) + L.Sum(sum);
                }
            }
        }
    }
}
