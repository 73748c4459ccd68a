using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels.Quantized;

/// <summary>The inner loop of products with bytes for formats with a scale per half of a unit: up to four activation rows times one strip.</summary>
/// <remarks>
/// Whole scales stay in the integer sums, which are exact (at most 2 * 128 * 16 * 32 * 127 = 16.6 million), so a unit costs one float step as
/// elsewhere. Legend as in <see cref="UnitTile{C, L, V, F}"/>; the second digit of i is the half.
/// </remarks>
internal static unsafe class HalfTile<C, L, V, F>
    where C : struct, IHalfCodes
    where L : struct, IUnitLanes<V, F>
    where V : unmanaged
    where F : unmanaged
{
    /// <summary>y[t, r] = activation row t times row r of the strip.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Compute<T>(in UnitOperands operands, float* y, nint ldy)
        where T : struct, ITileTokens
    {
        byte* scales = operands.Scales0, codes = operands.Codes0 + (4 * operands.Row);
        byte* x0 = operands.X0, x1 = operands.X1, x2 = operands.X2, x3 = operands.X3;
        int row = operands.Row;
        bool asks = operands.AsksAhead;
        nint ahead = UnitAhead.Far, bytesPerUnit = operands.StripBytes / operands.Units;
        nint units = operands.Units, step = operands.UnitBytes, at = 0;
        F f0 = L.ZeroFloats, f1 = f0, f2 = f0, f3 = f0;
        for (nint unit = 0; unit < units; unit++, at += step, codes += C.UnitBytes)
        {
            if (asks)
            {
                UnitAhead.Ask(C.UnitBytes, false, scales, scales, codes, codes, ahead, operands.StripBytes);
                ahead += bytesPerUnit;
            }

            byte* super = scales + ((unit >> 3) * HalfScales.Bytes(C.HasMinimum));
            byte* whole = super + HalfScales.WholeOffset(C.HasMinimum) + ((unit & 7) * HalfScales.WholeBytes(C.HasMinimum));
            V pairs = L.LoadPairs(whole + row, whole + StripLayout.Rows + row);
            V first = L.FirstOfPairs(pairs), second = L.SecondOfPairs(pairs);
            V i00 = L.Zero, i01 = i00, i10 = i00, i11 = i00, i20 = i00, i21 = i00, i30 = i00, i31 = i00;
            for (int g = 0; g < 4; g++)
            {
                C.Pair<L, V, F>(codes, g, out V c0, out V c1);
                nint group = at + ByteRows.Bytes + (4 * g);
                i00 = L.AddHalf(C.Size, i00, c0, L.Broadcast(x0 + group), first);
                i01 = L.AddHalf(C.Size, i01, c1, L.Broadcast(x0 + group + 16), second);
                if (T.Count > 1)
                {
                    i10 = L.AddHalf(C.Size, i10, c0, L.Broadcast(x1 + group), first);
                    i11 = L.AddHalf(C.Size, i11, c1, L.Broadcast(x1 + group + 16), second);
                }

                if (T.Count > 2)
                {
                    i20 = L.AddHalf(C.Size, i20, c0, L.Broadcast(x2 + group), first);
                    i21 = L.AddHalf(C.Size, i21, c1, L.Broadcast(x2 + group + 16), second);
                }

                if (T.Count > 3)
                {
                    i30 = L.AddHalf(C.Size, i30, c0, L.Broadcast(x3 + group), first);
                    i31 = L.AddHalf(C.Size, i31, c1, L.Broadcast(x3 + group + 16), second);
                }
            }

            F scale = L.LoadHalves(super + (2 * row));
            F minimum = C.HasMinimum ? L.LoadHalves(super + (2 * StripLayout.Rows) + (2 * row)) : scale;
            V minima = C.HasMinimum ? L.LoadPairs(whole + (2 * StripLayout.Rows) + row, whole + (3 * StripLayout.Rows) + row) : pairs;
            f0 = Sum(x0 + at, L.FinishHalves(C.Size, i00, i01, first, second), pairs, scale, minima, minimum, f0);
            f1 = T.Count > 1 ? Sum(x1 + at, L.FinishHalves(C.Size, i10, i11, first, second), pairs, scale, minima, minimum, f1) : f1;
            f2 = T.Count > 2 ? Sum(x2 + at, L.FinishHalves(C.Size, i20, i21, first, second), pairs, scale, minima, minimum, f2) : f2;
            f3 = T.Count > 3 ? Sum(x3 + at, L.FinishHalves(C.Size, i30, i31, first, second), pairs, scale, minima, minimum, f3) : f3;
        }

        L.Store(y, f0);
        if (T.Count > 1)
        {
            L.Store(y + ldy, f1);
        }

        if (T.Count > 2)
        {
            L.Store(y + (2 * ldy), f2);
        }

        if (T.Count > 3)
        {
            L.Store(y + (3 * ldy), f3);
        }
    }

    // f += (d * activation scale) * (s-weighted sum of (code - zero) x) - (dmin * activation scale) * (m-weighted sum of x)
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static F Sum(byte* x, V integers, V pairs, F weightScale, V minima, F minimum, F sum)
    {
        V halfSums = L.Broadcast(x + ByteRows.HalfSums);
        if (C.ZeroBits != 0)
        {
            integers = L.Subtract(integers, L.PairProducts(L.ShiftLeft(pairs, C.ZeroBits), halfSums));
        }

        F scale = L.BroadcastFloat((float*)x);
        sum = L.MultiplyAdd(L.Multiply(weightScale, scale), L.ToFloat(integers), sum);
        return C.HasMinimum
            ? L.MultiplyAdd(L.Multiply(minimum, scale), L.ToFloat(L.Subtract(L.Zero, L.PairProducts(minima, halfSums))), sum)
            : sum;
    }
}

/// <summary>Where the scales of 256 columns lie; see <see cref="IHalfCodes"/>.</summary>
internal static class HalfScales
{
    /// <summary>Units of 256 columns.</summary>
    public const int Units = 8;

    /// <summary>Bytes of the scales of 256 columns, sixteen rows.</summary>
    public static int Bytes(bool hasMinimum) => WholeOffset(hasMinimum) + (Units * WholeBytes(hasMinimum));

    /// <summary>Where the whole scales start.</summary>
    public static int WholeOffset(bool hasMinimum) => (hasMinimum ? 4 : 2) * StripLayout.Rows;

    /// <summary>Bytes of a unit's whole scales.</summary>
    public static int WholeBytes(bool hasMinimum) => (hasMinimum ? 4 : 2) * StripLayout.Rows;
}
