using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace MoeSharp.Kernels.Formats;

/// <summary>Float32 weights to stored blocks, with the smallest squared error that a short search finds; weighted by column if asked.</summary>
/// <remarks>The same values give the same bytes on every machine and with any split into calls of whole blocks (without importance: with it, calls of whole rows).</remarks>
public static unsafe partial class BlockEncoder
{
    private const int Lanes = 16;
    private const int BlockLength = 32;
    private const int SuperLength = 256;

    // Of the mean importance of a row: columns that no calibration text reached keep this much.
    private const float LeastImportance = 1e-3f;

    /// <summary>Whether <see cref="Encode"/> writes a format.</summary>
    public static bool CanEncode(WeightFormat format) => format is WeightFormat.F32 or WeightFormat.F16 or WeightFormat.BF16
        or WeightFormat.Q8_0 or WeightFormat.Q4_0 or WeightFormat.Q4_1 or WeightFormat.Q5_0 or WeightFormat.Q5_1 or WeightFormat.IQ4NL or WeightFormat.MXFP4
        or WeightFormat.Q2K or WeightFormat.Q3K or WeightFormat.Q4K or WeightFormat.Q5K or WeightFormat.Q6K or WeightFormat.IQ4XS;

    /// <summary>Encodes whole blocks.</summary>
    /// <param name="format">Stored format.</param>
    /// <param name="values">Finite floats: whole blocks; whole rows if there is an importance.</param>
    /// <param name="importance">Weight of the squared error of each column, at least 0, [columns]; empty for equal weights. A thousandth of the mean is the least that counts.</param>
    /// <param name="blocks">= blocks; must not overlap the values.</param>
    /// <exception cref="ShapeException">The lengths do not fit.</exception>
    /// <exception cref="FileFormatException">A value is NaN or infinite.</exception>
    public static void Encode(WeightFormat format, ReadOnlySpan<float> values, ReadOnlySpan<float> importance, Span<byte> blocks)
    {
        Require.Length(blocks.Length, format.RowBytes(values.Length), format.Name(), nameof(blocks));
        switch (format)
        {
            case WeightFormat.F32:
                NumberFormats.Bytes(values).CopyTo(blocks);
                return;
            case WeightFormat.F16:
                NumberFormats.WriteFloat16(values, blocks);
                return;
            case WeightFormat.BF16:
                NumberFormats.WriteBFloat16(values, blocks);
                return;
        }

        if (!CanEncode(format))
        {
            throw new ArgumentOutOfRangeException(nameof(format), format.Name(), "this format is only read");
        }

        RequireFinite(values);
        if (!importance.IsEmpty && (values.Length % importance.Length != 0 || importance.Length % format.BlockLength() != 0))
        {
            ShapeException.Throw(format.Name(), nameof(importance), $"whole blocks of {format.BlockLength()}, in whole rows of {values.Length} values", $"[{importance.Length}]");
        }

        EncodeRows(format, values, importance, blocks);
    }

    private static void RequireFinite(ReadOnlySpan<float> values)
    {
        const uint Exponent = 0x7F800000; // all ones: infinite or NaN
        int i = 0;
        while (i <= values.Length - Vector<uint>.Count && !Vector.EqualsAny(Vector.AsVectorUInt32(new Vector<float>(values[i..])) & new Vector<uint>(Exponent), new Vector<uint>(Exponent)))
        {
            i += Vector<uint>.Count;
        }

        for (; i < values.Length; i++)
        {
            if (!float.IsFinite(values[i]))
            {
                throw new FileFormatException($"value {i} of the row is {values[i]}; weights that are not finite cannot be quantised");
            }
        }
    }

    private static void EncodeRows(WeightFormat format, ReadOnlySpan<float> values, ReadOnlySpan<float> importance, Span<byte> blocks)
    {
        int length = format.BlockLength();
        int bytes = format.BlockBytes();
        float least = Least(importance);
        float* w = stackalloc float[SuperLength];
        new Span<float>(w, SuperLength).Fill(1);
        fixed (float* x = values)
        fixed (float* columns = importance)
        fixed (byte* target = blocks)
        {
            for (int i = 0; i < values.Length; i += length)
            {
                for (int j = 0; columns != null && j < length; j++)
                {
                    w[j] = Math.Max(columns[(i % importance.Length) + j], least);
                }

                EncodeBlock(format, x + i, w, target + (i / length * bytes));
            }
        }
    }

