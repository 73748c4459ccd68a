using System.Text.Json;

namespace MoeSharp.Tokenization;

/// <summary>Reads tokenizer.json and tokenizer_config.json. Every problem is a <see cref="FileFormatException"/> with file, place and rule.</summary>
internal static class TokenizerFile
{
    /// <summary>Name of the tokenizer file in a model folder.</summary>
    public const string FileName = "tokenizer.json";

    /// <summary>Name of the file of settings beside it.</summary>
    public const string ConfigFileName = "tokenizer_config.json";

    /// <summary>Loads from a file or from the folder that holds it.</summary>
    public static Tokenizer Load(string path)
    {
        string file = Directory.Exists(path) ? Path.Combine(path, FileName) : path;
        if (!File.Exists(file))
        {
            throw new ConfigurationException(file == path
                ? $"There is no tokenizer at {path}. Give a tokenizer.json or a folder that holds one."
                : $"The folder {path} holds no {FileName}. Give a tokenizer.json or a folder that holds one.");
        }

        string configFile = Path.Combine(Path.GetDirectoryName(Path.GetFullPath(file)) ?? ".", ConfigFileName);
        byte[]? config = File.Exists(configFile) ? ReadAll(configFile) : null;
        return Parse(ReadAll(file), file, config, configFile);
    }

    /// <summary>Builds a tokenizer from the content of its files.</summary>
    /// <param name="content">tokenizer.json.</param>
    /// <param name="file">Its name, for messages.</param>
    /// <param name="config">tokenizer_config.json, or null.</param>
    /// <param name="configFile">Its name, for messages.</param>
    public static Tokenizer Parse(byte[] content, string file, byte[]? config, string configFile)
    {
        using JsonDocument document = ParseJson(content, file);
        JsonPlace root = new(document.RootElement, file, "");
        root.Expect(JsonValueKind.Object);
        Vocabulary vocabulary = Vocabulary.Read(root);
        Normalizer? normalizer = StageReader.ReadNormalizer(root.Member("normalizer"));
        IReadOnlyList<PreTokenizer> preTokenizers = StageReader.ReadPreTokenizers(root.Member("pre_tokenizer"));
        SpecialTokenTemplate template = TemplateReader.Read(root.Member("post_processor"), vocabulary);
        TokenizerSettings settings = new(null, null, null);
        if (config is not null)
        {
            using JsonDocument configDocument = ParseJson(config, configFile);
            settings = TokenizerSettings.Read(new JsonPlace(configDocument.RootElement, configFile, ""), vocabulary);
        }

        AddedTokenMatcher normalizedTokens = Matcher(vocabulary.AddedTokens.Where(token => token.IsNormalized), normalizer);
        bool isByteLevel = preTokenizers.Any(step => step is ByteLevelPreTokenizer);
        return new Tokenizer(new TokenizerParts
        {
            Tokens = vocabulary.Tokens,
            IdOfToken = vocabulary.IdOfToken,
            AddedTokens = vocabulary.AddedTokens,
            RawTokens = Matcher(vocabulary.AddedTokens.Where(token => !token.IsNormalized), null),
            NormalizedTokens = normalizedTokens.IsEmpty ? null : normalizedTokens,
            Normalizer = normalizer,
            PreTokenizers = preTokenizers,
            Model = ModelReader.Read(root.Member("model"), vocabulary, isByteLevel),
            Decoder = DecoderReader.Read(root.Member("decoder")),
            Template = settings.Template ?? template,
            BosTokenId = settings.BosTokenId ?? (config is null && template.Before.Count > 0 ? template.Before[0] : null),
            EosTokenId = settings.EosTokenId ?? (config is null && template.After.Count > 0 ? template.After[^1] : null),
            FileBytes = content,
            ConfigBytes = config,
        });
    }

    private static AddedTokenMatcher Matcher(IEnumerable<AddedToken> tokens, Normalizer? normalizer) => new(tokens.Select(token =>
    {
        byte[] text = System.Text.Encoding.UTF8.GetBytes(token.Content);
        return KeyValuePair.Create(token, normalizer?.Rewrite(text) ?? text);
    }));

    private static JsonDocument ParseJson(byte[] content, string file)
    {
        try
        {
            return JsonDocument.Parse(StripByteOrderMark(content));
        }
        catch (JsonException exception)
        {
            throw new FileFormatException($"{file} is not valid JSON: {exception.Message}", exception);
        }
    }

    private static ReadOnlyMemory<byte> StripByteOrderMark(byte[] content) =>
        content.AsSpan().StartsWith("\uFEFF"u8) ? content.AsMemory(3) : content;

    private static byte[] ReadAll(string file)
    {
        if (new FileInfo(file).Length > Array.MaxLength)
        {
            throw new FileFormatException($"{file} is larger than {Array.MaxLength} bytes, too large for a tokenizer.");
        }

        return File.ReadAllBytes(file);
    }
}

/// <summary>What tokenizer_config.json adds: the tokens that begin and end a text, and whether encoding writes them.</summary>
/// <param name="BosTokenId">Id of the token that begins a text.</param>
/// <param name="EosTokenId">Id of the token that ends a text.</param>
/// <param name="Template">Special tokens around a text that replace those of tokenizer.json; null to keep them.</param>
internal sealed record TokenizerSettings(int? BosTokenId, int? EosTokenId, SpecialTokenTemplate? Template)
{
    // Tokenizers of these classes ignore the post-processor of tokenizer.json and build it from the two add_ switches.
    private static readonly HashSet<string> RebuildingClasses =
        ["LlamaTokenizer", "LlamaTokenizerFast", "CodeLlamaTokenizer", "CodeLlamaTokenizerFast", "GemmaTokenizer", "GemmaTokenizerFast", "CohereTokenizer", "CohereTokenizerFast"];

    /// <summary>Reads the settings.</summary>
    public static TokenizerSettings Read(JsonPlace root, Vocabulary vocabulary)
    {
        root.Expect(JsonValueKind.Object);
        int? bos = ReadToken(root.Member("bos_token"), vocabulary);
        int? eos = ReadToken(root.Member("eos_token"), vocabulary);
        if (!RebuildingClasses.Contains(root.Member("tokenizer_class").TextOrNull() ?? ""))
        {
            return new TokenizerSettings(bos, eos, null);
        }

        JsonPlace addBos = root.Member("add_bos_token");
        JsonPlace addEos = root.Member("add_eos_token");
        bool addsBos = addBos.Flag(absent: true);
        bool addsEos = addEos.Flag(absent: false);
        addBos.RejectIf(addsBos && bos is null && !addBos.IsNull, "is true, but there is no bos_token");
        addEos.RejectIf(addsEos && eos is null, "is true, but there is no eos_token");
        return new TokenizerSettings(bos, eos, new SpecialTokenTemplate(addsBos && bos is int before ? [before] : [], addsEos && eos is int after ? [after] : []));
    }

    private static int? ReadToken(JsonPlace place, Vocabulary vocabulary)
    {
        if (place.IsNull)
        {
            return null;
        }

        string content = place.Value.ValueKind == JsonValueKind.Object ? place.Member("content").Text() : place.Text();
        return vocabulary.IdOfToken.TryGetValue(content, out int id) ? id : throw place.Wrong($"names '{content}', which is not in the vocabulary");
    }
}
