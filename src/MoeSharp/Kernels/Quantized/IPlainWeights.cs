using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace MoeSharp.Kernels.Quantized;

/// <summary>A format of plain numbers, widened to float32 in registers.</summary>
internal unsafe interface IPlainWeights
{
    /// <summary>Bytes of a number.</summary>
    static abstract int Bytes { get; }

    /// <summary>Sixteen numbers; needs <see cref="PlainWide512.IsSupported"/>.</summary>
    static abstract Vector512<float> Load512(byte* source);

    /// <summary>Eight numbers; needs <see cref="PlainWide256.IsSupported"/>.</summary>
    static abstract Vector256<float> Load256(byte* source);

    /// <summary>Any number of them, on any machine.</summary>
    static abstract void Read(ReadOnlySpan<byte> source, Span<float> values);
}

/// <summary>bfloat16: the upper half of a float32.</summary>
internal readonly unsafe struct BFloat16Weights : IPlainWeights
{
    public static int Bytes => sizeof(ushort);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load512(byte* source) => (Avx512F.ConvertToVector512UInt32(Vector256.Load((ushort*)source)) << 16).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Load256(byte* source) => (Avx2.ConvertToVector256Int32(Vector128.Load((ushort*)source)) << 16).AsSingle();

    public static void Read(ReadOnlySpan<byte> source, Span<float> values) => NumberFormats.ReadBFloat16(source, values);
}

/// <summary>IEEE half precision.</summary>
/// <remarks>
/// Exponent and fraction move to their place in a float32; times 2^(127 - 15) is exact and right for normal and subnormal numbers. Where the
/// exponent is 31, infinity and NaN, all bits of the float's exponent are set as well.
/// </remarks>
internal readonly unsafe struct Float16Weights : IPlainWeights
{
    private const int SignAndMagnitude = unchecked((int)0x8FFFE000);
    private const int Magnitude = 0x0FFFE000;
    private const int LargestFinite = 0x0F7FE000;
    private const int Infinity = 0x7F800000;
    private const float Rebias = 5.192296858534828e33f; // 2^112

    public static int Bytes => sizeof(ushort);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load512(byte* source)
    {
        Vector512<int> moved = (Avx512F.ConvertToVector512Int32(Vector256.Load((short*)source)) << 13) & Vector512.Create(SignAndMagnitude);
        Vector512<int> special = Vector512.GreaterThan(moved & Vector512.Create(Magnitude), Vector512.Create(LargestFinite)) & Vector512.Create(Infinity);
        return ((moved.AsSingle() * Vector512.Create(Rebias)).AsInt32() | special).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Load256(byte* source)
    {
        Vector256<int> moved = (Avx2.ConvertToVector256Int32(Vector128.Load((short*)source)) << 13) & Vector256.Create(SignAndMagnitude);
        Vector256<int> special = Vector256.GreaterThan(moved & Vector256.Create(Magnitude), Vector256.Create(LargestFinite)) & Vector256.Create(Infinity);
        return ((moved.AsSingle() * Vector256.Create(Rebias)).AsInt32() | special).AsSingle();
    }

    public static void Read(ReadOnlySpan<byte> source, Span<float> values) => NumberFormats.ReadFloat16(source, values);
}

/// <summary>float32.</summary>
internal readonly unsafe struct Float32Weights : IPlainWeights
{
    public static int Bytes => sizeof(float);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load512(byte* source) => Vector512.Load((float*)source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Load256(byte* source) => Vector256.Load((float*)source);

    public static void Read(ReadOnlySpan<byte> source, Span<float> values) => NumberFormats.ReadFloat32(source, values);
}

/// <summary>The arithmetic of <see cref="PlainTile{W, L, V}"/> for one vector width.</summary>
internal unsafe interface IPlainWide<V>
    where V : unmanaged
{
    static abstract V Load<W>(byte* source)
        where W : struct, IPlainWeights;

    static abstract V Broadcast(float value);

    /// <summary>a b + c in one rounding.</summary>
    static abstract V MultiplyAdd(V a, V b, V c);

    /// <summary>target = value, or += value.</summary>
    static abstract void Put(float* target, V value, bool add);
}

/// <summary>16 rows: a vector is a column of a strip.</summary>
internal readonly unsafe struct PlainWide512 : IPlainWide<Vector512<float>>
{
    public static bool IsSupported => Vector512.IsHardwareAccelerated && Avx512F.IsSupported;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load<W>(byte* source)
        where W : struct, IPlainWeights => W.Load512(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Broadcast(float value) => Vector512.Create(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> MultiplyAdd(Vector512<float> a, Vector512<float> b, Vector512<float> c) => Vector512.FusedMultiplyAdd(a, b, c);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Put(float* target, Vector512<float> value, bool add) => (add ? value + Vector512.Load(target) : value).Store(target);
}

/// <summary>8 rows: two vectors are a column of a strip.</summary>
internal readonly unsafe struct PlainWide256 : IPlainWide<Vector256<float>>
{
    public static bool IsSupported => Vector256.IsHardwareAccelerated && Avx2.IsSupported && Fma.IsSupported;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Load<W>(byte* source)
        where W : struct, IPlainWeights => W.Load256(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Broadcast(float value) => Vector256.Create(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> MultiplyAdd(Vector256<float> a, Vector256<float> b, Vector256<float> c) => Vector256.FusedMultiplyAdd(a, b, c);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Put(float* target, Vector256<float> value, bool add) => (add ? value + Vector256.Load(target) : value).Store(target);
}