    private static float Least(ReadOnlySpan<float> importance)
    {
        double sum = 0;
        foreach (float value in importance)
        {
            sum += value;
        }

        return sum > 0 ? (float)(sum / importance.Length * LeastImportance) : 1;
    }

    private static void EncodeBlock(WeightFormat format, float* x, float* w, byte* block)
    {
        switch (format)
        {
            case WeightFormat.Q8_0:
                EncodeQ8(x, block);
                break;
            case WeightFormat.Q4_0:
                EncodeQ40(x, w, block);
                break;
            case WeightFormat.Q5_0:
                EncodeQ50(x, w, block);
                break;
            case WeightFormat.Q4_1:
                EncodeQ41(x, w, block);
                break;
            case WeightFormat.Q5_1:
                EncodeQ51(x, w, block);
                break;
            case WeightFormat.IQ4NL:
                EncodeIQ4NL(x, w, block);
                break;
            case WeightFormat.MXFP4:
                EncodeMXFP4(x, w, block);
                break;
            case WeightFormat.Q2K:
                EncodeQ2K(x, w, block);
                break;
            case WeightFormat.Q3K:
                EncodeQ3K(x, w, block);
                break;
            case WeightFormat.Q4K:
                EncodeQ4K(x, w, block);
                break;
            case WeightFormat.Q5K:
                EncodeQ5K(x, w, block);
                break;
            case WeightFormat.Q6K:
                EncodeQ6K(x, w, block);
                break;
            default:
                EncodeIQ4XS(x, w, block);
                break;
        }
    }

    // d, qs i8[32]. The largest value decides: with 255 levels a search gains nothing measurable.
    private static void EncodeQ8(float* x, byte* block)
    {
        const float Highest = 127;
        float d = StoreHalf(MathF.Abs(ScaleSearch.Extreme(x, BlockLength)) / Highest, block);
        Vector512<float> inverses = Vector512.Create(d == 0 ? 0 : 1 / d);
        for (int i = 0; i < BlockLength; i += Lanes)
        {
            StoreBytes(Vector512.ConvertToInt32Native(IntegerLevels.Nearest(Vector512.Load(x + i) * inverses, -Highest, Highest)), block + 2 + i);
        }
    }

    private static void EncodeQ40(float* x, float* w, byte* block)
    {
        byte* codes = stackalloc byte[BlockLength];
        float d = StoreHalf(ScaleSearch.Symmetric<FourBits>(x, w, BlockLength), block);
        StoreCodes<FourBits>(x, BlockLength, d, codes);
        PackNibbles(codes, block + 2);
    }

    private static void EncodeQ50(float* x, float* w, byte* block)
    {
        byte* codes = stackalloc byte[BlockLength];
        float d = StoreHalf(ScaleSearch.Symmetric<FiveBits>(x, w, BlockLength), block);
        StoreCodes<FiveBits>(x, BlockLength, d, codes);
        PackFifthBits(codes, block + 2);
        PackNibbles(codes, block + 6);
    }

    private static void EncodeIQ4NL(float* x, float* w, byte* block)
    {
        byte* codes = stackalloc byte[BlockLength];
        float d = StoreHalf(ScaleSearch.Symmetric<LadderLevels>(x, w, BlockLength), block);
        StoreCodes<LadderLevels>(x, BlockLength, d, codes);
        PackNibbles(codes, block + 2);
    }

    private static void EncodeQ41(float* x, float* w, byte* block)
    {
        byte* codes = stackalloc byte[BlockLength];
        StoreLine(x, w, 15, block, codes);
        PackNibbles(codes, block + 4);
    }

    private static void EncodeQ51(float* x, float* w, byte* block)
    {
        byte* codes = stackalloc byte[BlockLength];
        StoreLine(x, w, 31, block, codes);
        PackFifthBits(codes, block + 4);
        PackNibbles(codes, block + 8);
    }

