using System.Runtime.Intrinsics;

namespace MoeSharp.Kernels.Formats;

/// <summary>Reorders blocks of 4-bit floats that were stored as two tensors into <see cref="WeightFormat.MXFP4"/> blocks; no value changes.</summary>
public static class Float4Order
{
    private const int PackedBytes = 16; // 32 values

    /// <summary>Joins nibbles and powers of two.</summary>
    /// <param name="packed">16 bytes per block: byte j holds values 2 j (low nibble) and 2 j + 1 (high nibble).</param>
    /// <param name="scales">One byte per block: power of two plus 127.</param>
    /// <param name="blocks">= blocks of 17 bytes: the power, then byte j with values j and j + 16.</param>
    /// <exception cref="ShapeException">The lengths do not fit.</exception>
    public static void Join(ReadOnlySpan<byte> packed, ReadOnlySpan<byte> scales, Span<byte> blocks)
    {
        int blockBytes = WeightFormat.MXFP4.BlockBytes();
        Require.Length(packed.Length, (long)scales.Length * PackedBytes, nameof(Float4Order), nameof(packed));
        Require.Length(blocks.Length, (long)scales.Length * blockBytes, nameof(Float4Order), nameof(blocks));

        // Every byte twice; then the low nibble of the even copies and the high nibble of the odd ones are 16 values in order.
        Vector128<byte> firstTwice = Vector128.Create((byte)0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
        Vector128<byte> lastTwice = firstTwice + Vector128.Create((byte)8);
        Vector128<byte> even = Vector128.Create((ushort)0x000F).AsByte();
        Vector128<byte> odd = Vector128.Create((ushort)0x0F00).AsByte();
        for (int block = 0; block < scales.Length; block++)
        {
            Vector128<byte> bytes = Vector128.Create(packed.Slice(block * PackedBytes, PackedBytes));
            Vector128<byte> first = Vector128.Shuffle(bytes, firstTwice);
            Vector128<byte> last = Vector128.Shuffle(bytes, lastTwice);
            first = (first & even) | (Sixteen.High(first) & odd);
            last = (last & even) | (Sixteen.High(last) & odd);
            Span<byte> output = blocks.Slice(block * blockBytes, blockBytes);
            output[0] = scales[block];
            (first | (last.AsUInt16() << 4).AsByte()).CopyTo(output[1..]);
        }
    }
}
