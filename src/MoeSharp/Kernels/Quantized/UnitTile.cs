using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels.Quantized;

/// <summary>Number of activation rows of a tile, known to the compiler.</summary>
internal interface ITileTokens
{
    static abstract int Count { get; }
}

/// <summary>What the second half of a tile is; known to the compiler.</summary>
internal interface ITileSecond
{
    /// <summary>Whether there is a second half.</summary>
    static abstract bool Exists { get; }

    /// <summary>Whether it is a second strip with the same activation rows, rather than four more rows with the same strip.</summary>
    static abstract bool IsStrip { get; }
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

internal readonly struct NoSecond : ITileSecond
{
    public static bool Exists => false;

    public static bool IsStrip => false;
}

internal readonly struct SecondStrip : ITileSecond
{
    public static bool Exists => true;

    public static bool IsStrip => true;
}

internal readonly struct SecondRows : ITileSecond
{
    public static bool Exists => true;

    public static bool IsStrip => false;
}

/// <summary>What a tile reads: one strip and up to eight activation rows, or two strips and up to four.</summary>
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
    public byte* X4;
    public byte* X5;
    public byte* X6;
    public byte* X7;
    public nint StripBytes;
    public nint Jump; // from the end of a strip to what is read next in its place
    public bool AsksAhead; // the weights come from memory: this is their first tile
}

