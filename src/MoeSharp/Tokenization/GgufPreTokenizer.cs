using System.Text.Json;

namespace MoeSharp.Tokenization;

/// <summary>How a byte-level vocabulary of a GGUF file cuts text, by the name that the file gives for it.</summary>
/// <param name="Patterns">Expressions whose matches are cut out, one after another; empty for the GPT-2 pattern.</param>
/// <param name="IsComposed">Text is brought into the form NFC first, as the tokenizers of these models do.</param>
/// <param name="IgnoresMerges">A piece that is a token needs no merging.</param>
/// <param name="AddsBos">Encoding begins with the token for it where the file does not say, as writers of these files count on.</param>
internal sealed record GgufPreTokenizer(string[] Patterns, bool IsComposed = false, bool IgnoresMerges = false, bool AddsBos = false)
{
    // Letters with case, as the first DeepSeek tokenizers list them.
    private const string CasedLetters =
        "A-Za-z\u00B5\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u01BA\u01BC-\u01BF\u01C4-\u0293\u0295-\u02AF\u0370-\u0373\u0376\u0377"
        + "\u037B-\u037D\u037F\u0386\u0388-\u038A\u038C\u038E-\u03A1\u03A3-\u03F5\u03F7-\u0481\u048A-\u052F\u0531-\u0556\u10A0-\u10C5"
        + "\u13A0-\u13F5\u13F8-\u13FD\u1C90-\u1CBA\u1CBD-\u1CBF\u1D00-\u1D2B\u1D6B-\u1D77\u1D79-\u1D9A\u1E00-\u1F15\u1F18-\u1F1D"
        + "\u1F20-\u1F45\u1F48-\u1F4D\u1F50-\u1F57\u1F59\u1F5B\u1F5D\u1F5F-\u1F7D\u1F80-\u1FB4\u1FB6-\u1FBC\u1FBE\u1FC2-\u1FC4"
        + "\u1FC6-\u1FCC\u1FD0-\u1FD3\u1FD6-\u1FDB\u1FE0-\u1FEC\u1FF2-\u1FF4\u1FF6-\u1FFC\u2102\u2107\u210A-\u2113\u2115\u2119-\u211D"
        + "\u2124\u2126\u2128\u212A-\u212D\u212F-\u2134\u2139\u213C-\u213F\u2145-\u2149\u214E\u2183\u2184\u2C00-\u2C7B\u2C7E-\u2CE4"
        + "\u2CEB-\u2CEE\u2CF2\u2CF3\uA640-\uA66D\uA680-\uA69B\uA722-\uA76F\uA771-\uA787\uA78B-\uA78E\uAB70-\uABBF\uFB00-\uFB06"
        + "\uFB13-\uFB17\uFF21-\uFF3A\uFF41-\uFF5A\U00010400-\U0001044F\U000104B0-\U000104D3\U000104D8-\U000104FB\U00010C80-\U00010CB2"
        + "\U00010CC0-\U00010CF2\U000118A0-\U000118DF\U0001E900-\U0001E943";

    private const string ChatText =
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    private const string SingleNumberChatText =
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    private const string LineBreak = "[\r\n]";
    private const string OldIdeographs = "[\u4E00-\u9FA5\u0800-\u4E00\uAC00-\uD7FF]+";

    private static readonly GgufPreTokenizer Gpt2 = new([]);
    private static readonly GgufPreTokenizer ComposedGpt2 = new([], IsComposed: true);
    private static readonly GgufPreTokenizer Cl100k = new([ChatText]);
    private static readonly GgufPreTokenizer Qwen2 = new([SingleNumberChatText], IsComposed: true);
    private static readonly GgufPreTokenizer O200k = new([KnownPatterns.CasedText], IgnoresMerges: true);

    private static readonly Dictionary<string, GgufPreTokenizer> ByName = new(StringComparer.Ordinal)
    {
        ["gpt-2"] = Gpt2,
        ["olmo"] = ComposedGpt2,
        ["mpt"] = ComposedGpt2,
        ["starcoder"] = new([@"\p{N}", KnownPatterns.Gpt2Text]),
        ["llama-bpe"] = Cl100k with { IgnoresMerges = true, AddsBos = true },
        ["llama3"] = Cl100k with { IgnoresMerges = true, AddsBos = true },
        ["dbrx"] = Cl100k,
        ["qwen2"] = Qwen2,
        ["deepseek-r1-qwen"] = Qwen2,
        ["gpt-4o"] = O200k,
        ["minimax-m2"] = O200k with { IgnoresMerges = false },
        ["deepseek-llm"] = new(
            [LineBreak, $@"\s?[{CasedLetters}]+", "\\s?[!-/:-~\uFF01-\uFF0F\uFF1A-\uFF5E\u2018-\u201F\u3000-\u3002]+", @"\s+$", OldIdeographs, @"\p{N}"]),
        ["deepseek-coder"] = new([LineBreak, @"\s?\p{L}+", @"\s?\p{P}+", OldIdeographs, @"\p{N}"]),
        ["deepseek-v3"] = new([@"\p{N}{1,3}", "[\u4E00-\u9FA5\u3040-\u309F\u30A0-\u30FF]+", KnownPatterns.GluedPunctuationText]),
    };

    /// <summary>The rules of a name.</summary>
    /// <exception cref="FileFormatException">The name is missing or not known. Guessing would give wrong ids without a word.</exception>
    public static GgufPreTokenizer Find(string? name, string source) => ByName.TryGetValue(name ?? "", out GgufPreTokenizer? found)
        ? found
        : throw new FileFormatException(
            $"{source}: tokenizer.ggml.pre is {(name is null ? "missing" : $"'{name}'")}; known are {string.Join(", ", ByName.Keys)}. Convert the model again with the name, or use its Hugging Face folder.");

    /// <summary>The name of the rules that cut with these expressions, or null.</summary>
    /// <param name="patterns">Expressions, one after another; none for the GPT-2 pattern.</param>
    /// <param name="isComposed">Whether text is brought into the form NFC first.</param>
    public static string? NameOf(IReadOnlyList<string> patterns, bool isComposed) =>
        ByName.Where(pair => pair.Value.Patterns.SequenceEqual(patterns)).OrderByDescending(pair => pair.Value.IsComposed == isComposed).Select(pair => pair.Key).FirstOrDefault();

    /// <summary>Writes them as the <c>pre_tokenizer</c> of a tokenizer.json.</summary>
    public void Write(Utf8JsonWriter writer)
    {
        writer.WriteStartObject("pre_tokenizer");
        writer.WriteString("type", "Sequence");
        writer.WriteStartArray("pretokenizers");
        foreach (string pattern in Patterns)
        {
            writer.WriteStartObject();
            writer.WriteString("type", "Split");
            writer.WriteStartObject("pattern");
            writer.WriteString("Regex", pattern);
            writer.WriteEndObject();
            writer.WriteString("behavior", "Isolated");
            writer.WriteBoolean("invert", false);
            writer.WriteEndObject();
        }

        writer.WriteStartObject();
        writer.WriteString("type", "ByteLevel");
        writer.WriteBoolean("add_prefix_space", false);
        writer.WriteBoolean("trim_offsets", true);
        writer.WriteBoolean("use_regex", Patterns.Length == 0);
        writer.WriteEndObject();
        writer.WriteEndArray();
        writer.WriteEndObject();
    }
}
