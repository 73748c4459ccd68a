using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace MoeSharp.Kernels.Formats;

/// <summary>Stored weights to float32. Formulas and byte layouts are those of the GGUF block types; every step is rounded to float32 in the order written here.</summary>
/// <remarks>
/// Names in the loops: d, m scale and minimum of a block (IEEE halves), q the small integers, y the output. Formats of 32 values keep element j in the low nibble of byte j
/// and element j + 16 in the high nibble.
/// </remarks>
public static unsafe partial class BlockDecoder
{
    /// <summary>Decodes whole blocks.</summary>
    /// <param name="format">Stored format.</param>
    /// <param name="blocks">Blocks, at any alignment; at least as many as the values need.</param>
    /// <param name="values">= floats; a whole number of blocks. Must not overlap the blocks.</param>
    /// <exception cref="ShapeException">The lengths do not fit.</exception>
    public static void Decode(WeightFormat format, ReadOnlySpan<byte> blocks, Span<float> values)
    {
        Require.Length(blocks.Length, format.RowBytes(values.Length), format.Name(), nameof(blocks));
        int count = values.Length / format.BlockLength();
        fixed (byte* source = blocks)
        fixed (float* y = values)
        {
            switch (format)
            {
                case WeightFormat.Q8_0:
                    DecodeQ8(source, y, count);
                    break;
                case WeightFormat.Q4_0:
                    DecodeQ40(source, y, count);
                    break;
                case WeightFormat.Q4_1:
                    DecodeQ41(source, y, count);
                    break;
                case WeightFormat.Q5_0:
                    DecodeQ50(source, y, count);
                    break;
                case WeightFormat.Q5_1:
                    DecodeQ51(source, y, count);
                    break;
                case WeightFormat.IQ4NL:
                    DecodeIQ4NL(source, y, count);
                    break;
                case WeightFormat.MXFP4:
                    DecodeMXFP4(source, y, count);
                    break;
                case WeightFormat.Q2K:
                    DecodeQ2K(source, y, count);
                    break;
                case WeightFormat.Q3K:
                    DecodeQ3K(source, y, count);
                    break;
                case WeightFormat.Q4K:
                    DecodeQ4K(source, y, count);
                    break;
                case WeightFormat.Q5K:
                    DecodeQ5K(source, y, count);
                    break;
                case WeightFormat.Q6K:
                    DecodeQ6K(source, y, count);
                    break;
                case WeightFormat.Q8K:
                    DecodeQ8K(source, y, count);
                    break;
                case WeightFormat.IQ4XS:
                    DecodeIQ4XS(source, y, count);
                    break;
                default:
                    DecodePlain(format, blocks, values);
                    break;
            }
        }
    }

    /// <summary>The ladder of the IQ4 formats: number of each 4-bit code.</summary>
    internal static Vector128<sbyte> UnevenLadder => Vector128.Create(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);

    /// <summary>Twice the number of each 4-bit float code: sign, 2 exponent bits, 1 fraction bit.</summary>
    internal static Vector128<sbyte> DoubledFloat4 => Vector128.Create(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);

    /// <summary>Half of the power of two that a block of 4-bit floats stores: 2^(code - 128), exact down to the subnormals of codes 0 and 1.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static float HalfPowerOfTwo(byte code)
    {
        const uint Smallest = 0x00200000; // 2^-128
        return BitConverter.UInt32BitsToSingle(code < 2 ? Smallest << code : (uint)(code - 1) << 23);
    }

    private static void DecodePlain(WeightFormat format, ReadOnlySpan<byte> source, Span<float> values)
    {
        switch (format)
        {
            case WeightFormat.F32:
                NumberFormats.ReadFloat32(source[..(values.Length * sizeof(float))], values);
                break;
            case WeightFormat.F16:
                NumberFormats.ReadFloat16(source, values);
                break;
            case WeightFormat.BF16:
                NumberFormats.ReadBFloat16(source, values);
                break;
            case WeightFormat.F64:
                NumberFormats.ReadFloat64(source, values);
                break;
            case WeightFormat.F8E4M3:
                SmallFloats.Look(SmallFloats.E4M3, source, values);
                break;
            case WeightFormat.F8E5M2:
                SmallFloats.Look(SmallFloats.E5M2, source, values);
                break;
            case WeightFormat.F8E8M0:
                SmallFloats.Look(SmallFloats.E8M0, source, values);
                break;
            default:
                DecodeIntegers(format, source, values);
                break;
        }
    }

    private static void DecodeIntegers(WeightFormat format, ReadOnlySpan<byte> source, Span<float> values)
    {
        int width = format.BlockBytes();
        for (int i = 0; i < values.Length; i++)
        {
            ReadOnlySpan<byte> bytes = source.Slice(i * width, width);
            values[i] = format switch
            {
                WeightFormat.I8 => (sbyte)bytes[0],
                WeightFormat.I16 => BitConverter.ToInt16(bytes),
                WeightFormat.I32 => BitConverter.ToInt32(bytes),
                WeightFormat.I64 => BitConverter.ToInt64(bytes),
                _ => throw new ArgumentOutOfRangeException(nameof(format), format, "no such weight format"),
            };
        }
    }

