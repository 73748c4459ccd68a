using System.Buffers;
using System.Collections.Concurrent;
using MoeSharp.Kernels;
using MoeSharp.Kernels.Formats;

namespace MoeSharp.Checkpoints;

/// <summary>A model folder whose weights have their scales in tensors of their own; here every weight is one tensor again.</summary>
/// <remarks>
/// Two forms. <c>X</c> in 8-bit floats with <c>X_scale_inv</c>, one scale per rectangle of the matrix (the last one of a row or column may be cut off): read as float32.
/// <c>X_blocks</c> and <c>X_scales</c>, 4-bit floats in blocks of 32: read as <see cref="WeightFormat.MXFP4"/> named <c>X</c>, without loss. Other tensors pass through.
/// </remarks>
public sealed class ScaledSource : IWeightSource
{
    private const string ScaleSuffix = "_scale_inv";
    private const string BlocksSuffix = "_blocks";
    private const string ScalesSuffix = "_scales";
    private const int PackedBytes = 16;
    private const int PieceBlocks = 1 << 10;
    private const int PieceScales = 64;

    private readonly SafetensorsFolder _folder;
    private readonly int _blockRows;
    private readonly int _blockColumns;
    private readonly List<string> _names = [];
    private readonly ConcurrentDictionary<string, ScaledTensor?> _known = new(StringComparer.Ordinal); // checked once, read row by row

    /// <summary>Wraps a folder.</summary>
    /// <param name="folder">Folder; owned from now on.</param>
    /// <param name="blockRows">Rows that share a scale; <c>weight_block_size[0]</c> of the configuration.</param>
    /// <param name="blockColumns">Columns that share a scale.</param>
    public ScaledSource(SafetensorsFolder folder, int blockRows, int blockColumns)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(blockRows, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(blockColumns, 1);
        _folder = folder;
        _blockRows = blockRows;
        _blockColumns = blockColumns;
        foreach (string name in folder.Names)
        {
            if (IsPart(name, BlocksSuffix, ScalesSuffix))
            {
                _names.Add(name[..^BlocksSuffix.Length]);
            }
            else if (!IsPart(name, ScalesSuffix, BlocksSuffix) && !IsPart(name, ScaleSuffix, ""))
            {
                _names.Add(name);
            }
        }
    }

    /// <inheritdoc/>
    public string Description => _folder.Description;

    /// <inheritdoc/>
    public IReadOnlyCollection<string> Names => _names;

    /// <inheritdoc/>
    public WeightTensor? Find(string name) => Known(name) is { } tensor ? tensor.Tensor : _folder.Find(name);

    /// <inheritdoc/>
    public void ReadBlocks(WeightTensor tensor, long firstElement, long count, Span<byte> blocks)
    {
        switch (Known(tensor.Name))
        {
            case null:
                _folder.ReadBlocks(tensor, firstElement, count, blocks);
                break;
            case { IsFloat4: true } float4:
                ReadFloat4(float4, firstElement, count, blocks);
                break;
            case { } scaled:
                float[] values = ArrayPool<float>.Shared.Rent(checked((int)count));
                ReadScaled(scaled, firstElement, values.AsSpan(0, (int)count));
                NumberFormats.Bytes(values.AsSpan(0, (int)count)).CopyTo(blocks);
                ArrayPool<float>.Shared.Return(values);
                break;
        }
    }

    /// <inheritdoc/>
    public void ReadFloats(WeightTensor tensor, long firstElement, Span<float> values)
    {
        switch (Known(tensor.Name))
        {
            case null:
                _folder.ReadFloats(tensor, firstElement, values);
                break;
            case { IsFloat4: true } float4:
                ReadFloat4(float4, firstElement, values);
                break;
            case { } scaled:
                ReadScaled(scaled, firstElement, values);
                break;
        }
    }

    /// <summary>Whether the folder has a tensor of this name, parts included.</summary>
    internal bool Stores(string name) => _folder.FileOf(name) is not null;

    /// <inheritdoc/>
    public void Dispose() => _folder.Dispose();

    private bool IsPart(string name, string suffix, string other) => name.EndsWith(suffix, StringComparison.Ordinal) && _folder.FileOf(name[..^suffix.Length] + other) is not null;

    // Null for a tensor that is stored as it is.
    private ScaledTensor? Known(string name) => _known.TryGetValue(name, out ScaledTensor? tensor) ? tensor : _known.GetOrAdd(name, Describe);

    private ScaledTensor? Describe(string name) =>
        _folder.FileOf(name + BlocksSuffix) is not null && _folder.FileOf(name + ScalesSuffix) is not null ? Float4(name)
        : _folder.FileOf(name + ScaleSuffix) is not null ? Scaled(name)
        : null;

    private SafetensorsTensor Part(string name, out SafetensorsFile file)
    {
        file = _folder.FileOf(name) ?? throw new FileFormatException($"{Description}: the tensor {SafetensorsHeader.Shown(name)} is missing; its scales are there");
        return file.Tensor(name);
    }

    private ScaledTensor Float4(string name)
    {
        SafetensorsTensor blocks = Part(name + BlocksSuffix, out SafetensorsFile blocksFile);
        SafetensorsTensor scales = Part(name + ScalesSuffix, out SafetensorsFile scalesFile);
        bool fits = blocks.Type == SafetensorsType.U8 && scales.Type == SafetensorsType.U8
            && blocks.Shape.Count >= 2 && blocks.Shape[^1] == PackedBytes
            && blocks.Shape.SkipLast(1).SequenceEqual(scales.Shape);
        if (!fits)
        {
            throw Misfit(blocks, scales, "blocks of 16 bytes and one scale for each, both U8");
        }

        long columns = checked(blocks.Shape[^2] * WeightFormat.MXFP4.BlockLength());
        return new ScaledTensor(new WeightTensor(name, [.. blocks.Shape.SkipLast(2), columns], WeightFormat.MXFP4), blocks, blocksFile, scales, scalesFile);
    }

