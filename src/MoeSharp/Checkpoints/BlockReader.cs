using System.Buffers;
using MoeSharp.Kernels.Formats;

namespace MoeSharp.Checkpoints;

/// <summary>Reads elements of stored tensors as floats, in pieces that stay in the cache.</summary>
internal static class BlockReader
{
    private const int PieceLength = 1 << 15; // elements
    private const int LongestBlock = 256; // elements

    /// <summary>Reads any range, also one that begins or ends inside a block.</summary>
    /// <param name="source">Checkpoint; only its blocks are read.</param>
    /// <param name="tensor">Tensor.</param>
    /// <param name="first">First element.</param>
    /// <param name="values">= elements from there on.</param>
    public static void ReadFloats(IWeightSource source, WeightTensor tensor, long first, Span<float> values)
    {
        int block = tensor.Format.BlockLength();
        Span<float> one = stackalloc float[LongestBlock];
        byte[] bytes = ArrayPool<byte>.Shared.Rent((int)tensor.Format.RowBytes(PieceLength));
        for (int done = 0; done < values.Length;)
        {
            int before = (int)((first + done) % block);
            int whole = Math.Min(values.Length - done, PieceLength) / block * block;
            if (before == 0 && whole > 0)
            {
                Decode(source, tensor, first + done, bytes, values.Slice(done, whole));
                done += whole;
                continue;
            }

            // One block of which only a part is wanted.
            int count = Math.Min(block - before, values.Length - done);
            Decode(source, tensor, first + done - before, bytes, one[..block]);
            one.Slice(before, count).CopyTo(values[done..]);
            done += count;
        }

        ArrayPool<byte>.Shared.Return(bytes);
    }

    private static void Decode(IWeightSource source, WeightTensor tensor, long first, byte[] bytes, Span<float> values)
    {
        Span<byte> blocks = bytes.AsSpan(0, (int)tensor.Format.RowBytes(values.Length));
        source.ReadBlocks(tensor, first, values.Length, blocks);
        BlockDecoder.Decode(tensor.Format, blocks, values);
    }
}
