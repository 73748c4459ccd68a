using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace MoeSharp.Kernels.Quantized;

/// <summary>Four rows in portable vectors of 128 bits: any processor, and any that has no vectors at all.</summary>
internal readonly unsafe struct UnitLanes128 : IUnitLanes<Vector128<byte>, Vector128<float>>
{
    public static int Rows => 4;

    public static bool UsesPairs => false;

    public static Vector128<byte> Zero => Vector128<byte>.Zero;

    public static Vector128<float> ZeroFloats => Vector128<float>.Zero;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Load(byte* source) => Vector128.Load(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> BroadcastByte(byte value) => Vector128.Create(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Broadcast(byte* four) => Vector128.Create(*(int*)four).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> And(Vector128<byte> a, Vector128<byte> b) => a & b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> EvenBytes(Vector128<byte> value) => value & Vector128.Create((ushort)0xFF).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Or(Vector128<byte> a, Vector128<byte> b) => a | b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> ShiftRight(Vector128<byte> value, int bits) => Vector128.ShiftRightLogical(value.AsUInt16(), bits).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> ShiftLeft(Vector128<byte> value, int bits) => Vector128.ShiftLeft(value.AsUInt16(), bits).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> UpperNibbles(Vector128<byte> value) => ShiftRight(value, 4) & Vector128.Create((byte)0x0F);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Lookup(Vector128<byte> table, Vector128<byte> index) => Vector128.Shuffle(table, index);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Start(CodeSize size, int zeroBits, byte* unit) =>
        zeroBits == 0 ? Zero : Vector128.ShiftLeft(Vector128.Create(*(int*)(unit + ByteRows.NegativeSum)), zeroBits).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Add(CodeSize size, Vector128<byte> sum, Vector128<byte> c0, Vector128<byte> x0, Vector128<byte> c1, Vector128<byte> x1) =>
        (sum.AsInt32() + FourProducts(c0, x0) + FourProducts(c1, x1)).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void AddTwo(
        CodeSize size, ref Vector128<byte> sum0, Vector128<byte> c00, Vector128<byte> x00, Vector128<byte> c01, Vector128<byte> x01, ref Vector128<byte> sum1, Vector128<byte> c10, Vector128<byte> x10, Vector128<byte> c11, Vector128<byte> x11)
    {
        sum0 = Add(size, sum0, c00, x00, c01, x01);
        sum1 = Add(size, sum1, c10, x10, c11, x11);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Finish(CodeSize size, Vector128<byte> sum) => sum;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> PairProducts(Vector128<byte> a, Vector128<byte> b) =>
        ((((a.AsInt32() << 16) >> 16) * ((b.AsInt32() << 16) >> 16)) + ((a.AsInt32() >> 16) * (b.AsInt32() >> 16))).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> LoadPairs(byte* source) => Vector128.WidenLower(Vector128.CreateScalar(*(long*)source).AsSByte()).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> FirstOfPairs(Vector128<byte> pairs) => Vector128.Shuffle(pairs, PairOrder.First);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> SecondOfPairs(Vector128<byte> pairs) => Vector128.Shuffle(pairs, PairOrder.Second);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> HalfProducts(CodeSize size, Vector128<byte> c0, Vector128<byte> c1, Vector128<byte> c2, Vector128<byte> c3, byte* x, Vector128<byte> scale)
    {
        Vector128<int> p01 = FourProducts(c0, Broadcast(x)) + FourProducts(c1, Broadcast(x + 4));
        Vector128<int> p23 = FourProducts(c2, Broadcast(x + 8)) + FourProducts(c3, Broadcast(x + 12));
        return ((p01 + p23) * (scale.AsInt32() >> 16)).AsByte();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Sum(Vector128<byte> a, Vector128<byte> b) => (a.AsInt32() + b.AsInt32()).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Subtract(Vector128<byte> a, Vector128<byte> b) => (a.AsInt32() - b.AsInt32()).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> ToFloat(Vector128<byte> value) => Vector128.ConvertToSingle(value.AsInt32());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> BroadcastFloat(float* value) => Vector128.Create(*value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Multiply(Vector128<float> a, Vector128<float> b) => a * b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> MultiplyAdd(Vector128<float> a, Vector128<float> b, Vector128<float> c) => Vector128.FusedMultiplyAdd(a, b, c);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> LoadHalves(byte* source)
    {
        Vector128<int> bits = Vector128.WidenLower(Vector128.CreateScalar(*(long*)source).AsInt16());
        return (Vector128.ShiftLeft(bits, 13) & Vector128.Create(HalfFloats.Kept)).AsSingle() * Vector128.Create(HalfFloats.Rescale);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> LoadBytes(byte* source) =>
        Vector128.ConvertToSingle(Vector128.WidenLower(Vector128.WidenLower(Vector128.CreateScalar(*(uint*)source).AsByte())).AsInt32());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> LoadHalfPowers(byte* source)
    {
        Vector128<int> exponent = Vector128.WidenLower(Vector128.WidenLower(Vector128.CreateScalar(*(uint*)source).AsByte())).AsInt32();
        Vector128<int> subnormal = (exponent + Vector128<int>.One) << 21; // 2^-128 and 2^-127
        return Vector128.ConditionalSelect(Vector128.LessThan(exponent, Vector128.Create(2)), subnormal, (exponent - Vector128<int>.One) << 23).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> AddFloats(Vector128<float> value, float addend) => value + Vector128.Create(addend);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(float* target, Vector128<float> value) => value.Store(target);

    // Columns 0 and 2 stand in the lower bytes of 16-bit lanes, 1 and 3 in the upper; a product fits 16 bits (255 * 127 = 32,385).
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<int> FourProducts(Vector128<byte> codes, Vector128<byte> x)
    {
        Vector128<short> even = (codes.AsInt16() & Vector128.Create((short)0xFF)) * ((x.AsInt16() << 8) >> 8);
        Vector128<short> odd = (codes.AsUInt16() >> 8).AsInt16() * (x.AsInt16() >> 8);
        return ((even.AsInt32() << 16) >> 16) + (even.AsInt32() >> 16) + ((odd.AsInt32() << 16) >> 16) + (odd.AsInt32() >> 16);
    }
}

/// <summary>Shuffles that give each of two 16-bit numbers of a row twice.</summary>
internal static class PairOrder
{
    /// <summary>The first of each two.</summary>
    public static Vector128<byte> First => Vector128.Create((byte)0, 1, 0, 1, 4, 5, 4, 5, 8, 9, 8, 9, 12, 13, 12, 13);

    /// <summary>The second of each two.</summary>
    public static Vector128<byte> Second => Vector128.Create((byte)2, 3, 2, 3, 6, 7, 6, 7, 10, 11, 10, 11, 14, 15, 14, 15);
}
