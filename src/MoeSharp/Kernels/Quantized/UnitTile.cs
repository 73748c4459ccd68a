using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels.Quantized;

/// <summary>Number of activation rows of a tile, known to the compiler.</summary>
internal interface ITileTokens
{
    static abstract int Count { get; }
}

/// <summary>One strip, or two that share the broadcast activations; known to the compiler.</summary>
internal interface ITileStrips
{
    static abstract bool AreTwo { get; }
}

internal readonly struct Tokens1 : ITileTokens
{
    public static int Count => 1;
}

internal readonly struct Tokens2 : ITileTokens
{
    public static int Count => 2;
}

internal readonly struct Tokens3 : ITileTokens
{
    public static int Count => 3;
}

internal readonly struct Tokens4 : ITileTokens
{
    public static int Count => 4;
}

internal readonly struct OneStrip : ITileStrips
{
    public static bool AreTwo => false;
}

internal readonly struct TwoStrips : ITileStrips
{
    public static bool AreTwo => true;
}

/// <summary>What a tile reads: one or two strips and up to four activation rows.</summary>
internal unsafe struct UnitOperands
{
    public byte* Scales0;
    public byte* Codes0;
    public byte* Scales1;
    public byte* Codes1;
    public int Row; // first row of the strip, where vectors are shorter than a strip
    public int Units;
    public int UnitBytes; // of the activations
    public byte* X0;
    public byte* X1;
    public byte* X2;
    public byte* X3;
    public nint StripBytes;
    public bool AsksAhead; // the weights come from memory: this is their first tile
}

