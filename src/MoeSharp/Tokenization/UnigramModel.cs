using System.Text;

namespace MoeSharp.Tokenization;

/// <summary>A token of a unigram vocabulary.</summary>
/// <param name="Text">What it covers.</param>
/// <param name="Id">Its id.</param>
/// <param name="Score">Its log-probability.</param>
internal readonly record struct ScoredToken(string Text, int Id, double Score);

/// <summary>
/// A unigram vocabulary: of all ways to cut a piece into tokens, the one whose scores have the highest sum.
/// </summary>
/// <remarks>
/// T. Kudo, Subword Regularization, arXiv 1804.10959, section 3.1, equation 5; the best way is found with A. Viterbi's algorithm, in time
/// linear in the piece, for tokens have a greatest length. Sums are double. What the paper leaves open follows SentencePiece: a
/// character that is no token itself costs the lowest score less 10, and of equal sums the one whose last token is longest is taken.
/// </remarks>
internal sealed class UnigramModel : PieceModel
{
    /// <summary>Tokens are searched at each character, which costs up to their length; published ones stay under 100 characters.</summary>
    public const int LongestToken = 512;

    private const char BlankStandIn = '\u2581';
    private const double UnknownPenalty = 10;

    private readonly TokenTrie _trie;
    private readonly double[] _scores;
    private readonly int[] _ids;
    private readonly int _unknown;
    private readonly double _unknownScore;
    private readonly int[]? _idOfByte;

    /// <summary>Builds the search.</summary>
    /// <param name="tokens">The tokens; none twice.</param>
    /// <param name="unknown">Id of the token for what no token covers.</param>
    /// <param name="idOfByte">Tokens <c>&lt;0x00&gt;</c> to <c>&lt;0xFF&gt;</c>, -1 where missing; null without byte fallback.</param>
    public UnigramModel(IReadOnlyList<ScoredToken> tokens, int unknown, int[]? idOfByte)
        : base(WordStart(tokens))
    {
        _trie = new TokenTrie([.. tokens.Select(token => Encoding.UTF8.GetBytes(token.Text))]);
        _scores = [.. tokens.Select(token => token.Score)];
        _ids = [.. tokens.Select(token => token.Id)];
        _unknown = unknown;
        _unknownScore = (_scores.Length == 0 ? 0 : _scores.Min()) - UnknownPenalty;
        _idOfByte = idOfByte;
    }

    /// <inheritdoc/>
    protected override int Write(ReadOnlySpan<byte> piece, Span<int> ids, EncodeScratch scratch)
    {
        Cut[] cuts = scratch.Cuts.Take(piece.Length + 1);
        FindBest(piece, cuts);
        int first = ids.Length;
        for (int end = piece.Length; end > 0;)
        {
            int start = cuts[end].Start;
            if (cuts[end].Id != _unknown)
            {
                ids[--first] = cuts[end].Id;
                end = start;
                continue;
            }

            while (start > 0 && cuts[start].Id == _unknown)
            {
                start = cuts[start].Start;
            }

            first = WriteUnknown(piece[start..end], ids, first);
            end = start;
        }

        ids[first..].CopyTo(ids);
        return ids.Length - first;
    }

    /// <summary>Notes for each place the last token of the best way to it.</summary>
    private void FindBest(ReadOnlySpan<byte> piece, Cut[] cuts)
    {
        Array.Fill(cuts, new Cut(double.NegativeInfinity, -1, -1), 0, piece.Length + 1);
        cuts[0] = new Cut(0, 0, -1);
        for (int start = 0; start < piece.Length;)
        {
            CodePoint.At(piece, start, out int length);
            double soFar = cuts[start].Score;
            bool isCovered = false;
            int node = TokenTrie.Root;
            for (int end = start; end < piece.Length && _trie.TryStep(ref node, piece[end]);)
            {
                end++;
                if (_trie.TokenAt(node) is int token and >= 0)
                {
                    isCovered |= end - start == length;
                    Offer(ref cuts[end], soFar + _scores[token], start, _ids[token]);
                }
            }

            if (!isCovered)
            {
                Offer(ref cuts[start + length], soFar + _unknownScore, start, _unknown);
            }

            start += length;
        }
    }

    // Sums only fall short of infinity: a place is reached by the first offer whatever its sum.
    private static void Offer(ref Cut best, double score, int start, int id)
    {
        if (best.Start < 0 || score > best.Score)
        {
            best = new Cut(score, start, id);
        }
    }

    /// <summary>Writes a run of characters that no token covers: its bytes, else the unknown token once.</summary>
    private int WriteUnknown(ReadOnlySpan<byte> run, Span<int> ids, int first)
    {
        if (_idOfByte is not null && HasAllBytes(run, _idOfByte))
        {
            for (int index = run.Length - 1; index >= 0; index--)
            {
                ids[--first] = _idOfByte[run[index]];
            }

            return first;
        }

        ids[--first] = _unknown;
        return first;
    }

    private static bool HasAllBytes(ReadOnlySpan<byte> run, int[] idOfByte)
    {
        foreach (byte value in run)
        {
            if (idOfByte[value] < 0)
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>The stand-in for a blank, if it is a token and none has it behind another character: then every best way cuts before it.</summary>
    private static byte[]? WordStart(IReadOnlyList<ScoredToken> tokens)
    {
        bool isToken = false;
        foreach (ScoredToken token in tokens)
        {
            isToken |= token.Text is [BlankStandIn];
            if (token.Text.AsSpan().TrimStart(BlankStandIn).Contains(BlankStandIn))
            {
                return null;
            }
        }

        return isToken ? Encoding.UTF8.GetBytes([BlankStandIn]) : null;
    }
}

/// <summary>The best way to a place in a piece.</summary>
/// <param name="Score">Sum of its scores.</param>
/// <param name="Start">Where its last token begins; -1 when there is no way.</param>
/// <param name="Id">Id of its last token.</param>
internal readonly record struct Cut(double Score, int Start, int Id);

/// <summary>Buffers of finding the best cut; given back when a long piece has made them large.</summary>
internal sealed class CutScratch
{
    // Arbitrary: 1 MiB.
    private const int LargestKept = 1 << 16;

    private Cut[] _cuts = [];

    /// <summary>Places of a piece; what they hold is left over from another.</summary>
    public Cut[] Take(int count)
    {
        if (count > LargestKept)
        {
            return new Cut[count];
        }

        if (_cuts.Length < count)
        {
            _cuts = new Cut[Math.Min(LargestKept, Math.Max(256, count * 2))];
        }

        return _cuts;
    }
}
