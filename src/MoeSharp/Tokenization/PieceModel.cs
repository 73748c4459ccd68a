using System.Buffers;

namespace MoeSharp.Tokenization;

/// <summary>Turns pieces of text into ids. Immutable; what changes lives in <see cref="EncodeScratch"/>.</summary>
/// <param name="wordStart">A character that stands in a token only at its start, alone or repeated; null when there is none.</param>
internal abstract class PieceModel(byte[]? wordStart)
{
    /// <summary>Appends the ids of a piece.</summary>
    /// <param name="piece">Valid UTF-8.</param>
    /// <param name="ids">Receives the ids.</param>
    /// <param name="scratch">Cache and buffers of the caller.</param>
    public void Encode(ReadOnlySpan<byte> piece, List<int> ids, EncodeScratch scratch)
    {
        // SentencePiece vocabularies see a whole text as one piece; word by word gives the same ids, and words repeat.
        while (wordStart is not null && EndOfWord(piece, wordStart) is int end && end < piece.Length)
        {
            EncodeWhole(piece[..end], ids, scratch);
            piece = piece[end..];
        }

        EncodeWhole(piece, ids, scratch);
    }

    /// <summary>Writes the ids of a piece; never more than its bytes.</summary>
    /// <param name="piece">Valid UTF-8.</param>
    /// <param name="ids">Receives the ids; at least as long as <paramref name="piece"/>.</param>
    /// <param name="scratch">Buffers of the caller.</param>
    /// <returns>How many were written.</returns>
    protected abstract int Write(ReadOnlySpan<byte> piece, Span<int> ids, EncodeScratch scratch);

    private void EncodeWhole(ReadOnlySpan<byte> piece, List<int> ids, EncodeScratch scratch)
    {
        bool isShort = piece.Length <= PieceCache.MaxPieceBytes;
        uint hash = isShort ? PieceCache.HashOf(piece) : 0;
        if (isShort && scratch.Cache.TryAppend(piece, hash, ids))
        {
            return;
        }

        int[]? rented = isShort ? null : ArrayPool<int>.Shared.Rent(piece.Length);
        Span<int> symbols = rented is null ? stackalloc int[PieceCache.MaxPieceBytes] : rented;
        int count = Write(piece, symbols, scratch);
        ids.AddRange(symbols[..count]);
        if (rented is not null)
        {
            ArrayPool<int>.Shared.Return(rented);
        }
        else
        {
            scratch.Cache.Add(piece, hash, symbols[..count]);
        }
    }

    private static int EndOfWord(ReadOnlySpan<byte> piece, ReadOnlySpan<byte> wordStart)
    {
        int index = 0;
        while (piece[index..].StartsWith(wordStart))
        {
            index += wordStart.Length;
        }

        int next = piece[index..].IndexOf(wordStart);
        return next < 0 ? piece.Length : index + next;
    }
}
