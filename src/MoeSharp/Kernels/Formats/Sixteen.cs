using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace MoeSharp.Kernels.Formats;

/// <summary>Sixteen small integers at a time: every block format is groups of sixteen that share a scale and an offset.</summary>
internal static unsafe class Sixteen
{
    /// <summary>y[i] = scale * q[i], one rounding.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Scale(Vector128<sbyte> q, float scale, float* y)
    {
        if (Avx512F.IsSupported)
        {
            (Avx512F.ConvertToVector512Single(Avx512F.ConvertToVector512Int32(q)) * Vector512.Create(scale)).Store(y);
        }
        else if (Avx2.IsSupported)
        {
            Vector256<float> scales = Vector256.Create(scale);
            (Avx.ConvertToVector256Single(Avx2.ConvertToVector256Int32(q)) * scales).Store(y);
            (Avx.ConvertToVector256Single(Avx2.ConvertToVector256Int32(Vector128.Shuffle(q.AsInt64(), Vector128.Create(1L, 1L)).AsSByte())) * scales).Store(y + 8);
        }
        else
        {
            Vector128<float> scales = Vector128.Create(scale);
            (Vector128<short> lower, Vector128<short> upper) = Vector128.Widen(q);
            Widened(lower, out Vector128<float> a, out Vector128<float> b);
            Widened(upper, out Vector128<float> c, out Vector128<float> d);
            (a * scales).Store(y);
            (b * scales).Store(y + 4);
            (c * scales).Store(y + 8);
            (d * scales).Store(y + 12);
        }
    }

    /// <summary>y[i] = (scale * q[i]) + offset, each step rounded.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void ScaleAdd(Vector128<sbyte> q, float scale, float offset, float* y)
    {
        if (Avx512F.IsSupported)
        {
            ((Avx512F.ConvertToVector512Single(Avx512F.ConvertToVector512Int32(q)) * Vector512.Create(scale)) + Vector512.Create(offset)).Store(y);
        }
        else if (Avx2.IsSupported)
        {
            Scale(q, scale, y);
            Vector256<float> offsets = Vector256.Create(offset);
            (Vector256.Load(y) + offsets).Store(y);
            (Vector256.Load(y + 8) + offsets).Store(y + 8);
        }
        else
        {
            Scale(q, scale, y);
            Vector128<float> offsets = Vector128.Create(offset);
            for (int i = 0; i < 16; i += 4)
            {
                (Vector128.Load(y + i) + offsets).Store(y + i);
            }
        }
    }

    /// <summary>Bits <paramref name="shift"/> to <paramref name="shift"/> + 1 (or + 3, as the mask says) of every byte.</summary>
    /// <remarks>The shift is of 16-bit lanes; what crosses from the upper byte lies above the mask as long as shift + width of the mask is at most 8.</remarks>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Bits(Vector128<byte> bytes, int shift, byte mask) => (bytes.AsUInt16() >>> shift).AsByte() & Vector128.Create(mask);

    /// <summary>The low nibbles.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Low(Vector128<byte> bytes) => bytes & Vector128.Create((byte)15);

    /// <summary>The high nibbles.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> High(Vector128<byte> bytes) => (bytes.AsUInt16() >>> 4).AsByte() & Vector128.Create((byte)15);

    /// <summary>Byte i is 16 where bit i is set, else 0: the fifth bit of sixteen 5-bit numbers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> FifthBits(uint bits)
    {
        Vector128<byte> places = Vector128.Create((byte)1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128);
        Vector128<byte> spread = Vector128.Shuffle(Vector128.CreateScalarUnsafe(bits).AsByte(), Vector128.Create((byte)0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1));
        return Vector128.Equals(spread & places, places) & Vector128.Create((byte)16);
    }

    private static void Widened(Vector128<short> values, out Vector128<float> lower, out Vector128<float> upper)
    {
        (Vector128<int> low, Vector128<int> high) = Vector128.Widen(values);
        lower = Vector128.ConvertToSingle(low);
        upper = Vector128.ConvertToSingle(high);
    }
}
