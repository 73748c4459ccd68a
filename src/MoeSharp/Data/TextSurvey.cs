using System.Text;
using MoeSharp.Tokenization;

namespace MoeSharp.Data;

/// <summary>What a source holds: documents, bytes, scripts, tokens, how it would be split, and its baselines.</summary>
public sealed class TextSurvey
{
    private readonly long[] _scriptCharacters = new long[ScriptNames.Length];
    private readonly SortedDictionary<string, DomainCount> _domains = new(StringComparer.Ordinal);

    private TextSurvey()
    {
    }

    /// <summary>Writing systems told apart by code point; the rest is "other".</summary>
    public static IReadOnlyList<string> Scripts => ScriptNames;

    /// <summary>Documents.</summary>
    public long NumDocuments { get; private set; }

    /// <summary>Bytes of UTF-8.</summary>
    public long NumBytes { get; private set; }

    /// <summary>Characters (code points).</summary>
    public long NumCharacters { get; private set; }

    /// <summary>Bytes of the longest document.</summary>
    public long LongestDocumentBytes { get; private set; }

    /// <summary>Tokens without begin and end of documents; null without a tokenizer.</summary>
    public long? NumTokens { get; private set; }

    /// <summary>Bytes of text for training.</summary>
    public long TrainBytes { get; private set; }

    /// <summary>Bytes of text for validation.</summary>
    public long ValidationBytes { get; private set; }

    /// <summary>Bits per byte of the validation text by byte statistics of the training text.</summary>
    public NGramBaselines Baselines { get; private set; }

    /// <summary>What was worth telling.</summary>
    public IReadOnlyList<string> Warnings { get; private set; } = [];

    /// <summary>Documents and bytes of each domain; the empty name is of documents without one.</summary>
    public IReadOnlyDictionary<string, DomainCount> Domains => _domains;

    private static string[] ScriptNames { get; } = ["ASCII letters", "digits", "white space", "ASCII signs", "Latin", "Greek", "Cyrillic", "Hebrew", "Arabic", "Devanagari", "Thai", "Kana", "Hangul", "Han", "CJK signs", "other"];

    /// <summary>Reads a source twice: to choose the split, and to count.</summary>
    /// <param name="source">The source.</param>
    /// <param name="tokenizerPath">tokenizer.json or its folder; null counts no tokens.</param>
    /// <param name="validationFraction">Share of the text for validation.</param>
    /// <exception cref="ConfigurationException">The source is not text, or the fraction is out of range.</exception>
    public static TextSurvey Of(IDocumentSource source, string? tokenizerPath, double validationFraction)
    {
        DatasetOptions options = new() { ValidationFraction = validationFraction };
        options.Validate();
        Tokenizer? tokenizer = tokenizerPath is null ? null : Tokenizer.Load(tokenizerPath);
        SplitPlan plan = SplitPlan.Make(source, options, _ => { });
        TextSurvey survey = new();
        ByteCounts train = new();
        ByteCounts validation = new();
        List<int> tokens = [];
        long documentBytes = 0;
        bool isCut = false;
        foreach (TextPassage passage in source.ReadPassages())
        {
            ReadOnlySpan<byte> text = passage.Utf8.Span;
            long bytesBefore = passage.BeginsDocument ? 0 : documentBytes;
            documentBytes = bytesBefore + text.Length;
            int cut = isCut || plan.CutByte == 0 ? -1 : plan.CutWithin(passage, bytesBefore);
            bool isValidation = isCut || (plan.CutByte == 0 && plan.IsValidation((int)survey.NumDocuments));
            if (cut >= 0)
            {
                train.Add(text[..cut], passage.BeginsDocument, endsDocument: false);
                validation.Add(text[cut..], beginsDocument: true, passage.EndsDocument);
                isCut = true;
            }
            else
            {
                (isValidation ? validation : train).Add(text, passage.BeginsDocument, passage.EndsDocument);
            }

            survey.CountPassage(passage, documentBytes);
            if (tokenizer is not null)
            {
                tokens.Clear();
                tokenizer.Encode(text, tokens);
                survey.NumTokens = (survey.NumTokens ?? 0) + tokens.Count;
            }
        }

        survey.TrainBytes = train.NumBytes;
        survey.ValidationBytes = validation.NumBytes;
        survey.Warnings = source.Warnings;
        survey.Baselines = train.NumBytes > 0 && validation.NumBytes > 0 ? NGramBaselines.Measure(train, validation) : new NGramBaselines(double.NaN, double.NaN);
        return survey;
    }

    /// <summary>Characters of a script.</summary>
    /// <param name="script">Index into <see cref="Scripts"/>.</param>
    public long CharactersOf(int script) => _scriptCharacters[script];

    private void CountPassage(TextPassage passage, long documentBytes)
    {
        DomainCount more = new(passage.EndsDocument ? 1 : 0, passage.Utf8.Length);
        NumDocuments += more.Documents;
        NumBytes += more.Bytes;
        LongestDocumentBytes = Math.Max(LongestDocumentBytes, documentBytes);
        _domains[passage.Domain] = _domains.GetValueOrDefault(passage.Domain) + more;
        ReadOnlySpan<byte> rest = passage.Utf8.Span;
        while (rest.Length > 0)
        {
            Rune.DecodeFromUtf8(rest, out Rune character, out int length);
            rest = rest[length..];
            _scriptCharacters[ScriptOf(character.Value)]++;
            NumCharacters++;
        }
    }

    private static int ScriptOf(int character) => character switch
    {
        < 0x80 => AsciiKind((char)character),
        (>= 0xC0 and < 0x250) or (>= 0x1E00 and < 0x1F00) => 4,
        (>= 0x370 and < 0x400) or (>= 0x1F00 and < 0x2000) => 5,
        >= 0x400 and < 0x530 => 6,
        >= 0x590 and < 0x600 => 7,
        (>= 0x600 and < 0x780) or (>= 0xFB50 and < 0xFE00) or (>= 0xFE70 and < 0xFEFF) => 8,
        >= 0x900 and < 0x980 => 9,
        >= 0xE00 and < 0xE80 => 10,
        >= 0x3040 and < 0x3100 => 11,
        (>= 0xAC00 and < 0xD7B0) or (>= 0x1100 and < 0x1200) => 12,
        (>= 0x3400 and < 0xA000) or (>= 0xF900 and < 0xFB00) or (>= 0x20000 and < 0x32000) => 13,
        (>= 0x3000 and < 0x3040) or (>= 0xFF00 and < 0xFFF0) => 14,
        _ => 15,
    };

    private static int AsciiKind(char character) => char.IsAsciiLetter(character) ? 0 : char.IsAsciiDigit(character) ? 1 : char.IsWhiteSpace(character) ? 2 : 3;
}

/// <summary>How many documents, with how many bytes of text.</summary>
/// <param name="Documents">Documents.</param>
/// <param name="Bytes">Bytes of UTF-8.</param>
public readonly record struct DomainCount(long Documents, long Bytes)
{
    /// <summary>Adds both.</summary>
    public static DomainCount operator +(DomainCount left, DomainCount right) => new(left.Documents + right.Documents, left.Bytes + right.Bytes);
}