    private ScaledTensor Scaled(string name)
    {
        SafetensorsTensor codes = Part(name, out SafetensorsFile codesFile);
        SafetensorsTensor scales = Part(name + ScaleSuffix, out SafetensorsFile scalesFile);
        bool fits = codes.Type is SafetensorsType.F8E4M3 or SafetensorsType.F8E5M2 && scales.Type.Format() is not null
            && codes.Shape.Count >= 2 && scales.Shape.Count == codes.Shape.Count
            && codes.Shape.SkipLast(2).SequenceEqual(scales.Shape.SkipLast(2))
            && scales.Shape[^2] == Blocks(codes.Shape[^2], _blockRows) && scales.Shape[^1] == Blocks(codes.Shape[^1], _blockColumns);
        return fits
            ? new ScaledTensor(new WeightTensor(name, codes.Shape, WeightFormat.F32), codes, codesFile, scales, scalesFile)
            : throw Misfit(codes, scales, $"8-bit floats with one scale per {_blockRows} x {_blockColumns} of them (weight_block_size)");
    }

    private static long Blocks(long length, int block) => (length / block) + (length % block == 0 ? 0 : 1);

    private FileFormatException Misfit(SafetensorsTensor first, SafetensorsTensor second, string expected) =>
        new($"{Description}: {Shown(first)} and {Shown(second)} do not fit together: expected {expected}");

    private static string Shown(SafetensorsTensor tensor) => $"{SafetensorsHeader.Shown(tensor.Name)} {tensor.Type.Name()} [{string.Join(", ", tensor.Shape)}]";

    private void ReadScaled(ScaledTensor tensor, long first, Span<float> values)
    {
        tensor.ValuesFile.ReadFloats(tensor.Values.Name, first, values);
        (long rows, long columns) = (tensor.Values.Shape[^2], tensor.Values.Shape[^1]);
        (long scaleRows, long scaleColumns) = (tensor.Scales.Shape[^2], tensor.Scales.Shape[^1]);
        Span<float> scales = stackalloc float[PieceScales];
        for (int done = 0; done < values.Length;)
        {
            (long row, long column) = Math.DivRem(first + done, columns);
            long scaleRow = (row / rows * scaleRows) + (row % rows / _blockRows);
            long block = column / _blockColumns;
            Span<float> known = scales[..(int)Math.Min(PieceScales, scaleColumns - block)];
            tensor.ScalesFile.ReadFloats(tensor.Scales.Name, (scaleRow * scaleColumns) + block, known);
            for (int i = 0; i < known.Length && done < values.Length; i++)
            {
                long end = Math.Min((block + i + 1) * _blockColumns, columns);
                int count = (int)Math.Min(end - column, values.Length - done);
                SmallFloats.Scale(values.Slice(done, count), known[i]);
                done += count;
                column += count;
            }
        }
    }

    private static void ReadFloat4(ScaledTensor tensor, long first, long count, Span<byte> blocks)
    {
        byte[] packed = ArrayPool<byte>.Shared.Rent(PieceBlocks * PackedBytes);
        Span<byte> scales = stackalloc byte[PieceBlocks];
        long firstBlock = first / WeightFormat.MXFP4.BlockLength();
        int total = checked((int)(count / WeightFormat.MXFP4.BlockLength()));
        for (int done = 0; done < total; done += PieceBlocks)
        {
            int piece = Math.Min(PieceBlocks, total - done);
            tensor.ValuesFile.ReadBytes(tensor.Values.Name, (firstBlock + done) * PackedBytes, piece * PackedBytes, packed);
            tensor.ScalesFile.ReadBytes(tensor.Scales.Name, firstBlock + done, piece, scales);
            Float4Order.Join(packed.AsSpan(0, piece * PackedBytes), scales[..piece], blocks[(done * WeightFormat.MXFP4.BlockBytes())..]);
        }

        ArrayPool<byte>.Shared.Return(packed);
    }

    // The range may begin and end inside a block.
    private static void ReadFloat4(ScaledTensor tensor, long first, Span<float> values)
    {
        const int Length = 32;
        byte[] blocks = ArrayPool<byte>.Shared.Rent(PieceBlocks * WeightFormat.MXFP4.BlockBytes());
        Span<float> whole = stackalloc float[Length];
        for (int done = 0; done < values.Length;)
        {
            int before = (int)((first + done) % Length);
            int inside = before == 0 ? Math.Min(values.Length - done, PieceBlocks * Length) / Length * Length : 0;
            if (inside > 0)
            {
                ReadFloat4(tensor, first + done, inside, blocks);
                BlockDecoder.Decode(WeightFormat.MXFP4, blocks, values.Slice(done, inside));
                done += inside;
                continue;
            }

            int count = Math.Min(Length - before, values.Length - done);
            ReadFloat4(tensor, first + done - before, Length, blocks);
            BlockDecoder.Decode(WeightFormat.MXFP4, blocks, whole);
            whole.Slice(before, count).CopyTo(values[done..]);
            done += count;
        }

        ArrayPool<byte>.Shared.Return(blocks);
    }

    private sealed record ScaledTensor(WeightTensor Tensor, SafetensorsTensor Values, SafetensorsFile ValuesFile, SafetensorsTensor Scales, SafetensorsFile ScalesFile)
    {
        public bool IsFloat4 => Tensor.Format == WeightFormat.MXFP4;
    }
}
