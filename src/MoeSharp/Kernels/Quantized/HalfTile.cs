using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels.Quantized;

/// <summary>The inner loop of products with bytes for formats with a scale per half of a unit: up to four activation rows times one strip.</summary>
/// <remarks>
/// Whole scales stay in the integer sums, which are exact (at most 2 * 128 * 16 * 32 * 127 = 16.6 million), so a unit costs one float step as
/// elsewhere. Legend as in <see cref="UnitTile{C, L, V, F}"/>. What rounding the activations left over is a row of its own beside theirs.
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
        nint ahead = (nint)(operands.Codes0 - scales) + Ahead.Far, stripBytes = operands.StripBytes, bytesPerUnit = stripBytes / operands.Units;
        nint units = operands.Units, step = operands.UnitBytes, at = 0;
        F f0 = L.ZeroFloats, f1 = f0, f2 = f0, f3 = f0;
        F scale = f0, minimum = f0;
        byte* super = scales, whole = scales;
        for (nint unit = 0; unit < units; unit++, at += step, codes += C.UnitBytes, whole += HalfScales.WholeBytes(C.HasMinimum))
        {
            if ((unit & (HalfScales.Units - 1)) == 0)
            {
                scale = L.LoadHalves(super + (2 * row));
                minimum = C.HasMinimum ? L.LoadHalves(super + (2 * StripLayout.Rows) + (2 * row)) : scale;
                whole = super + HalfScales.WholeOffset(C.HasMinimum) + (2 * row);
                super += HalfScales.Bytes(C.HasMinimum);
            }

            if (asks)
            {
                byte* far = scales + ahead + (ahead >= stripBytes ? operands.Jump : 0);
                Ahead.AskPart(C.UnitBytes, 0, far, codes + Ahead.Near);
                Ahead.AskPart(C.UnitBytes, 1, far, codes + Ahead.Near);
                Ahead.AskPart(C.UnitBytes, 2, far, codes + Ahead.Near);
                Ahead.AskPart(C.UnitBytes, 3, far, codes + Ahead.Near);
                Ahead.AskRest(C.UnitBytes, far);
                ahead += bytesPerUnit;
            }

            V pairs = L.LoadPairs(whole);
            V first = L.FirstOfPairs(pairs), second = L.SecondOfPairs(pairs);
            nint group = at + ByteRows.Bytes;
            C.Half<L, V, F>(codes, 0, out V c0, out V c1, out V c2, out V c3);
            V i0 = L.HalfProducts(C.Size, c0, c1, c2, c3, x0 + group, first);
            V i1 = T.Count > 1 ? L.HalfProducts(C.Size, c0, c1, c2, c3, x1 + group, first) : i0;
            V i2 = T.Count > 2 ? L.HalfProducts(C.Size, c0, c1, c2, c3, x2 + group, first) : i0;
            V i3 = T.Count > 3 ? L.HalfProducts(C.Size, c0, c1, c2, c3, x3 + group, first) : i0;
            group += StripLayout.UnitColumns / 2;
            C.Half<L, V, F>(codes, 1, out c0, out c1, out c2, out c3);
            i0 = L.Sum(i0, L.HalfProducts(C.Size, c0, c1, c2, c3, x0 + group, second));
            i1 = T.Count > 1 ? L.Sum(i1, L.HalfProducts(C.Size, c0, c1, c2, c3, x1 + group, second)) : i0;
            i2 = T.Count > 2 ? L.Sum(i2, L.HalfProducts(C.Size, c0, c1, c2, c3, x2 + group, second)) : i0;
            i3 = T.Count > 3 ? L.Sum(i3, L.HalfProducts(C.Size, c0, c1, c2, c3, x3 + group, second)) : i0;
            V minima = C.HasMinimum ? L.LoadPairs(whole + (2 * StripLayout.Rows)) : pairs;
            f0 = Sum(x0 + at, i0, pairs, scale, minima, minimum, f0);
            f1 = T.Count > 1 ? Sum(x1 + at, i1, pairs, scale, minima, minimum, f1) : f1;
            f2 = T.Count > 2 ? Sum(x2 + at, i2, pairs, scale, minima, minimum, f2) : f2;
            f3 = T.Count > 3 ? Sum(x3 + at, i3, pairs, scale, minima, minimum, f3) : f3;
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
