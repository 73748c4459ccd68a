using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace MoeSharp.Kernels.Quantized;

/// <summary>The products in which instruction sets of 256 bits differ.</summary>
internal interface IByteDot
{
    /// <summary>As <see cref="IUnitLanes{V, F}.UsesPairs"/>.</summary>
    static abstract bool UsesPairs { get; }

    /// <summary>As <see cref="IUnitLanes{V, F}.Add"/>.</summary>
    static abstract Vector256<byte> Add(CodeSize size, Vector256<byte> sum, Vector256<byte> c0, Vector256<byte> x0, Vector256<byte> c1, Vector256<byte> x1);

    /// <summary>sum + c x, into 32 bits; called only where pairs are not used.</summary>
    static abstract Vector256<byte> Add(CodeSize size, Vector256<byte> sum, Vector256<byte> c, Vector256<byte> x);

    /// <summary>As <see cref="IUnitLanes{V, F}.Finish"/>.</summary>
    static abstract Vector256<byte> Finish(CodeSize size, Vector256<byte> sum);
}

/// <summary>AVX2: as <see cref="UnitLanes512"/>, half as wide.</summary>
internal readonly struct Avx2Dot : IByteDot
{
    public static bool UsesPairs => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Add(CodeSize size, Vector256<byte> sum, Vector256<byte> c0, Vector256<byte> x0, Vector256<byte> c1, Vector256<byte> x1)
    {
        if (size == CodeSize.Wide)
        {
            Vector256<int> first = Avx2.MultiplyAddAdjacent(c0.AsInt16(), x0.AsInt16());
            return (sum.AsInt32() + first + Avx2.MultiplyAddAdjacent(c1.AsInt16(), x1.AsInt16())).AsByte();
        }

        Vector256<short> p0 = Avx2.MultiplyAddAdjacent(c0, x0.AsSByte());
        Vector256<short> p1 = Avx2.MultiplyAddAdjacent(c1, x1.AsSByte());
        return size == CodeSize.Small
            ? (sum.AsInt16() + p0 + p1).AsByte()
            : (sum.AsInt32() + Avx2.MultiplyAddAdjacent(p0 + p1, Vector256<short>.One)).AsByte();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Add(CodeSize size, Vector256<byte> sum, Vector256<byte> c, Vector256<byte> x) =>
        throw new NotSupportedException("sums of bytes alone do not fit"); // UsesPairs says so

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Finish(CodeSize size, Vector256<byte> sum) =>
        size == CodeSize.Small ? Avx2.MultiplyAddAdjacent(sum.AsInt16(), Vector256<short>.One).AsByte() : sum;
}

/// <summary>AVX-VNNI: four products of bytes are added to 32 bits in one instruction (vpdpbusd), whatever their size.</summary>
internal readonly struct VnniDot : IByteDot
{
    public static bool UsesPairs => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Add(CodeSize size, Vector256<byte> sum, Vector256<byte> c0, Vector256<byte> x0, Vector256<byte> c1, Vector256<byte> x1) =>
        AvxVnni.MultiplyWideningAndAdd(AvxVnni.MultiplyWideningAndAdd(sum.AsInt32(), c0, x0.AsSByte()), c1, x1.AsSByte()).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Add(CodeSize size, Vector256<byte> sum, Vector256<byte> c, Vector256<byte> x) =>
        AvxVnni.MultiplyWideningAndAdd(sum.AsInt32(), c, x.AsSByte()).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Finish(CodeSize size, Vector256<byte> sum) => sum;
}

/// <summary>What <see cref="VnniDot"/> computes, in AVX2 instructions: the path of AVX-VNNI on machines without it, so that its bits can be compared there.</summary>
internal readonly struct VnniStepsDot : IByteDot
{
    public static bool UsesPairs => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Add(CodeSize size, Vector256<byte> sum, Vector256<byte> c0, Vector256<byte> x0, Vector256<byte> c1, Vector256<byte> x1) =>
        Add(size, Add(size, sum, c0, x0), c1, x1);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Add(CodeSize size, Vector256<byte> sum, Vector256<byte> c, Vector256<byte> x)
    {
        Vector256<short> even = c.AsInt16() & Vector256.Create((short)0xFF), odd = (c.AsUInt16() >> 8).AsInt16();
        Vector256<int> products = Avx2.MultiplyAddAdjacent(even, (x.AsInt16() << 8) >> 8) + Avx2.MultiplyAddAdjacent(odd, x.AsInt16() >> 8);
        return (sum.AsInt32() + products).AsByte();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Finish(CodeSize size, Vector256<byte> sum) => sum;
}

/// <summary>Eight rows in registers of 256 bits.</summary>
internal readonly unsafe struct UnitLanes256<D> : IUnitLanes<Vector256<byte>, Vector256<float>>
    where D : struct, IByteDot
{
    public static bool IsSupported => Avx2.IsSupported && Fma.IsSupported;

    public static int Rows => 8;

    public static bool UsesPairs => D.UsesPairs;

    public static Vector256<byte> Zero => Vector256<byte>.Zero;

    public static Vector256<float> ZeroFloats => Vector256<float>.Zero;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Load(byte* source) => Vector256.Load(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> BroadcastByte(byte value) => Vector256.Create(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Broadcast(byte* four) => Vector256.Create(*(int*)four).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> And(Vector256<byte> a, Vector256<byte> b) => a & b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> EvenBytes(Vector256<byte> value) => value & Vector256.Create((ushort)0xFF).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Or(Vector256<byte> a, Vector256<byte> b) => a | b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> ShiftRight(Vector256<byte> value, int bits) => Vector256.ShiftRightLogical(value.AsUInt16(), bits).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> ShiftLeft(Vector256<byte> value, int bits) => Vector256.ShiftLeft(value.AsUInt16(), bits).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> UpperNibbles(Vector256<byte> value) => ShiftRight(value, 4) & Vector256.Create((byte)0x0F);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Lookup(Vector128<byte> table, Vector256<byte> index) => Avx2.Shuffle(Vector256.Create(table, table), index);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Start(CodeSize size, int zeroBits, byte* unit) =>
        zeroBits == 0 ? Zero
        : size == CodeSize.Small && D.UsesPairs ? Vector256.ShiftLeft(Vector256.Create(*(short*)(unit + ByteRows.NegativeSum)), zeroBits - 1).AsByte()
        : Vector256.ShiftLeft(Vector256.Create(*(int*)(unit + ByteRows.NegativeSum)), zeroBits).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Add(CodeSize size, Vector256<byte> sum, Vector256<byte> c0, Vector256<byte> x0, Vector256<byte> c1, Vector256<byte> x1) =>
        D.Add(size, sum, c0, x0, c1, x1);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void AddTwo(
        CodeSize size, ref Vector256<byte> sum0, Vector256<byte> c00, Vector256<byte> x00, Vector256<byte> c01, Vector256<byte> x01, ref Vector256<byte> sum1, Vector256<byte> c10, Vector256<byte> x10, Vector256<byte> c11, Vector256<byte> x11)
    {
        sum0 = Add(size, sum0, c00, x00, c01, x01);
        sum1 = Add(size, sum1, c10, x10, c11, x11);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Finish(CodeSize size, Vector256<byte> sum) => D.Finish(size, sum);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> PairProducts(Vector256<byte> a, Vector256<byte> b) => Avx2.MultiplyAddAdjacent(a.AsInt16(), b.AsInt16()).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> LoadPairs(byte* source) => Avx2.ConvertToVector256Int16(Vector128.Load((sbyte*)source)).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> FirstOfPairs(Vector256<byte> pairs) => Avx2.Shuffle(pairs, Vector256.Create(PairOrder.First, PairOrder.First));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> SecondOfPairs(Vector256<byte> pairs) => Avx2.Shuffle(pairs, Vector256.Create(PairOrder.Second, PairOrder.Second));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> HalfProducts(CodeSize size, Vector256<byte> c0, Vector256<byte> c1, Vector256<byte> c2, Vector256<byte> c3, byte* x, Vector256<byte> scale)
    {
        if (!D.UsesPairs)
        {
            Vector256<byte> sum = D.Add(size, D.Add(size, Zero, c0, Broadcast(x), c1, Broadcast(x + 4)), c2, Broadcast(x + 8), c3, Broadcast(x + 12));
            return (sum.AsInt32() * (scale.AsInt32() >> 16)).AsByte();
        }

        Vector256<short> p01 = Avx2.MultiplyAddAdjacent(c0, Broadcast(x).AsSByte()) + Avx2.MultiplyAddAdjacent(c1, Broadcast(x + 4).AsSByte());
        Vector256<short> p23 = Avx2.MultiplyAddAdjacent(c2, Broadcast(x + 8).AsSByte()) + Avx2.MultiplyAddAdjacent(c3, Broadcast(x + 12).AsSByte());
        return size == CodeSize.Small
            ? Avx2.MultiplyAddAdjacent(p01 + p23, scale.AsInt16()).AsByte()
            : (Avx2.MultiplyAddAdjacent(p01, scale.AsInt16()) + Avx2.MultiplyAddAdjacent(p23, scale.AsInt16())).AsByte();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Sum(Vector256<byte> a, Vector256<byte> b) => (a.AsInt32() + b.AsInt32()).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Subtract(Vector256<byte> a, Vector256<byte> b) => (a.AsInt32() - b.AsInt32()).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> ToFloat(Vector256<byte> value) => Vector256.ConvertToSingle(value.AsInt32());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> BroadcastFloat(float* value) => Vector256.Create(*value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Multiply(Vector256<float> a, Vector256<float> b) => a * b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> MultiplyAdd(Vector256<float> a, Vector256<float> b, Vector256<float> c) => Vector256.FusedMultiplyAdd(a, b, c);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> LoadHalves(byte* source)
    {
        Vector256<int> bits = Avx2.ConvertToVector256Int32(Vector128.Load((short*)source));
        return (Vector256.ShiftLeft(bits, 13) & Vector256.Create(HalfFloats.Kept)).AsSingle() * Vector256.Create(HalfFloats.Rescale);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> LoadBytes(byte* source) =>
        Vector256.ConvertToSingle(Avx2.ConvertToVector256Int32(Vector128.CreateScalarUnsafe(*(long*)source).AsByte()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> LoadHalfPowers(byte* source)
    {
        Vector256<int> exponent = Avx2.ConvertToVector256Int32(Vector128.CreateScalarUnsafe(*(long*)source).AsByte());
        Vector256<int> subnormal = (exponent + Vector256<int>.One) << 21; // 2^-128 and 2^-127
        return Vector256.ConditionalSelect(Vector256.LessThan(exponent, Vector256.Create(2)), subnormal, (exponent - Vector256<int>.One) << 23).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> AddFloats(Vector256<float> value, float addend) => value + Vector256.Create(addend);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(float* target, Vector256<float> value) => value.Store(target);
}
