using System.Numerics;
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
        ReadOnlySpan<Half> halves = MemoryMarshal.Cast<byte, Half>(source)[..values.Length];
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = (float)halves[i];
        }
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
        const uint QuietBit = 0x40; // keeps a NaN whose payload sits in the dropped half from becoming infinity
        Span<ushort> halves = MemoryMarshal.Cast<byte, ushort>(destination);
        for (int i = 0; i < values.Length; i++)
        {
            uint bits = BitConverter.SingleToUInt32Bits(values[i]);
            uint rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
            halves[i] = (ushort)(float.IsNaN(values[i]) ? (bits >> 16) | QuietBit : rounded);
        }
    }
}