/// <summary>The inner loop of products with bytes: up to four activation rows times one or two strips, or eight rows times one strip, over the whole depth.</summary>
/// <remarks>
/// Legend: g group of four columns, c codes, x and z activations, i integer sums, f float sums; the first digit of f and i is the activation row, the second
/// the half of the tile: the second strip, or the row four further on. Sixteen sums, four codes and two activations are 22 of the 32 registers.
/// </remarks>
internal static unsafe class UnitTile<C, L, V, F>
    where C : struct, IUnitCodes
    where L : struct, IUnitLanes<V, F>
    where V : unmanaged
    where F : unmanaged
{
    /// <summary>y[t, r] = activation row t times row r of the strip, and the same for the second half.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Compute<T, S>(in UnitOperands operands, float* y, nint ldy)
        where T : struct, ITileTokens
        where S : struct, ITileSecond
    {
        byte* scales0 = operands.Scales0, scales1 = operands.Scales1;
        byte* codes0 = operands.Codes0 + (4 * operands.Row), codes1 = operands.Codes1 + (4 * operands.Row);
        byte* x0 = operands.X0, x1 = operands.X1, x2 = operands.X2, x3 = operands.X3;
        byte* z0 = S.IsStrip ? x0 : operands.X4, z1 = S.IsStrip ? x1 : operands.X5, z2 = S.IsStrip ? x2 : operands.X6, z3 = S.IsStrip ? x3 : operands.X7;
        int row = operands.Row;
        bool asks = operands.AsksAhead;
        nint ahead = (nint)(operands.Codes0 - scales0) + Ahead.Far, stripBytes = operands.StripBytes, jump = operands.Jump, bytesPerUnit = stripBytes / operands.Units;
        nint units = operands.Units, step = operands.UnitBytes, at = 0;
        F f00 = L.ZeroFloats, f01 = f00, f10 = f00, f11 = f00, f20 = f00, f21 = f00, f30 = f00, f31 = f00;
        for (nint unit = 0; unit < units; unit++, at += step, codes0 += C.UnitBytes, codes1 += C.UnitBytes)
        {
            nint far = ahead + (ahead >= stripBytes ? jump : 0);
            ahead += bytesPerUnit;
            if (asks)
            {
                Ahead.AskRest(C.UnitBytes, scales0 + far);
                if (S.IsStrip)
                {
                    Ahead.AskRest(C.UnitBytes, scales1 + far);
                }
            }

            Start<S>(x0 + at, z0 + at, out V i00, out V i01);
            V i10 = i00, i11 = i00, i20 = i00, i21 = i00, i30 = i00, i31 = i00;
            if (T.Count > 1)
            {
                Start<S>(x1 + at, z1 + at, out i10, out i11);
            }

            if (T.Count > 2)
            {
                Start<S>(x2 + at, z2 + at, out i20, out i21);
            }

            if (T.Count > 3)
            {
                Start<S>(x3 + at, z3 + at, out i30, out i31);
            }

            for (nint g = 0; g < 4; g++)
            {
                if (asks)
                {
                    Ahead.AskPart(C.UnitBytes, g, scales0 + far, codes0 + Ahead.Near);
                    if (S.IsStrip)
                    {
                        Ahead.AskPart(C.UnitBytes, g, scales1 + far, codes1 + Ahead.Near);
                    }
                }

                AddGroup<T, S>(g, codes0, codes1, at, x0, x1, x2, x3, z0, z1, z2, z3, ref i00, ref i01, ref i10, ref i11, ref i20, ref i21, ref i30, ref i31);
            }

            F scale0 = C.Scale<L, V, F>(scales0, unit, row), minimum0 = C.HasMinimum ? C.Minimum<L, V, F>(scales0, unit, row) : scale0;
            F scale1 = S.IsStrip ? C.Scale<L, V, F>(scales1, unit, row) : scale0, minimum1 = C.HasMinimum && S.IsStrip ? C.Minimum<L, V, F>(scales1, unit, row) : minimum0;
            f00 = Sum(x0 + at, scale0, minimum0, i00, f00);
            f01 = S.Exists ? Sum(z0 + at, scale1, minimum1, i01, f01) : f01;
            if (T.Count > 1)
            {
                f10 = Sum(x1 + at, scale0, minimum0, i10, f10);
                f11 = S.Exists ? Sum(z1 + at, scale1, minimum1, i11, f11) : f11;
            }

            if (T.Count > 2)
            {
                f20 = Sum(x2 + at, scale0, minimum0, i20, f20);
                f21 = S.Exists ? Sum(z2 + at, scale1, minimum1, i21, f21) : f21;
            }

            if (T.Count > 3)
            {
                f30 = Sum(x3 + at, scale0, minimum0, i30, f30);
                f31 = S.Exists ? Sum(z3 + at, scale1, minimum1, i31, f31) : f31;
            }
        }

        nint second = S.IsStrip ? StripLayout.Rows : T.Count * ldy;
        Store<S>(y, second, f00, f01);
        if (T.Count > 1)
        {
            Store<S>(y + ldy, second, f10, f11);
        }

        if (T.Count > 2)
        {
            Store<S>(y + (2 * ldy), second, f20, f21);
        }

        if (T.Count > 3)
        {
            Store<S>(y + (3 * ldy), second, f30, f31);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Start<S>(byte* x, byte* z, out V first, out V second)
        where S : struct, ITileSecond
    {
        first = L.Start(C.Size, C.ZeroBits, x);
        second = S.Exists && !S.IsStrip ? L.Start(C.Size, C.ZeroBits, z) : first;
    }

    // Column groups g and g + 4; where codes are wide, their even and odd columns apart.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void AddGroup<T, S>(
        nint g, byte* codes0, byte* codes1, nint at, byte* x0, byte* x1, byte* x2, byte* x3, byte* z0, byte* z1, byte* z2, byte* z3,
        ref V i00, ref V i01, ref V i10, ref V i11, ref V i20, ref V i21, ref V i30, ref V i31)
        where T : struct, ITileTokens
        where S : struct, ITileSecond
    {
        C.Pair<L, V, F>(codes0, g, out V c00, out V c01);
        V c10 = c00, c11 = c01;
        if (S.IsStrip)
        {
            C.Pair<L, V, F>(codes1, g, out c10, out c11);
        }

        nint group = at + (4 * g);
        if (C.Size == CodeSize.Wide && L.UsesPairs)
        {
            V odd0 = L.ShiftRight(c00, 8), odd1 = S.IsStrip ? L.ShiftRight(c10, 8) : odd0;
            c00 = L.EvenBytes(c00);
            c10 = S.IsStrip ? L.EvenBytes(c10) : c00;
            AddVectors<T, S>(group + ByteRows.EvenPairs, ByteRows.UnitColumns, x0, x1, x2, x3, z0, z1, z2, z3, c00, odd0, c10, odd1, ref i00, ref i01, ref i10, ref i11, ref i20, ref i21, ref i30, ref i31);
            odd0 = L.ShiftRight(c01, 8);
            odd1 = S.IsStrip ? L.ShiftRight(c11, 8) : odd0;
            c01 = L.EvenBytes(c01);
            c11 = S.IsStrip ? L.EvenBytes(c11) : c01;
            AddVectors<T, S>(group + ByteRows.EvenPairs + 16, ByteRows.UnitColumns, x0, x1, x2, x3, z0, z1, z2, z3, c01, odd0, c11, odd1, ref i00, ref i01, ref i10, ref i11, ref i20, ref i21, ref i30, ref i31);
        }
        else
        {
            AddVectors<T, S>(group + ByteRows.Bytes, 16, x0, x1, x2, x3, z0, z1, z2, z3, c00, c01, c10, c11, ref i00, ref i01, ref i10, ref i11, ref i20, ref i21, ref i30, ref i31);
        }
    }

    // Two vectors of codes of each strip meet the activations at two offsets of each row.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void AddVectors<T, S>(
        nint offset, nint next, byte* x0, byte* x1, byte* x2, byte* x3, byte* z0, byte* z1, byte* z2, byte* z3, V c00, V c01, V c10, V c11,
        ref V i00, ref V i01, ref V i10, ref V i11, ref V i20, ref V i21, ref V i30, ref V i31)
        where T : struct, ITileTokens
        where S : struct, ITileSecond
    {
        AddRow<S>(x0 + offset, z0 + offset, next, c00, c01, c10, c11, ref i00, ref i01);
        if (T.Count > 1)
        {
            AddRow<S>(x1 + offset, z1 + offset, next, c00, c01, c10, c11, ref i10, ref i11);
        }

        if (T.Count > 2)
        {
            AddRow<S>(x2 + offset, z2 + offset, next, c00, c01, c10, c11, ref i20, ref i21);
        }

        if (T.Count > 3)
        {
            AddRow<S>(x3 + offset, z3 + offset, next, c00, c01, c10, c11, ref i30, ref i31);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void AddRow<S>(byte* x, byte* z, nint next, V c00, V c01, V c10, V c11, ref V first, ref V second)
        where S : struct, ITileSecond
    {
        V a = L.Broadcast(x), b = L.Broadcast(x + next);
        if (!S.Exists)
        {
            first = L.Add(C.Size, first, c00, a, c01, b);
        }
        else if (S.IsStrip)
        {
            L.AddTwo(C.Size, ref first, c00, a, c01, b, ref second, c10, a, c11, b);
        }
        else
        {
            L.AddTwo(C.Size, ref first, c00, a, c01, b, ref second, c10, L.Broadcast(z), c11, L.Broadcast(z + next));
        }
    }

    // f += (weight scale * activation scale) * (sum of (code - zero) x) - (minimum * activation scale) * (sum of x)
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static F Sum(byte* x, F weightScale, F minimum, V integers, F sum)
    {
        F scale = L.BroadcastFloat((float*)x);
        sum = L.MultiplyAdd(L.Multiply(weightScale, scale), L.ToFloat(L.Finish(C.Size, integers)), sum);
        return C.HasMinimum
            ? L.MultiplyAdd(L.Multiply(minimum, scale), L.ToFloat(L.Broadcast(x + ByteRows.NegativeSum)), sum)
            : sum;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store<S>(float* y, nint second, F f0, F f1)
        where S : struct, ITileSecond
    {
        L.Store(y, f0);
        if (S.Exists)
        {
            L.Store(y + second, f1);
        }
    }
}