    // d, qs i8[32]: y = d q
    private static void DecodeQ8(byte* block, float* y, int count)
    {
        for (int b = 0; b < count; b++, block += 34, y += 32)
        {
            float d = Half(block);
            Sixteen.Scale(Vector128.Load((sbyte*)block + 2), d, y);
            Sixteen.Scale(Vector128.Load((sbyte*)block + 18), d, y + 16);
        }
    }

    // d, qs[16]: y = d (q - 8)
    private static void DecodeQ40(byte* block, float* y, int count)
    {
        Vector128<sbyte> middle = Vector128.Create((sbyte)8);
        for (int b = 0; b < count; b++, block += 18, y += 32)
        {
            float d = Half(block);
            Vector128<byte> nibbles = Vector128.Load(block + 2);
            Sixteen.Scale(Sixteen.Low(nibbles).AsSByte() - middle, d, y);
            Sixteen.Scale(Sixteen.High(nibbles).AsSByte() - middle, d, y + 16);
        }
    }

    // d, m, qs[16]: y = d q + m
    private static void DecodeQ41(byte* block, float* y, int count)
    {
        for (int b = 0; b < count; b++, block += 20, y += 32)
        {
            float d = Half(block);
            float m = Half(block + 2);
            Vector128<byte> nibbles = Vector128.Load(block + 4);
            Sixteen.ScaleAdd(Sixteen.Low(nibbles).AsSByte(), d, m, y);
            Sixteen.ScaleAdd(Sixteen.High(nibbles).AsSByte(), d, m, y + 16);
        }
    }

    // d, fifth bits u32, qs[16]: y = d (q - 16)
    private static void DecodeQ50(byte* block, float* y, int count)
    {
        Vector128<sbyte> middle = Vector128.Create((sbyte)16);
        for (int b = 0; b < count; b++, block += 22, y += 32)
        {
            float d = Half(block);
            uint fifth = Unsafe.ReadUnaligned<uint>(block + 2);
            Vector128<byte> nibbles = Vector128.Load(block + 6);
            Sixteen.Scale((Sixteen.Low(nibbles) | Sixteen.FifthBits(fifth)).AsSByte() - middle, d, y);
            Sixteen.Scale((Sixteen.High(nibbles) | Sixteen.FifthBits(fifth >> 16)).AsSByte() - middle, d, y + 16);
        }
    }

    // d, m, fifth bits u32, qs[16]: y = d q + m
    private static void DecodeQ51(byte* block, float* y, int count)
    {
        for (int b = 0; b < count; b++, block += 24, y += 32)
        {
            float d = Half(block);
            float m = Half(block + 2);
            uint fifth = Unsafe.ReadUnaligned<uint>(block + 4);
            Vector128<byte> nibbles = Vector128.Load(block + 8);
            Sixteen.ScaleAdd((Sixteen.Low(nibbles) | Sixteen.FifthBits(fifth)).AsSByte(), d, m, y);
            Sixteen.ScaleAdd((Sixteen.High(nibbles) | Sixteen.FifthBits(fifth >> 16)).AsSByte(), d, m, y + 16);
        }
    }

    // d, qs[16]: y = d ladder[q]
    private static void DecodeIQ4NL(byte* block, float* y, int count)
    {
        for (int b = 0; b < count; b++, block += 18, y += 32)
        {
            float d = Half(block);
            Vector128<byte> nibbles = Vector128.Load(block + 2);
            Sixteen.Scale(Vector128.Shuffle(UnevenLadder, Sixteen.Low(nibbles).AsSByte()), d, y);
            Sixteen.Scale(Vector128.Shuffle(UnevenLadder, Sixteen.High(nibbles).AsSByte()), d, y + 16);
        }
    }

    // exponent u8, qs[16]: y = 2^(exponent - 128) (2 float4[q])
    private static void DecodeMXFP4(byte* block, float* y, int count)
    {
        for (int b = 0; b < count; b++, block += 17, y += 32)
        {
            float d = HalfPowerOfTwo(block[0]);
            Vector128<byte> nibbles = Vector128.Load(block + 1);
            Sixteen.Scale(Vector128.Shuffle(DoubledFloat4, Sixteen.Low(nibbles).AsSByte()), d, y);
            Sixteen.Scale(Vector128.Shuffle(DoubledFloat4, Sixteen.High(nibbles).AsSByte()), d, y + 16);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static float Half(byte* bytes) => (float)BitConverter.UInt16BitsToHalf(Unsafe.ReadUnaligned<ushort>(bytes));
}
