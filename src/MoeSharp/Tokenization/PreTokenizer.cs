using System.Text;

namespace MoeSharp.Tokenization;

/// <summary>One step that cuts text into pieces, inside which the model merges. Some steps rewrite the text first.</summary>
internal abstract class PreTokenizer
{
    /// <summary>Appends the pieces that <paramref name="piece"/> of <paramref name="text"/> falls into.</summary>
    /// <param name="text">Valid UTF-8.</param>
    /// <param name="piece">The stretch to cut.</param>
    /// <param name="scratch">Reusable lists.</param>
    /// <param name="result">Receives the pieces.</param>
    public abstract void Split(ReadOnlySpan<byte> text, Piece piece, SplitScratch scratch, List<Piece> result);

    /// <summary>The text this step wants instead, with <paramref name="pieces"/> moved along; null when it takes the text as it is.</summary>
    /// <param name="text">Valid UTF-8.</param>
    /// <param name="pieces">Pieces so far; changed when a text is returned.</param>
    /// <param name="isStartOfInput">No text and no special token came before.</param>
    public virtual byte[]? Rewrite(ReadOnlySpan<byte> text, List<Piece> pieces, bool isStartOfInput) => null;
}

/// <summary>Lists that splitting reuses from piece to piece.</summary>
internal sealed class SplitScratch
{
    /// <summary>Matches of a pattern.</summary>
    public List<Piece> Matches { get; } = [];
}

/// <summary>What happens to the matches of a split pattern.</summary>
internal enum SplitBehavior
{
    /// <summary>They are dropped.</summary>
    Removed,

    /// <summary>Each is a piece of its own.</summary>
    Isolated,

    /// <summary>Each ends the piece before it.</summary>
    MergedWithPrevious,

    /// <summary>Each begins the piece after it.</summary>
    MergedWithNext,

    /// <summary>Matches side by side are one piece.</summary>
    Contiguous,
}

/// <summary>Cuts at the matches of a pattern.</summary>
internal sealed class SplitPreTokenizer(SplitPattern pattern, SplitBehavior behavior, bool invert) : PreTokenizer
{
    /// <inheritdoc/>
    public override void Split(ReadOnlySpan<byte> text, Piece piece, SplitScratch scratch, List<Piece> result)
    {
        List<Piece> matches = scratch.Matches;
        matches.Clear();
        pattern.FindMatches(text.Slice(piece.Start, piece.Length), matches);
        PieceBuilder builder = new(behavior, result);
        int position = piece.Start;
        foreach (Piece match in matches)
        {
            int start = piece.Start + match.Start;
            builder.Add(position, start, isMatch: invert);
            builder.Add(start, start + match.Length, isMatch: !invert);
            position = start + match.Length;
        }

        builder.Add(position, piece.End, isMatch: invert);
        builder.Finish();
    }

    private struct PieceBuilder(SplitBehavior behavior, List<Piece> result)
    {
        private int _openStart = -1;
        private int _openEnd;
        private bool _openIsMatch;

        public void Add(int start, int end, bool isMatch)
        {
            if (start == end)
            {
                return;
            }

            if (Joins(isMatch))
            {
                _openEnd = end;
                _openIsMatch = isMatch;
                return;
            }

            Finish();
            (_openStart, _openEnd, _openIsMatch) = (start, end, isMatch);
        }

        public void Finish()
        {
            if (_openStart >= 0 && !(behavior == SplitBehavior.Removed && _openIsMatch))
            {
                result.Add(new Piece(_openStart, _openEnd - _openStart));
            }

            _openStart = -1;
        }

        private readonly bool Joins(bool isMatch) => _openStart >= 0 && behavior switch
        {
            SplitBehavior.MergedWithPrevious => isMatch && !_openIsMatch,
            SplitBehavior.MergedWithNext => !isMatch && _openIsMatch,
            SplitBehavior.Contiguous => isMatch == _openIsMatch,
            _ => false,
        };
    }
}

/// <summary>Marks text whose tokens stand for bytes; may lead each piece with a blank and cut with the GPT-2 pattern.</summary>
internal sealed class ByteLevelPreTokenizer(bool addPrefixSpace, bool useRegex) : PreTokenizer
{
    private readonly SplitPreTokenizer? _split =
        useRegex ? new SplitPreTokenizer(KnownPatterns.Gpt2, SplitBehavior.Isolated, invert: false) : null;

    /// <inheritdoc/>
    public override byte[]? Rewrite(ReadOnlySpan<byte> text, List<Piece> pieces, bool isStartOfInput)
    {
        if (!addPrefixSpace)
        {
            return null;
        }

        using MemoryStream rewritten = new(text.Length + pieces.Count);
        for (int index = 0; index < pieces.Count; index++)
        {
            Piece piece = pieces[index];
            int start = checked((int)rewritten.Length);
            if (text[piece.Start] != ' ')
            {
                rewritten.WriteByte((byte)' ');
            }

            rewritten.Write(text.Slice(piece.Start, piece.Length));
            pieces[index] = new Piece(start, checked((int)rewritten.Length) - start);
        }

        return rewritten.ToArray();
    }

    /// <inheritdoc/>
    public override void Split(ReadOnlySpan<byte> text, Piece piece, SplitScratch scratch, List<Piece> result)
    {
        if (_split is null)
        {
            result.Add(piece);
        }
        else
        {
            _split.Split(text, piece, scratch, result);
        }
    }
}

/// <summary>When a Metaspace step leads the text with its stand-in for a blank.</summary>
internal enum PrependScheme
{
    /// <summary>Every stretch between special tokens.</summary>
    Always,

    /// <summary>Only the start of the input.</summary>
    First,

    /// <summary>Nowhere.</summary>
    Never,
}

/// <summary>Writes blanks as a visible stand-in (usually U+2581), leads the text with one, and may cut before each.</summary>
internal sealed class MetaspacePreTokenizer(string replacement, PrependScheme scheme, bool split) : PreTokenizer
{
    private readonly byte[] _replacement = Encoding.UTF8.GetBytes(replacement);
    private readonly SplitPreTokenizer? _split =
        split ? new SplitPreTokenizer(new LiteralPattern(replacement), SplitBehavior.MergedWithNext, invert: false) : null;

    /// <inheritdoc/>
    public override byte[]? Rewrite(ReadOnlySpan<byte> text, List<Piece> pieces, bool isStartOfInput)
    {
        using MemoryStream rewritten = new(text.Length * 2);
        for (int index = 0; index < pieces.Count; index++)
        {
            ReadOnlySpan<byte> old = text.Slice(pieces[index].Start, pieces[index].Length);
            int start = checked((int)rewritten.Length);
            bool leads = scheme == PrependScheme.Always || (scheme == PrependScheme.First && isStartOfInput && pieces[index].Start == 0);
            if (leads && old[0] != ' ' && !old.StartsWith(_replacement))
            {
                rewritten.Write(_replacement);
            }

            foreach (byte value in old)
            {
                if (value == ' ')
                {
                    rewritten.Write(_replacement);
                }
                else
                {
                    rewritten.WriteByte(value);
                }
            }

            pieces[index] = new Piece(start, checked((int)rewritten.Length) - start);
        }

        return rewritten.ToArray();
    }

    /// <inheritdoc/>
    public override void Split(ReadOnlySpan<byte> text, Piece piece, SplitScratch scratch, List<Piece> result)
    {
        if (_split is null)
        {
            result.Add(piece);
        }
        else
        {
            _split.Split(text, piece, scratch, result);
        }
    }
}
