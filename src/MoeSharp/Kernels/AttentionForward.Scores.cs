using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels;

// Scores, masks and exponentials of a strip of rows.
internal unsafe partial struct AttentionForward
{
    // Scores of a strip against the block, turned in place into 2^(score - maximum); masked ones become 0. The factor by which
    // the older part of each row must shrink for the new maximum is left in work.Scales, the keys each row sees in work.Begins and work.Ends.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Scores<L, TVector>(in Workspace work, in AttentionRowState state, in KeyBlock block, int row, int rows, int first, nint ahead)
        where L : struct, ILanes<TVector>
        where TVector : unmanaged
    {
        int* ends = work.Ends;
        SetVisible(work, row, rows, first);
        int seen = ends[rows - 1];
        int cols = (seen + L.Count - 1) / L.Count * L.Count;
        float* scores = work.Scores;
        float* queries = work.Queries + ((nint)row * work.QueryWidth);
        if (block.HalvedKeys != null)
        {
            HalvedScores<L, TVector>(work, block, queries, rows, cols, ahead);
        }
        else
        {
            AttentionTile.Multiply<L, TVector>(rows, cols, work.HeadDim, queries, work.QueryWidth, 1, block.KeysTransposed, Block, scores, Block, null, ahead);
        }

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

    // Pieces stay in the first cache between being widened and being multiplied. A sum that goes on in the next piece is still one chain.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void HalvedScores<L, TVector>(in Workspace work, in KeyBlock block, float* queries, int rows, int cols, nint ahead)
        where L : struct, ILanes<TVector>
        where TVector : unmanaged
    {
        const int Piece = 32; // dimensions: 8 KiB
        for (int d = 0; d < work.HeadDim; d += Piece)
        {
            int depth = Math.Min(Piece, work.HeadDim - d);
            AttentionPacking.Widen(block.HalvedKeys + (d * Block), (nint)depth * Block, work.KeysTransposed, ahead);
            AttentionTile.Multiply<L, TVector>(rows, cols, depth, queries + d, work.QueryWidth, 1, work.KeysTransposed, Block, work.Scores, Block, d == 0 ? null : work.Ones);
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
}
