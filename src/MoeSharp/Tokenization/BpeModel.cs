namespace MoeSharp.Tokenization;

/// <summary>Byte-pair encoding of one piece: split into symbols, then merge.</summary>
internal sealed class BpeModel : PieceModel
{
    private readonly MergeTable _merges;
    private readonly BpeSymbols _symbols;
    private readonly Dictionary<byte[], int>.AlternateLookup<ReadOnlySpan<byte>>? _wholePieces;

    /// <summary>Joins merges and symbols.</summary>
    /// <param name="merges">What merges.</param>
    /// <param name="symbols">How a piece becomes symbols.</param>
    /// <param name="wholePieces">Tokens by bytes when a piece that is a token needs no merging (ignore_merges); null otherwise.</param>
    /// <param name="wordStart">A character before which no merge ever joins, unless itself stands there; null when there is none.</param>
    public BpeModel(MergeTable merges, BpeSymbols symbols, Dictionary<byte[], int>? wholePieces, byte[]? wordStart)
        : base(wholePieces is null ? wordStart : null)
    {
        _merges = merges;
        _symbols = symbols;
        _wholePieces = wholePieces?.GetAlternateLookup<ReadOnlySpan<byte>>();
    }

    /// <inheritdoc/>
    protected override int Write(ReadOnlySpan<byte> piece, Span<int> ids, EncodeScratch scratch)
    {
        if (_wholePieces is { } wholePieces && wholePieces.TryGetValue(piece, out int whole))
        {
            ids[0] = whole;
            return 1;
        }

        int count = _symbols.Split(piece, ids);
        return scratch.Merger.Merge(_merges, ids[..count]);
    }
}

/// <summary>Turns a piece into the symbols that merging starts from.</summary>
internal abstract class BpeSymbols
{
    /// <summary>Writes the symbols of a piece; never more than its bytes.</summary>
    /// <param name="piece">Valid UTF-8.</param>
    /// <param name="symbols">Receives the symbols; at least as long as <paramref name="piece"/>.</param>
    /// <returns>How many were written.</returns>
    public abstract int Split(ReadOnlySpan<byte> piece, Span<int> symbols);
}

/// <summary>Every byte is a symbol; a byte that the vocabulary lacks becomes the unknown token, or nothing when there is none.</summary>
internal sealed class ByteSymbols(int[] idOfByte, int? unknown) : BpeSymbols
{
    /// <inheritdoc/>
    public override int Split(ReadOnlySpan<byte> piece, Span<int> symbols)
    {
        int count = 0;
        foreach (byte value in piece)
        {
            int id = idOfByte[value];
            id = id < 0 ? unknown ?? -1 : id;
            if (id >= 0)
            {
                symbols[count++] = id;
            }
        }

        return count;
    }
}

/// <summary>Every character is a symbol; one that the vocabulary lacks becomes its bytes, else the unknown token, else nothing.</summary>
/// <param name="idOfCodePoint">Tokens of one character.</param>
/// <param name="idOfByte">Tokens <c>&lt;0x00&gt;</c> to <c>&lt;0xFF&gt;</c>, -1 where missing; null without byte fallback.</param>
/// <param name="unknown">The unknown token.</param>
/// <param name="fuseUnknown">Unknown characters side by side are one token.</param>
internal sealed class CharacterSymbols(Dictionary<int, int> idOfCodePoint, int[]? idOfByte, int? unknown, bool fuseUnknown) : BpeSymbols
{
    /// <inheritdoc/>
    public override int Split(ReadOnlySpan<byte> piece, Span<int> symbols)
    {
        int count = 0;
        bool afterUnknown = false;
        for (int index = 0; index < piece.Length;)
        {
            int codePoint = CodePoint.At(piece, index, out int length);
            ReadOnlySpan<byte> bytes = piece.Slice(index, length);
            index += length;
            if (idOfCodePoint.TryGetValue(codePoint, out int id))
            {
                symbols[count++] = id;
                afterUnknown = false;
            }
            else if (idOfByte is not null && HasAllBytes(bytes))
            {
                foreach (byte value in bytes)
                {
                    symbols[count++] = idOfByte[value];
                }

                afterUnknown = false;
            }
            else if (unknown is int unknownId)
            {
                if (!(afterUnknown && fuseUnknown))
                {
                    symbols[count++] = unknownId;
                }

                afterUnknown = true;
            }
        }

        return count;
    }

    private bool HasAllBytes(ReadOnlySpan<byte> bytes)
    {
        foreach (byte value in bytes)
        {
            if (idOfByte![value] < 0) // Checked by the caller.
            {
                return false;
            }
        }

        return true;
    }
}

/// <summary>What one caller at a time reuses while encoding: a cache of pieces, buffers, counters.</summary>
internal sealed class EncodeScratch
{
    /// <summary>Ids of pieces seen before.</summary>
    public PieceCache Cache { get; } = new();

    /// <summary>Buffers of merging.</summary>
    public PieceMerger Merger { get; } = new();

    /// <summary>Buffers of finding the best cut.</summary>
    public CutScratch Cuts { get; } = new();

    /// <summary>Lists of splitting.</summary>
    public SplitScratch Split { get; } = new();

    /// <summary>Pieces of the stretch being encoded.</summary>
    public List<Piece> Pieces { get; set; } = [];

    /// <summary>Pieces of the next step.</summary>
    public List<Piece> NextPieces { get; set; } = [];
}

/// <summary>Compares byte strings by content, and lets a span look one up.</summary>
internal sealed class ByteStringComparer : IEqualityComparer<byte[]>, IAlternateEqualityComparer<ReadOnlySpan<byte>, byte[]>
{
    /// <inheritdoc/>
    public bool Equals(byte[]? x, byte[]? y) => x.AsSpan().SequenceEqual(y);

    /// <inheritdoc/>
    public int GetHashCode(byte[] obj) => GetHashCode(obj.AsSpan());

    /// <inheritdoc/>
    public byte[] Create(ReadOnlySpan<byte> alternate) => alternate.ToArray();

    /// <inheritdoc/>
    public bool Equals(ReadOnlySpan<byte> alternate, byte[] other) => alternate.SequenceEqual(other);

    /// <inheritdoc/>
    public int GetHashCode(ReadOnlySpan<byte> alternate)
    {
        HashCode hash = default;
        hash.AddBytes(alternate);
        return hash.ToHashCode();
    }
}
