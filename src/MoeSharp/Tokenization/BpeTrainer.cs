using System.Text;

namespace MoeSharp.Tokenization;

/// <summary>What <see cref="BpeTrainer"/> learns.</summary>
public sealed record BpeTrainerOptions
{
    /// <summary>Number of ids wanted: special tokens, 256 bytes, and one per merge. At least 256 plus the special tokens.</summary>
    public required int VocabSize { get; init; }

    /// <summary>The token that begins a text; id 0.</summary>
    public string BosToken { get; init; } = "<|begin_of_text|>";

    /// <summary>The token that ends a text; id 1.</summary>
    public string EosToken { get; init; } = "<|end_of_text|>";

    /// <summary>Further special tokens; ids from 2 on.</summary>
    public IReadOnlyList<string> AdditionalSpecialTokens { get; init; } = [];

    /// <summary>Pairs seen less often than this are not merged; learning then ends early with a smaller vocabulary.</summary>
    public int MinPairCount { get; init; } = 2;

    /// <summary>Checks all values.</summary>
    /// <exception cref="ConfigurationException">Something is wrong; the message lists every problem.</exception>
    public void Validate()
    {
        List<string> problems = [];
        string[] specials = [BosToken, EosToken, .. AdditionalSpecialTokens];
        int smallest = 256 + specials.Length;
        if (VocabSize < smallest)
        {
            problems.Add($"vocab_size {VocabSize} is too small: 256 bytes and {specials.Length} special tokens need at least {smallest}");
        }

        if (VocabSize > 1 << 24)
        {
            problems.Add($"vocab_size {VocabSize} is larger than {1 << 24}");
        }

        if (MinPairCount < 1)
        {
            problems.Add($"min_pair_count {MinPairCount} is not positive");
        }

        foreach (string special in specials)
        {
            // A single character could be one of the byte alphabet's.
            if (special.Length < 2 || specials.Count(other => other == special) > 1)
            {
                problems.Add($"special token '{special}' is shorter than 2 characters or given twice");
            }
        }

        if (problems.Count > 0)
        {
            throw new ConfigurationException($"Cannot train a tokenizer: {string.Join("; ", problems)}.");
        }
    }
}

/// <summary>
/// Learns a byte-level vocabulary from documents. The same documents in the same order give the same vocabulary on every machine.
/// </summary>
/// <remarks>
/// Ids: special tokens first (0 begins a text, 1 ends it), then the 256 bytes, then merges in the order they were learned. So the
/// special ids do not depend on the size, and a smaller vocabulary is the beginning of a larger one from the same text.
/// Each step merges the most frequent pair; among equally frequent pairs the one with the smaller left id, then the smaller right id.
/// Pieces longer than 256 bytes are counted in parts of at most that length, so that no text makes learning quadratic.
/// </remarks>
public static class BpeTrainer
{
    /// <summary>Learns a tokenizer.</summary>
    /// <param name="documents">UTF-8 texts; pieces never cross from one to the next. Each is read once, and not kept.</param>
    /// <param name="options">Size and special tokens.</param>
    /// <returns>A tokenizer with at most <see cref="BpeTrainerOptions.VocabSize"/> ids; fewer when the text holds no more pairs.</returns>
    /// <exception cref="ConfigurationException">An option is wrong, a document is not UTF-8, or there is no text at all.</exception>
    public static Tokenizer Train(IEnumerable<ReadOnlyMemory<byte>> documents, BpeTrainerOptions options)
    {
        options.Validate();
        PieceCounts counts = new(KnownPatterns.Multilingual);
        int number = 0;
        foreach (ReadOnlyMemory<byte> document in documents)
        {
            Utf8Text.ThrowIfInvalid(document.Span, $"document {number++}");
            counts.Add(document.Span);
        }

        if (counts.Pieces.Count == 0)
        {
            throw new ConfigurationException("Cannot train a tokenizer: there is no text in the data.");
        }

        string[] specials = [options.BosToken, options.EosToken, .. options.AdditionalSpecialTokens];
        MergeLearner learner = new(counts, specials.Length, SpellableInBytes(specials));
        List<LearnedMerge> merges = learner.Learn(options.VocabSize - 256 - specials.Length, options.MinPairCount);
        TrainedTokenizerWriter writer = new(specials, learner.Tokens, merges);
        byte[] config = TrainedTokenizerWriter.WriteConfig(options.BosToken, options.EosToken);
        return TokenizerFile.Parse(writer.WriteTokenizer(), "trained tokenizer", config, "trained tokenizer settings");
    }

    private static IEnumerable<byte[]> SpellableInBytes(string[] specials)
    {
        foreach (string special in specials)
        {
            byte[] bytes = new byte[special.Length];
            if (ByteAlphabet.TryToBytes(special, bytes))
            {
                yield return bytes;
            }
        }
    }
}

/// <summary>Distinct pieces of a text, in order of first appearance, and how often each occurs.</summary>
internal sealed class PieceCounts(SplitPattern pattern)
{
    private const int LongestPiece = 256;

    private readonly Dictionary<byte[], int> _index = new(new ByteStringComparer());
    private readonly List<Piece> _matches = [];

    /// <summary>The pieces.</summary>
    public List<byte[]> Pieces { get; } = [];

    /// <summary>Occurrences of each piece.</summary>
    public List<long> Counts { get; } = [];

    /// <summary>Counts the pieces of a document.</summary>
    public void Add(ReadOnlySpan<byte> document)
    {
        _matches.Clear();
        pattern.FindMatches(document, _matches);
        Dictionary<byte[], int>.AlternateLookup<ReadOnlySpan<byte>> lookup = _index.GetAlternateLookup<ReadOnlySpan<byte>>();
        foreach (Piece match in _matches)
        {
            ReadOnlySpan<byte> rest = document.Slice(match.Start, match.Length);
            while (!rest.IsEmpty)
            {
                int length = PartLength(rest);
                Count(rest[..length], lookup);
                rest = rest[length..];
            }
        }
    }

    private void Count(ReadOnlySpan<byte> piece, Dictionary<byte[], int>.AlternateLookup<ReadOnlySpan<byte>> lookup)
    {
        if (lookup.TryGetValue(piece, out int index))
        {
            Counts[index]++;
            return;
        }

        byte[] bytes = piece.ToArray();
        _index.Add(bytes, Pieces.Count);
        Pieces.Add(bytes);
        Counts.Add(1);
    }

    private static int PartLength(ReadOnlySpan<byte> rest)
    {
        if (rest.Length <= LongestPiece)
        {
            return rest.Length;
        }

        int length = LongestPiece;
        while ((rest[length] & 0xC0) == 0x80)
        {
            length--;
        }

        return length;
    }
}
