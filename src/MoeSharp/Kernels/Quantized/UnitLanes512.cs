using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace MoeSharp.Kernels.Quantized;

/// <summary>Sixteen rows with AVX-512BW: products of bytes are added in pairs to 16 bits (vpmaddubsw), those in pairs to 32 bits (vpmaddwd).</summary>
internal readonly unsafe struct UnitLanes512 : IUnitLanes<Vector512<byte>, Vector512<float>>
{
    private const ulong DownByFour = 0x1020408000000000; // a byte per bit of the result, the highest first: which bits it is the sum of

    public static bool IsSupported => Vector512.IsHardwareAccelerated && Avx512BW.IsSupported;

    public static int Rows => 16;

    public static bool UsesPairs => true;

    public static Vector512<byte> Zero => Vector512<byte>.Zero;

    public static Vector512<float> ZeroFloats => Vector512<float>.Zero;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> Load(byte* source) => Vector512.Load(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> BroadcastByte(byte value) => Vector512.Create(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> Broadcast(byte* four) => Vector512.Create(*(int*)four).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> And(Vector512<byte> a, Vector512<byte> b) => a & b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> EvenBytes(Vector512<byte> value) => value & Vector512.Create((ushort)0xFF).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> Or(Vector512<byte> a, Vector512<byte> b) => a | b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> ShiftRight(Vector512<byte> value, int bits) => Vector512.ShiftRightLogical(value.AsUInt16(), bits).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> ShiftLeft(Vector512<byte> value, int bits) => Vector512.ShiftLeft(value.AsUInt16(), bits).AsByte();

    // One instruction where there are two: every bit of a byte is a sum of its bits, here one. One row of q4_0 is 1.1 to 1.4 times as fast for it.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> UpperNibbles(Vector512<byte> value) => Gfni.V512.IsSupported
        ? Gfni.V512.GaloisFieldAffineTransform(value, Vector512.Create(DownByFour).AsByte(), 0)
        : ShiftRight(value, 4) & Vector512.Create((byte)0x0F);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> Lookup(Vector128<byte> table, Vector512<byte> index) =>
        Avx512BW.Shuffle(Vector512.Create(Vector256.Create(table, table), Vector256.Create(table, table)), index);

    // Small codes are summed in two 16-bit lanes per row, each of which takes half of what is to be subtracted: what a lane then holds is a sum of
    // (code - 8) x over its own columns and -4 x over the other lane's, at most 30,480.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> Start(CodeSize size, int zeroBits, byte* unit) =>
        zeroBits == 0 ? Zero
        : size == CodeSize.Small && zeroBits == ByteRows.SmallZeroBits ? Vector512.Create(*(int*)(unit + ByteRows.SmallStart)).AsByte()
        : size == CodeSize.Small ? Vector512.ShiftLeft(Vector512.Create(*(short*)(unit + ByteRows.NegativeSum)), zeroBits - 1).AsByte()
        : Vector512.ShiftLeft(Vector512.Create(*(int*)(unit + ByteRows.NegativeSum)), zeroBits).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> Add(CodeSize size, Vector512<byte> sum, Vector512<byte> c0, Vector512<byte> x0, Vector512<byte> c1, Vector512<byte> x1)
    {
        if (size == CodeSize.Wide)
        {
            Vector512<int> first = Avx512BW.MultiplyAddAdjacent(c0.AsInt16(), x0.AsInt16());
            return (sum.AsInt32() + first + Avx512BW.MultiplyAddAdjacent(c1.AsInt16(), x1.AsInt16())).AsByte();
        }

        Vector512<short> p0 = Avx512BW.MultiplyAddAdjacent(c0, x0.AsSByte());
        Vector512<short> p1 = Avx512BW.MultiplyAddAdjacent(c1, x1.AsSByte());
        return size == CodeSize.Small
            ? (sum.AsInt16() + p0 + p1).AsByte()
            : (sum.AsInt32() + Avx512BW.MultiplyAddAdjacent(p0 + p1, Vector512<short>.One)).AsByte();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void AddTwo(
        CodeSize size, ref Vector512<byte> sum0, Vector512<byte> c00, Vector512<byte> x00, Vector512<byte> c01, Vector512<byte> x01, ref Vector512<byte> sum1, Vector512<byte> c10, Vector512<byte> x10, Vector512<byte> c11, Vector512<byte> x11)
    {
        if (size == CodeSize.Wide)
        {
            Vector512<int> w00 = Avx512BW.MultiplyAddAdjacent(c00.AsInt16(), x00.AsInt16());
            Vector512<int> w01 = Avx512BW.MultiplyAddAdjacent(c01.AsInt16(), x01.AsInt16());
            Vector512<int> w10 = Avx512BW.MultiplyAddAdjacent(c10.AsInt16(), x10.AsInt16());
            Vector512<int> w11 = Avx512BW.MultiplyAddAdjacent(c11.AsInt16(), x11.AsInt16());
            sum0 = (sum0.AsInt32() + w00 + w01).AsByte();
            sum1 = (sum1.AsInt32() + w10 + w11).AsByte();
            return;
        }

        Vector512<short> p00 = Avx512BW.MultiplyAddAdjacent(c00, x00.AsSByte());
        Vector512<short> p01 = Avx512BW.MultiplyAddAdjacent(c01, x01.AsSByte());
        Vector512<short> p10 = Avx512BW.MultiplyAddAdjacent(c10, x10.AsSByte());
        Vector512<short> p11 = Avx512BW.MultiplyAddAdjacent(c11, x11.AsSByte());
        if (size == CodeSize.Small)
        {
            sum0 = (sum0.AsInt16() + p00 + p01).AsByte();
            sum1 = (sum1.AsInt16() + p10 + p11).AsByte();
            return;
        }

        sum0 = (sum0.AsInt32() + Avx512BW.MultiplyAddAdjacent(p00 + p01, Vector512<short>.One)).AsByte();
        sum1 = (sum1.AsInt32() + Avx512BW.MultiplyAddAdjacent(p10 + p11, Vector512<short>.One)).AsByte();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> Finish(CodeSize size, Vector512<byte> sum) =>
        size == CodeSize.Small ? Avx512BW.MultiplyAddAdjacent(sum.AsInt16(), Vector512<short>.One).AsByte() : sum;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> PairProducts(Vector512<byte> a, Vector512<byte> b) => Avx512BW.MultiplyAddAdjacent(a.AsInt16(), b.AsInt16()).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> LoadPairs(byte* source) => Avx512BW.ConvertToVector512Int16(Vector256.Load((sbyte*)source)).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> FirstOfPairs(Vector512<byte> pairs) => Avx512BW.Shuffle(pairs, Vector512.Create(Vector256.Create(PairOrder.First, PairOrder.First), Vector256.Create(PairOrder.First, PairOrder.First)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> SecondOfPairs(Vector512<byte> pairs) => Avx512BW.Shuffle(pairs, Vector512.Create(Vector256.Create(PairOrder.Second, PairOrder.Second), Vector256.Create(PairOrder.Second, PairOrder.Second)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> HalfProducts(CodeSize size, Vector512<byte> c0, Vector512<byte> c1, Vector512<byte> c2, Vector512<byte> c3, byte* x, Vector512<byte> scale)
    {
        Vector512<short> p01 = Avx512BW.MultiplyAddAdjacent(c0, Broadcast(x).AsSByte()) + Avx512BW.MultiplyAddAdjacent(c1, Broadcast(x + 4).AsSByte());
        Vector512<short> p23 = Avx512BW.MultiplyAddAdjacent(c2, Broadcast(x + 8).AsSByte()) + Avx512BW.MultiplyAddAdjacent(c3, Broadcast(x + 12).AsSByte());
        return size == CodeSize.Small
            ? Avx512BW.MultiplyAddAdjacent(p01 + p23, scale.AsInt16()).AsByte()
            : (Avx512BW.MultiplyAddAdjacent(p01, scale.AsInt16()) + Avx512BW.MultiplyAddAdjacent(p23, scale.AsInt16())).AsByte();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> Sum(Vector512<byte> a, Vector512<byte> b) => (a.AsInt32() + b.AsInt32()).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> Subtract(Vector512<byte> a, Vector512<byte> b) => (a.AsInt32() - b.AsInt32()).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> ToFloat(Vector512<byte> value) => Vector512.ConvertToSingle(value.AsInt32());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> BroadcastFloat(float* value) => Vector512.Create(*value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Multiply(Vector512<float> a, Vector512<float> b) => a * b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> MultiplyAdd(Vector512<float> a, Vector512<float> b, Vector512<float> c) => Vector512.FusedMultiplyAdd(a, b, c);

    // The sign, extended to 32 bits, exponent and fraction move to their places; 2^112 then makes up for the difference of the exponents, subnormals included.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> LoadHalves(byte* source)
    {
        Vector512<int> bits = Avx512F.ConvertToVector512Int32(Vector256.Load((short*)source));
        return (Vector512.ShiftLeft(bits, 13) & Vector512.Create(HalfFloats.Kept)).AsSingle() * Vector512.Create(HalfFloats.Rescale);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> LoadBytes(byte* source) => Vector512.ConvertToSingle(Avx512F.ConvertToVector512Int32(Vector128.Load(source)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> LoadHalfPowers(byte* source)
    {
        Vector512<int> exponent = Avx512F.ConvertToVector512Int32(Vector128.Load(source));
        Vector512<int> subnormal = (exponent + Vector512<int>.One) << 21; // 2^-128 and 2^-127
        return Vector512.ConditionalSelect(Vector512.LessThan(exponent, Vector512.Create(2)), subnormal, (exponent - Vector512<int>.One) << 23).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> AddFloats(Vector512<float> value, float addend) => value + Vector512.Create(addend);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(float* target, Vector512<float> value) => value.Store(target);
}

/// <summary>Widening of IEEE halves by moving bits.</summary>
internal static class HalfFloats
{
    /// <summary>2^112: the bias of float32 (127) less that of a half (15).</summary>
    public const float Rescale = 5.192296858534828e33f;

    /// <summary>Sign, and exponent and fraction where they lie after the move; the three bits between are copies of the sign.</summary>
    public const int Kept = unchecked((int)0x8FFFE000);
}