    private static void StoreLine(float* x, float* w, float highest, byte* block, byte* codes)
    {
        LevelLine line = ScaleSearch.Line(x, w, BlockLength, highest, isBelowZero: false);
        float d = StoreHalf(line.Scale, block);
        float m = StoreHalf(line.Offset, block + 2);
        StoreCodes(x, BlockLength, new LevelLine(d, m), highest, codes);
    }

    // exponent u8, qs[16]: the power of two that covers the largest value, and its neighbours
    private static void EncodeMXFP4(float* x, float* w, byte* block)
    {
        const int Bias = 127;
        const int LargestExponent = 2; // of the largest 4-bit float, 6
        byte* codes = stackalloc byte[BlockLength];
        float extreme = MathF.Abs(ScaleSearch.Extreme(x, BlockLength));
        int middle = extreme == 0 ? Bias : MathF.ILogB(extreme) - LargestExponent + Bias;
        int best = 0;
        float least = float.PositiveInfinity;
        for (int exponent = middle - 1; exponent <= middle + 1; exponent++)
        {
            int code = Math.Clamp(exponent, 2, 254); // below 2, the inverse of the scale would be infinite
            float error = ScaleSearch.Error<Float4Levels>(x, w, BlockLength, BlockDecoder.HalfPowerOfTwo((byte)code));
            if (error < least || best == 0)
            {
                least = error;
                best = code;
            }
        }

        block[0] = (byte)best;
        StoreCodes<Float4Levels>(x, BlockLength, BlockDecoder.HalfPowerOfTwo((byte)best), codes);
        PackNibbles(codes, block + 1);
    }

    // Returns what a reader will see.
    private static float StoreHalf(float value, byte* target)
    {
        Half half = (Half)Math.Clamp(value, (float)Half.MinValue, (float)Half.MaxValue);
        Unsafe.WriteUnaligned(target, BitConverter.HalfToUInt16Bits(half));
        return (float)half;
    }

    private static float Rounded(float value) => (float)(Half)Math.Clamp(value, (float)Half.MinValue, (float)Half.MaxValue);

    private static void StoreCodes<T>(float* x, int n, float scale, byte* codes)
        where T : struct, ILevels
    {
        Vector512<float> inverses = Vector512.Create(scale == 0 ? 0 : 1 / scale);
        for (int i = 0; i < n; i += Lanes)
        {
            StoreBytes(T.Codes(Vector512.Load(x + i) * inverses), codes + i);
        }
    }

    private static void StoreCodes(float* x, int n, LevelLine line, float highest, byte* codes)
    {
        Vector512<float> inverses = Vector512.Create(line.Scale == 0 ? 0 : 1 / line.Scale);
        for (int i = 0; i < n; i += Lanes)
        {
            StoreBytes(Vector512.ConvertToInt32Native(ScaleSearch.Levels(Vector512.Load(x + i), inverses, Vector512.Create(line.Offset), Vector512.Create(highest))), codes + i);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void StoreBytes(Vector512<int> codes, byte* target)
    {
        if (Avx512F.IsSupported)
        {
            Avx512F.ConvertToVector128Byte(codes.AsUInt32()).Store(target);
        }
        else
        {
            for (int i = 0; i < Lanes; i++)
            {
                target[i] = (byte)codes.GetElement(i);
            }
        }
    }

    // Codes j and j + 16 share a byte.
    private static void PackNibbles(byte* codes, byte* target) => (Sixteen.Low(Vector128.Load(codes)) | (Sixteen.Low(Vector128.Load(codes + 16)).AsUInt16() << 4).AsByte()).Store(target);

    private static void PackFifthBits(byte* codes, byte* target)
    {
        // Bit 4 of every byte moves to its top, from where the bits are collected.
        uint low = (Vector128.Load(codes).AsUInt16() << 3).AsByte().ExtractMostSignificantBits();
        uint high = (Vector128.Load(codes + 16).AsUInt16() << 3).AsByte().ExtractMostSignificantBits();
        Unsafe.WriteUnaligned(target, low | (high << 16));
    }
}
