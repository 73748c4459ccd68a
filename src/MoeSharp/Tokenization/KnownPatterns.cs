namespace MoeSharp.Tokenization;

/// <summary>The regular expressions that published tokenizers use, by their exact text, and the hand-written splitter equal to each.</summary>
internal static class KnownPatterns
{
    /// <summary>
    /// The pattern of vocabularies trained here. Words take marks along (Indic and Thai words stay whole), every number stands
    /// alone (arithmetic is learned digit by digit, and no vocabulary is spent on digit groups), no English contractions.
    /// </summary>
    public const string MultilingualText =
        @"[^\r\n\p{L}\p{M}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    /// <summary>The pattern that byte-level steps use by default.</summary>
    public const string Gpt2Text = @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

    /// <summary>The pattern of the o200k vocabularies (gpt-oss): words end where small letters turn into capitals.</summary>
    public const string CasedText =
        @"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        + @"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        + @"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    /// <summary>The word pattern of DeepSeek-V3: one punctuation mark glued to letters is a piece.</summary>
    public const string GluedPunctuationText =
        @"[!""#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    private const CharacterClass NotLetterOrNumber =
        CharacterClass.Mark | CharacterClass.Punctuation | CharacterClass.Symbol | CharacterClass.Other;

    /// <summary>Splitter of <see cref="MultilingualText"/>.</summary>
    public static readonly SplitPattern Multilingual = new WordPattern
    {
        WordPrefix = CharacterClass.Punctuation | CharacterClass.Symbol | CharacterClass.Other | CharacterClass.Space,
        Word = CharacterClass.Letter | CharacterClass.Mark,
        MaxNumbers = 1,
        Rest = CharacterClass.Punctuation | CharacterClass.Symbol | CharacterClass.Other,
        MatchLineBreaks = true,
    };

    /// <summary>Splitter of <see cref="Gpt2Text"/>.</summary>
    public static readonly SplitPattern Gpt2 = new WordPattern
    {
        MatchContractions = true,
        WordPrefixIsBlank = true,
        Word = CharacterClass.Letter,
        MaxNumbers = int.MaxValue,
        NumberPrefixIsBlank = true,
        Rest = NotLetterOrNumber,
    };

    private static readonly Dictionary<string, SplitPattern> ByText = new(StringComparer.Ordinal)
    {
        [MultilingualText] = Multilingual,
        [Gpt2Text] = Gpt2,
        [@"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"] = Chat(1),
        [@"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"] = Chat(3),
        [GluedPunctuationText] =
            new WordPattern
            {
                GluePunctuation = true,
                WordPrefix = CharacterClass.Mark | CharacterClass.Number | CharacterClass.Other | CharacterClass.Space,
                Word = CharacterClass.Letter | CharacterClass.Mark,
                Rest = CharacterClass.Punctuation | CharacterClass.Symbol,
                MatchLineBreaks = true,
            },
        [CasedText] = new WordPattern
        {
            SplitWordsByCase = true,
            WordPrefix = NotLetterOrNumber | CharacterClass.Space,
            Word = CharacterClass.Letter | CharacterClass.Mark,
            MaxNumbers = 3,
            Rest = NotLetterOrNumber,
            MatchLineBreaks = true,
            SlashEndsRest = true,
        },
        [@"\p{N}{1,3}"] = new ClassRunPattern(CharacterClass.Number, 3, whiteSpaceMayLead: false),
        [@"\p{N}"] = CharacterPatterns.SingleNumber,
        [@"\p{N}+"] = CharacterPatterns.Numbers,
        [@"\s?\p{L}+"] = new ClassRunPattern(CharacterClass.Letter, int.MaxValue, whiteSpaceMayLead: true),
        [@"\s?\p{P}+"] = new ClassRunPattern(CharacterClass.Punctuation, int.MaxValue, whiteSpaceMayLead: true),
        [@"\s+$"] = new TrailingSpacePattern(),
    };

    /// <summary>The expressions with a splitter of their own, for tests.</summary>
    public static IReadOnlyCollection<string> Texts => ByText.Keys;

    /// <summary>The hand-written splitter of a regular expression; false when the expression is not one of the known.</summary>
    public static bool TryGet(string regex, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out SplitPattern? pattern)
    {
        // Some files hold the line breaks themselves, others their escapes.
        string escaped = regex.Replace("\r", @"\r", StringComparison.Ordinal).Replace("\n", @"\n", StringComparison.Ordinal);
        return ByText.TryGetValue(escaped, out pattern) || CharacterRangeRegex.TryParse(escaped, out pattern);
    }

    private static WordPattern Chat(int maxNumbers) => new()
    {
        MatchContractions = true,
        ContractionsIgnoreCase = true,
        WordPrefix = NotLetterOrNumber | CharacterClass.Space,
        Word = CharacterClass.Letter,
        MaxNumbers = maxNumbers,
        Rest = NotLetterOrNumber,
        MatchLineBreaks = true,
    };
}