/// <summary>The inner loop of products with bytes: up to four activation rows times one or two strips, over the whole depth.</summary>
/// <remarks>
/// Legend: t activation row, g group of four columns, c codes, x activations, i integer sums, f float sums; the digits of f and i are activation
/// row and strip. Four rows and two strips need 8 f, 8 i, 4 c and 2 x of the 32 registers.
/// </remarks>
internal static unsafe class UnitTile<C, L, V, F>
    where C : struct, IUnitCodes
    where L : struct, IUnitLanes<V, F>
    where V : unmanaged
    where F : unmanaged
{
    /// <summary>y[t, r] and y[t, 16 + r] = activation row t times row r of the first and second strip.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Compute<T, S>(in UnitOperands operands, float* y, nint ldy)
        where T : struct, ITileTokens
        where S : struct, ITileStrips
    {
        byte* scales0 = operands.Scales0, scales1 = operands.Scales1;
        byte* codes0 = operands.Codes0 + (4 * operands.Row), codes1 = operands.Codes1 + (4 * operands.Row);
        byte* x0 = operands.X0, x1 = operands.X1, x2 = operands.X2, x3 = operands.X3;
        int row = operands.Row;
        bool asks = operands.AsksAhead;
        nint ahead = UnitAhead.Far, bytesPerUnit = operands.StripBytes / operands.Units;
        nint units = operands.Units, step = operands.UnitBytes, at = 0;
        F f00 = L.ZeroFloats, f01 = f00, f10 = f00, f11 = f00, f20 = f00, f21 = f00, f30 = f00, f31 = f00;
        for (nint unit = 0; unit < units; unit++, at += step, codes0 += C.UnitBytes, codes1 += C.UnitBytes)
        {
            if (asks)
            {
                UnitAhead.Ask(C.UnitBytes, S.AreTwo, operands.Scales0, operands.Scales1, codes0, codes1, ahead, operands.StripBytes);
                ahead += bytesPerUnit;
            }

            V i00 = L.Start(C.Size, C.ZeroBits, x0 + at), i01 = i00;
            V i10 = T.Count > 1 ? L.Start(C.Size, C.ZeroBits, x1 + at) : i00, i11 = i10;
            V i20 = T.Count > 2 ? L.Start(C.Size, C.ZeroBits, x2 + at) : i00, i21 = i20;
            V i30 = T.Count > 3 ? L.Start(C.Size, C.ZeroBits, x3 + at) : i00, i31 = i30;
            for (int g = 0; g < 4; g++)
            {
                C.Pair<L, V, F>(codes0, g, out V c00, out V c01);
                V c10 = c00, c11 = c01;
                if (S.AreTwo)
                {
                    C.Pair<L, V, F>(codes1, g, out c10, out c11);
                }

                if (C.Size == CodeSize.Wide && L.UsesPairs)
                {
                    AddWide<T, S>(x0 + at, x1 + at, x2 + at, x3 + at, 4 * g, c00, c10, ref i00, ref i01, ref i10, ref i11, ref i20, ref i21, ref i30, ref i31);
                    AddWide<T, S>(x0 + at, x1 + at, x2 + at, x3 + at, 16 + (4 * g), c01, c11, ref i00, ref i01, ref i10, ref i11, ref i20, ref i21, ref i30, ref i31);
                    continue;
                }

                nint group = at + ByteRows.Bytes + (4 * g);
                V x = L.Broadcast(x0 + group), z = L.Broadcast(x0 + group + 16);
                i00 = L.Add(C.Size, i00, c00, x, c01, z);
                i01 = S.AreTwo ? L.Add(C.Size, i01, c10, x, c11, z) : i01;
                if (T.Count > 1)
                {
                    x = L.Broadcast(x1 + group);
                    z = L.Broadcast(x1 + group + 16);
                    i10 = L.Add(C.Size, i10, c00, x, c01, z);
                    i11 = S.AreTwo ? L.Add(C.Size, i11, c10, x, c11, z) : i11;
                }

                if (T.Count > 2)
                {
                    x = L.Broadcast(x2 + group);
                    z = L.Broadcast(x2 + group + 16);
                    i20 = L.Add(C.Size, i20, c00, x, c01, z);
                    i21 = S.AreTwo ? L.Add(C.Size, i21, c10, x, c11, z) : i21;
                }

                if (T.Count > 3)
                {
                    x = L.Broadcast(x3 + group);
                    z = L.Broadcast(x3 + group + 16);
                    i30 = L.Add(C.Size, i30, c00, x, c01, z);
                    i31 = S.AreTwo ? L.Add(C.Size, i31, c10, x, c11, z) : i31;
                }
            }

            F scale0 = C.Scale<L, V, F>(scales0, unit, row), minimum0 = C.HasMinimum ? C.Minimum<L, V, F>(scales0, unit, row) : scale0;
            F scale1 = S.AreTwo ? C.Scale<L, V, F>(scales1, unit, row) : scale0, minimum1 = C.HasMinimum && S.AreTwo ? C.Minimum<L, V, F>(scales1, unit, row) : scale1;
            AddUnit<S>(x0 + at, scale0, minimum0, scale1, minimum1, i00, i01, ref f00, ref f01);
            if (T.Count > 1)
            {
                AddUnit<S>(x1 + at, scale0, minimum0, scale1, minimum1, i10, i11, ref f10, ref f11);
            }

            if (T.Count > 2)
            {
                AddUnit<S>(x2 + at, scale0, minimum0, scale1, minimum1, i20, i21, ref f20, ref f21);
            }

            if (T.Count > 3)
            {
                AddUnit<S>(x3 + at, scale0, minimum0, scale1, minimum1, i30, i31, ref f30, ref f31);
            }
        }

        Store<S>(y, f00, f01);
        if (T.Count > 1)
        {
            Store<S>(y + ldy, f10, f11);
        }

        if (T.Count > 2)
        {
            Store<S>(y + (2 * ldy), f20, f21);
        }

        if (T.Count > 3)
        {
            Store<S>(y + (3 * ldy), f30, f31);
        }
    }

    // Bytes of even and odd columns become 16-bit numbers and meet the activations' pairs.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void AddWide<T, S>(byte* x0, byte* x1, byte* x2, byte* x3, nint group, V c0, V c1, ref V i00, ref V i01, ref V i10, ref V i11, ref V i20, ref V i21, ref V i30, ref V i31)
        where T : struct, ITileTokens
        where S : struct, ITileStrips
    {
        V even0 = L.EvenBytes(c0), odd0 = L.ShiftRight(c0, 8);
        V even1 = S.AreTwo ? L.EvenBytes(c1) : even0, odd1 = S.AreTwo ? L.ShiftRight(c1, 8) : odd0;
        V x = L.Broadcast(x0 + ByteRows.EvenPairs + group), z = L.Broadcast(x0 + ByteRows.OddPairs + group);
        i00 = L.Add(C.Size, i00, even0, x, odd0, z);
        i01 = S.AreTwo ? L.Add(C.Size, i01, even1, x, odd1, z) : i01;
        if (T.Count > 1)
        {
            x = L.Broadcast(x1 + ByteRows.EvenPairs + group);
            z = L.Broadcast(x1 + ByteRows.OddPairs + group);
            i10 = L.Add(C.Size, i10, even0, x, odd0, z);
            i11 = S.AreTwo ? L.Add(C.Size, i11, even1, x, odd1, z) : i11;
        }

        if (T.Count > 2)
        {
            x = L.Broadcast(x2 + ByteRows.EvenPairs + group);
            z = L.Broadcast(x2 + ByteRows.OddPairs + group);
            i20 = L.Add(C.Size, i20, even0, x, odd0, z);
            i21 = S.AreTwo ? L.Add(C.Size, i21, even1, x, odd1, z) : i21;
        }

        if (T.Count > 3)
        {
            x = L.Broadcast(x3 + ByteRows.EvenPairs + group);
            z = L.Broadcast(x3 + ByteRows.OddPairs + group);
            i30 = L.Add(C.Size, i30, even0, x, odd0, z);
            i31 = S.AreTwo ? L.Add(C.Size, i31, even1, x, odd1, z) : i31;
        }
    }

    // f += (weight scale * activation scale) * (sum of (code - zero) x) - (minimum * activation scale) * (sum of x)
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void AddUnit<S>(byte* x, F scale0, F minimum0, F scale1, F minimum1, V i0, V i1, ref F f0, ref F f1)
        where S : struct, ITileStrips
    {
        F scale = L.BroadcastFloat((float*)x);
        f0 = L.MultiplyAdd(L.Multiply(scale0, scale), L.ToFloat(L.Finish(C.Size, i0)), f0);
        f1 = S.AreTwo ? L.MultiplyAdd(L.Multiply(scale1, scale), L.ToFloat(L.Finish(C.Size, i1)), f1) : f1;
        if (C.HasMinimum)
        {
            F negativeSum = L.ToFloat(L.Broadcast(x + ByteRows.NegativeSum));
            f0 = L.MultiplyAdd(L.Multiply(minimum0, scale), negativeSum, f0);
            f1 = S.AreTwo ? L.MultiplyAdd(L.Multiply(minimum1, scale), negativeSum, f1) : f1;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store<S>(float* y, F f0, F f1)
        where S : struct, ITileStrips
    {
        L.Store(y, f0);
        if (S.AreTwo)
        {
            L.Store(y + StripLayout.Rows, f1);
        }
    }
}
