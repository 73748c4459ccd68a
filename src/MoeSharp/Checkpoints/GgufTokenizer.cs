using MoeSharp.Tokenization;

namespace MoeSharp.Checkpoints;

/// <summary>Reads the vocabulary of a GGUF file: the metadata under <c>tokenizer.</c>.</summary>
public static class GgufTokenizer
{
    private const string Prefix = "tokenizer.ggml.";
    private const string TemplateKey = "tokenizer.chat_template";

    /// <summary>Loads a tokenizer from whatever a user names: a GGUF file, a tokenizer.json, a tokenizer.model, or a folder.</summary>
    /// <param name="path">The file or folder.</param>
    /// <returns>The tokenizer.</returns>
    /// <exception cref="ConfigurationException">There is no tokenizer there.</exception>
    /// <exception cref="FileFormatException">A file breaks the rules of its format, or asks for something that is not supported.</exception>
    public static Tokenizer LoadAny(string path)
    {
        if (!ModelPath.IsGguf(path))
        {
            return Tokenizer.Load(path);
        }

        using GgufFile file = GgufFile.Open(path);
        return Load(file);
    }

    /// <summary>Builds the tokenizer of an open file; it does not need the file any more afterwards.</summary>
    /// <param name="file">The file.</param>
    /// <returns>The tokenizer.</returns>
    /// <exception cref="FileFormatException">There is no vocabulary, or it breaks the rules of its format.</exception>
    public static Tokenizer Load(GgufFile file) => Tokenizer.FromGguf(Read(file.Metadata), file.Path);

    /// <summary>The vocabulary as stored.</summary>
    /// <param name="metadata">Metadata of the file.</param>
    /// <returns>The vocabulary, unchecked.</returns>
    /// <exception cref="FileFormatException">A value is missing or has the wrong type.</exception>
    public static GgufVocabulary Read(GgufMetadata metadata) => new()
    {
        Model = metadata.GetString($"{Prefix}model"),
        Pre = Text(metadata, $"{Prefix}pre"),
        Tokens = metadata.GetStrings($"{Prefix}tokens").ToArray(),
        Scores = metadata.Contains($"{Prefix}scores") ? [.. metadata.GetFloats($"{Prefix}scores").Select(score => (float)score)] : null,
        TokenTypes = metadata.Contains($"{Prefix}token_type") ? [.. metadata.GetIntegers($"{Prefix}token_type").Select(ToInt)] : null,
        Merges = metadata.Contains($"{Prefix}merges") ? metadata.GetStrings($"{Prefix}merges").ToArray() : null,
        Bos = Id(metadata, "bos"),
        Eos = Id(metadata, "eos"),
        Eot = Id(metadata, "eot"),
        Unknown = Id(metadata, "unknown"),
        Pad = Id(metadata, "padding"),
        AddBos = Flag(metadata, $"{Prefix}add_bos_token"),
        AddEos = Flag(metadata, $"{Prefix}add_eos_token"),
        AddSpacePrefix = Flag(metadata, $"{Prefix}add_space_prefix"),
        RemoveExtraWhitespaces = Flag(metadata, $"{Prefix}remove_extra_whitespaces") ?? false,
        // As for ids: what is no byte stays none, and the check of the vocabulary names it.
        CharacterMap = metadata.Contains($"{Prefix}precompiled_charsmap") ? [.. metadata.GetIntegers($"{Prefix}precompiled_charsmap").Select(number => (int)Math.Clamp(number, -1000, 1000))] : null,
        ChatTemplate = Text(metadata, TemplateKey),
        NamedChatTemplates = metadata.Keys.Where(key => key.StartsWith($"{TemplateKey}.", StringComparison.Ordinal))
            .ToDictionary(key => key[(TemplateKey.Length + 1)..], metadata.GetString, StringComparer.Ordinal),
        HuggingFaceJson = Text(metadata, "tokenizer.huggingface.json"),
    };

    private static string? Text(GgufMetadata metadata, string key) => metadata.Contains(key) ? metadata.GetString(key) : null;

    private static bool? Flag(GgufMetadata metadata, string key) => metadata.Contains(key) ? metadata.GetBool(key) : null;

    private static int? Id(GgufMetadata metadata, string name) =>
        metadata.Contains($"{Prefix}{name}_token_id") ? ToInt(metadata.GetInteger($"{Prefix}{name}_token_id")) : null;

    // Numbers beyond 32 bits are no ids either way; the check of the vocabulary names them.
    private static int ToInt(long number) => number is >= 0 and <= int.MaxValue ? (int)number : int.MaxValue;
}
