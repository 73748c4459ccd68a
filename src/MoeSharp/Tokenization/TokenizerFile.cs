using System.Text.Json;

namespace MoeSharp.Tokenization;

/// <summary>Reads tokenizer.json and tokenizer_config.json. Every problem is a <see cref="FileFormatException"/> with file, place and rule.</summary>
internal static class TokenizerFile
{
    /// <summary>Name of the tokenizer file in a model folder.</summary>
    public const string FileName = "tokenizer.json";

    /// <summary>Name of the file of settings beside it.</summary>
    public const string ConfigFileName = "tokenizer_config.json";

    /// <summary>Name of the file with the chat template beside it.</summary>
    public const string TemplateFileName = "chat_template.jinja";

    /// <summary>Loads from a file or from the folder that holds it; a tokenizer.json is taken before a tokenizer.model.</summary>
    public static Tokenizer Load(string path)
    {
        string file = Resolve(path);
        string folder = Path.GetDirectoryName(Path.GetFullPath(file)) ?? ".";
        string configFile = Path.Combine(folder, ConfigFileName);
        byte[]? config = File.Exists(configFile) ? ReadAll(configFile) : null;
        IReadOnlyList<ChatTemplateText> templates = ReadTemplateFile(Path.Combine(folder, TemplateFileName));
        byte[] content = ReadAll(file);
        if (content.AsSpan().StartsWith("GGUF"u8))
        {
            throw new ConfigurationException($"{file} is a GGUF file, where a tokenizer.json, a tokenizer.model or a folder is expected.");
        }

        return file.EndsWith(".model", StringComparison.OrdinalIgnoreCase)
            ? SentencePieceTokenizer.Build(SentencePieceModel.Read(content, file), content, file, config, configFile, endOfTurn: null, templates)
            : Parse(content, file, config, configFile, endOfTurn: null, templates);
    }

    /// <summary>Builds a tokenizer from the content of its files.</summary>
    /// <param name="content">tokenizer.json.</param>
    /// <param name="file">Its name, for messages.</param>
    /// <param name="config">tokenizer_config.json, or null.</param>
    /// <param name="configFile">Its name, for messages.</param>
    /// <param name="endOfTurn">Id of the token that ends a turn, when known.</param>
    /// <param name="chatTemplates">Chat templates beside the file; those of the configuration are added.</param>
    public static Tokenizer Parse(
        byte[] content, string file, byte[]? config, string configFile, int? endOfTurn = null, IReadOnlyList<ChatTemplateText>? chatTemplates = null)
    {
        using JsonDocument document = ParseJson(content, file);
        JsonPlace root = new(document.RootElement, file, "");
        root.Expect(JsonValueKind.Object);
        Vocabulary vocabulary = Vocabulary.Read(root);
        Normalizer? normalizer = StageReader.ReadNormalizer(root.Member("normalizer"));
        IReadOnlyList<PreTokenizer> preTokenizers = StageReader.ReadPreTokenizers(root.Member("pre_tokenizer"));
        SpecialTokenTemplate template = TemplateReader.Read(root.Member("post_processor"), vocabulary);
        TokenizerSettings settings = TokenizerSettings.None;
        if (config is not null)
        {
            using JsonDocument configDocument = ParseJson(config, configFile);
            settings = TokenizerSettings.Read(new JsonPlace(configDocument.RootElement, configFile, ""), vocabulary);
        }

        AddedTokenMatcher normalizedTokens = Matcher(vocabulary.AddedTokens.Where(token => token.IsNormalized), normalizer);
        bool isByteLevel = preTokenizers.Any(step => step is ByteLevelPreTokenizer);
        return new Tokenizer(new TokenizerParts
        {
            Source = file,
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
            EndOfTurnTokenId = endOfTurn,
            ChatTemplates = [.. chatTemplates ?? [], .. settings.ChatTemplates],
            FileBytes = content,
            ConfigBytes = config,
        });
    }

    private static string Resolve(string path)
    {
        if (!Directory.Exists(path))
        {
            return File.Exists(path)
                ? path
                : throw new ConfigurationException($"There is no tokenizer at {path}. Give a tokenizer.json, a tokenizer.model or a folder that holds one.");
        }

        foreach (string name in (string[])[FileName, SentencePieceTokenizer.FileName])
        {
            if (File.Exists(Path.Combine(path, name)))
            {
                return Path.Combine(path, name);
            }
        }

        throw new ConfigurationException($"The folder {path} holds no {FileName} and no {SentencePieceTokenizer.FileName}. Give a folder that holds one, or the file.");
    }

    private static IReadOnlyList<ChatTemplateText> ReadTemplateFile(string file)
    {
        if (!File.Exists(file))
        {
            return [];
        }

        byte[] content = ReadAll(file);
        Utf8Text.ThrowIfInvalid(content, file);
        return [new ChatTemplateText(ChatTemplateText.DefaultName, System.Text.Encoding.UTF8.GetString(content), file)];
    }

    /// <summary>A search for added tokens, in the text as given or normalised.</summary>
    internal static AddedTokenMatcher Matcher(IEnumerable<AddedToken> tokens, Normalizer? normalizer) => new(tokens.Select(token =>
    {
        byte[] text = System.Text.Encoding.UTF8.GetBytes(token.Content);
        return KeyValuePair.Create(token, normalizer?.Rewrite(text) ?? text);
    }));

    /// <summary>Reads JSON.</summary>
    internal static JsonDocument ParseJson(byte[] content, string file)
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
