using System.Numerics;

namespace MoeSharp.Kernels.Formats;

/// <summary>The values of the 8-bit floats: one table of 256 numbers each, exact in float32.</summary>
internal static class SmallFloats
{
    private const int Codes = 256;

    /// <summary>Sign, 4 exponent bits around 7, 3 fraction bits; all ones is NaN and there is no infinity.</summary>
    public static float[] E4M3 { get; } = Table(code => (code & 0x7F) == 0x7F ? float.NaN : Value(code, 3, 7));

    /// <summary>Sign, 5 exponent bits around 15, 2 fraction bits: the upper byte of a half.</summary>
    public static float[] E5M2 { get; } = Table(code => (float)BitConverter.UInt16BitsToHalf((ushort)(code << 8)));

    /// <summary>2^(code - 127); 255 is NaN.</summary>
    public static float[] E8M0 { get; } = Table(code => code == 255 ? float.NaN : (float)Math.ScaleB(1.0, code - 127));

    /// <summary>values[i] = table[codes[i]].</summary>
    public static void Look(float[] table, ReadOnlySpan<byte> codes, Span<float> values)
    {
        ReadOnlySpan<float> known = table.AsSpan(0, Codes);
        codes = codes[..values.Length];
        for (int i = 0; i < codes.Length; i++)
        {
            values[i] = known[codes[i]];
        }
    }

    /// <summary>values[i] *= scale.</summary>
    public static void Scale(Span<float> values, float scale)
    {
        int i = 0;
        for (; i <= values.Length - Vector<float>.Count; i += Vector<float>.Count)
        {
            (new Vector<float>(values[i..]) * scale).CopyTo(values[i..]);
        }

        for (; i < values.Length; i++)
        {
            values[i] *= scale;
        }
    }

    private static float Value(int code, int fractionBits, int bias)
    {
        int exponent = (code & 0x7F) >> fractionBits;
        int fraction = code & ((1 << fractionBits) - 1);
        double magnitude = exponent == 0
            ? Math.ScaleB(fraction, 1 - bias - fractionBits)
            : Math.ScaleB(fraction + (1 << fractionBits), exponent - bias - fractionBits);
        return (float)(code >= 0x80 ? -magnitude : magnitude);
    }

    private static float[] Table(Func<int, float> value) => [.. Enumerable.Range(0, Codes).Select(value)];
}
