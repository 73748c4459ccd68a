using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels;

/// <summary>The running softmax of some rows: largest score so far, sum of exponentials and weighted sum of values relative to it.</summary>
/// <remarks>
/// Keys are cut into partitions of <see cref="AttentionPacking.PartitionBlocks"/> blocks, counted from the first key of the sequence. Each has a
/// state of its own that starts empty, and the states are merged in rising order: whether one worker goes through all of them or several share
/// them out, the arithmetic is the same.
/// </remarks>
internal readonly unsafe struct AttentionRowState
{
    public readonly float* Outputs; // [rows, width]
    public readonly float* Sums; // [rows, lanes]
    public readonly float* Maxima; // [rows]

    public AttentionRowState(float* memory, int width, int lanes, int rows)
    {
        Outputs = memory;
        Sums = Outputs + ((nint)rows * width);
        Maxima = Sums + ((nint)rows * lanes);
    }

    /// <summary>Floats that a state takes in the widest vectors, in whole cache lines.</summary>
    public static long Floats(int valueDim, long rows) => rows * (((valueDim + 15L) / 16 * 16) + 16 + 1) / 16 * 16 + 16;

    /// <summary>Makes the state that of no keys at all.</summary>
    public void Clear(int width, int lanes, int rows)
    {
        new Span<float>(Outputs, rows * width).Clear();
        new Span<float>(Sums, rows * lanes).Clear();
        new Span<float>(Maxima, rows).Fill(float.NegativeInfinity);
    }

    /// <summary>this = this and then <paramref name="next"/>. A row that saw no key in one of them keeps the bits of the other.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Merge<L, TVector>(in AttentionRowState next, int width, int rows)
        where L : struct, ILanes<TVector>
        where TVector : unmanaged
    {
        for (nint row = 0; row < rows; row++)
        {
            float old = Maxima[row];
            float other = next.Maxima[row];
            float max = other > old ? other : old;
            float shift = SoftmaxRow.Shift(max);
            TVector keep = VectorMath.Exp2<L, TVector>(L.Broadcast(old - shift));
            TVector add = VectorMath.Exp2<L, TVector>(L.Broadcast(other - shift));
            Maxima[row] = max;
            Combine<L, TVector>(Sums + (row * L.Count), next.Sums + (row * L.Count), keep, add);
            for (nint c = row * width; c < (row + 1) * width; c += L.Count)
            {
                Combine<L, TVector>(Outputs + c, next.Outputs + c, keep, add);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Combine<L, TVector>(float* into, float* from, TVector keep, TVector add)
        where L : struct, ILanes<TVector>
        where TVector : unmanaged => L.Store(into, L.MultiplyAdd(L.Load(from), add, L.Multiply(L.Load(into), keep)));
}
