using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace MoeSharp.Kernels;

/// <summary>Conversions between stored number formats (little-endian bytes, any alignment) and float32.</summary>
public static class NumberFormats
{
    /// <summary>The bytes of floats in memory, little-endian like every machine .NET 10 runs on.</summary>
    public static ReadOnlySpan<byte> Bytes(ReadOnlySpan<float> values) => MemoryMarshal.AsBytes(values);

    /// <summary>The bytes of 64-bit integers in memory.</summary>
    public static ReadOnlySpan<byte> Bytes(ReadOnlySpan<long> values) => MemoryMarshal.AsBytes(values);

    /// <summary>Copies float32.</summary>
    /// <param name="source">Bytes, [4 n].</param>
    /// <param name="values">= floats, [n].</param>
    public static void ReadFloat32(ReadOnlySpan<byte> source, Span<float> values) => source.CopyTo(MemoryMarshal.AsBytes(values));

    /// <summary>Widens bfloat16: the upper half of a float32.</summary>
    /// <param name="source">Bytes, [2 n].</param>
    /// <param name="values">= floats, [n].</param>
    public static void ReadBFloat16(ReadOnlySpan<byte> source, Span<float> values)
    {
        ReadOnlySpan<ushort> halves = MemoryMarshal.Cast<byte, ushort>(source)[..values.Length];
        int i = 0;

        // One vector of 16-bit numbers widens to two vectors of 32-bit numbers, each moved to the upper half; equals the scalar line below.
        for (; i <= values.Length - Vector<ushort>.Count; i += Vector<ushort>.Count)
        {
            Vector.Widen(new Vector<ushort>(halves[i..]), out Vector<uint> lower, out Vector<uint> upper);
            Vector.AsVectorSingle(lower << 16).CopyTo(values[i..]);
            Vector.AsVectorSingle(upper << 16).CopyTo(values[(i + Vector<uint>.Count)..]);
        }

        for (; i < values.Length; i++)
        {
            values[i] = BitConverter.UInt32BitsToSingle((uint)halves[i] << 16);
        }
    }

    /// <summary>Widens IEEE half precision, subnormals, infinities and NaN included.</summary>
    /// <param name="source">Bytes, [2 n].</param>
    /// <param name="values">= floats, [n].</param>
    public static void ReadFloat16(ReadOnlySpan<byte> source, Span<float> values)
    {
        ReadOnlySpan<ushort> halves = MemoryMarshal.Cast<byte, ushort>(source)[..values.Length];
        int i = 0;
        for (; i <= values.Length - Vector<ushort>.Count; i += Vector<ushort>.Count)
        {
            Vector.Widen(new Vector<ushort>(halves[i..]), out Vector<uint> lower, out Vector<uint> upper);
            WidenHalf(lower).CopyTo(values[i..]);
            WidenHalf(upper).CopyTo(values[(i + Vector<uint>.Count)..]);
        }

        for (; i < values.Length; i++)
        {
            values[i] = (float)BitConverter.UInt16BitsToHalf(halves[i]);
        }
    }

    /// <summary>Narrows float32 to IEEE half precision, rounding to nearest even; too large becomes infinity.</summary>
    /// <param name="values">Floats, [n].</param>
    /// <param name="destination">= bytes, [2 n].</param>
    public static void WriteFloat16(ReadOnlySpan<float> values, Span<byte> destination)
    {
        Span<Half> halves = MemoryMarshal.Cast<byte, Half>(destination);
        for (int i = 0; i < values.Length; i++)
        {
            halves[i] = (Half)values[i];
        }
    }

    // The half's exponent and fraction move to their place in a float and the exponent is re-biased. Exponent 31 (infinity, NaN) is re-biased twice;
    // exponent 0 (zero, subnormal) is read as 2^-14 (1 + fraction), from which 2^-14 is subtracted again: exact.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector<float> WidenHalf(Vector<uint> halves)
    {
        const uint Exponent = 0x0F800000;
        const uint Rebias = (127 - 15) << 23;
        const uint Smallest = (127 - 14) << 23; // 2^-14
        Vector<uint> moved = (halves & new Vector<uint>(0x7FFF)) << 13;
        Vector<uint> exponent = moved & new Vector<uint>(Exponent);
        Vector<uint> normal = moved + new Vector<uint>(Rebias) + (Vector.Equals(exponent, new Vector<uint>(Exponent)) & new Vector<uint>(Rebias));
        Vector<uint> small = Vector.AsVectorUInt32(Vector.AsVectorSingle(moved + new Vector<uint>(Smallest)) - Vector.AsVectorSingle(new Vector<uint>(Smallest)));
        Vector<uint> magnitude = Vector.ConditionalSelect(Vector.Equals(exponent, Vector<uint>.Zero), small, normal);
        return Vector.AsVectorSingle(magnitude | ((halves & new Vector<uint>(0x8000)) << 16));
    }

    /// <summary>Narrows float64, rounding to nearest even.</summary>
    /// <param name="source">Bytes, [8 n].</param>
    /// <param name="values">= floats, [n].</param>
    public static void ReadFloat64(ReadOnlySpan<byte> source, Span<float> values)
    {
        ReadOnlySpan<double> doubles = MemoryMarshal.Cast<byte, double>(source)[..values.Length];
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = (float)doubles[i];
        }
    }

    /// <summary>Narrows float32 to bfloat16, rounding to nearest even; NaN stays NaN.</summary>
    /// <param name="values">Floats, [n].</param>
    /// <param name="destination">= bytes, [2 n].</param>
    public static void WriteBFloat16(ReadOnlySpan<float> values, Span<byte> destination)
    {
        Span<ushort> halves = MemoryMarshal.Cast<byte, ushort>(destination);
        for (int i = 0; i < values.Length; i++)
        {
            halves[i] = ToBFloat16(values[i]);
        }
    }

    /// <summary>The nearest bfloat16, ties to even; NaN stays NaN.</summary>
    internal static ushort ToBFloat16(float value)
    {
        const uint QuietBit = 0x40; // keeps a NaN whose payload sits in the dropped half from becoming infinity
        uint bits = BitConverter.SingleToUInt32Bits(value);
        uint rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
        return (ushort)(float.IsNaN(value) ? (bits >> 16) | QuietBit : rounded);
    }

    /// <summary>The exact value of a bfloat16.</summary>
    internal static float FromBFloat16(ushort bits) => BitConverter.UInt32BitsToSingle((uint)bits << 16);
}
