using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace MoeSharp.Tokenization;

/// <summary>
/// Builds a tokenizer from the vocabulary of a GGUF file, by writing it as the files that the model came with: a tokenizer.json for
/// byte-level merges, a tokenizer.model for SentencePiece, a tokenizer_config.json for both.
/// </summary>
internal static class GgufVocabularyReader
{
    private const string Unigram = "t5";
    private const int Normal = 1;
    private const int Unknown = 2;
    private const int Control = 3;
    private const int UserDefined = 4;
    private const int Unused = 5;
    private const int Byte = 6;

    // Published tokens stay under 1000 characters, templates under 64 Ki; the bounds keep what is written as JSON writable.
    private const int LongestToken = 1 << 16;
    private const int LongestTemplate = 1 << 24;

    /// <summary>Builds the tokenizer.</summary>
    /// <param name="vocabulary">What the file says.</param>
    /// <param name="source">The file, for messages.</param>
    public static Tokenizer Read(GgufVocabulary vocabulary, string source)
    {
        Check(vocabulary, source);
        bool isScored = vocabulary.Model is "llama" or Unigram && vocabulary.HuggingFaceJson is null;
        if (vocabulary.HuggingFaceJson is string json)
        {
            return TokenizerFile.Parse(
                Encoding.UTF8.GetBytes(json), $"{source}: tokenizer.huggingface.json", WriteConfig(vocabulary, isScored, addsBos: false), source, vocabulary.Eot);
        }

        switch (vocabulary.Model)
        {
            case "llama" or Unigram:
                return SentencePieceTokenizer.Build(ReadScored(vocabulary, source), null, source, WriteConfig(vocabulary, isScored, addsBos: vocabulary.Model == "llama"), source, vocabulary.Eot);
            case "gpt2":
                RejectIf(vocabulary.Merges is null, source, "tokenizer.ggml.merges is missing");
                GgufPreTokenizer pre = GgufPreTokenizer.Find(vocabulary.Pre, source);
                return TokenizerFile.Parse(WriteMerged(vocabulary, pre), source, WriteConfig(vocabulary, isScored, pre.AddsBos), source, vocabulary.Eot);
            default:
                throw new FileFormatException($"{source}: tokenizer.ggml.model is '{vocabulary.Model}'; only gpt2, llama and {Unigram} are supported.");
        }
    }

    private static void Check(GgufVocabulary vocabulary, string source)
    {
        int count = vocabulary.Tokens.Count;
        RejectIf(count is 0 or > Vocabulary.LargestId, source, $"tokenizer.ggml.tokens has {count} tokens; between 1 and {Vocabulary.LargestId} are read");
        RejectIf(vocabulary.Scores is not null && vocabulary.Scores.Count != count, source, $"tokenizer.ggml.scores has {vocabulary.Scores?.Count} entries for {count} tokens");
        RejectIf(vocabulary.TokenTypes is not null && vocabulary.TokenTypes.Count != count, source, $"tokenizer.ggml.token_type has {vocabulary.TokenTypes?.Count} entries for {count} tokens");
        for (int id = 0; id < count; id++)
        {
            int type = TypeOf(vocabulary, id);
            RejectIf(type is < 0 or > Byte, source, $"tokenizer.ggml.token_type[{id}] is {type}, expected 1 to {Byte}");
        }

        CheckLength("tokens", vocabulary.Tokens, source);
        CheckLength("merges", vocabulary.Merges ?? [], source);
        long templates = (vocabulary.ChatTemplate?.Length ?? 0) + (vocabulary.NamedChatTemplates?.Sum(named => (long)named.Key.Length + named.Value.Length) ?? 0);
        RejectIf(templates > LongestTemplate, source, $"tokenizer.chat_template is longer than {LongestTemplate} characters");

        bool isBytes = vocabulary.CharacterMap?.All(number => number is >= sbyte.MinValue and <= byte.MaxValue) ?? true;
        RejectIf(!isBytes, source, "tokenizer.ggml.precompiled_charsmap holds numbers that are no bytes");
        CheckId(vocabulary.Bos, "bos", count, source);
        CheckId(vocabulary.Eos, "eos", count, source);
        CheckId(vocabulary.Eot, "eot", count, source);
        CheckId(vocabulary.Unknown, "unknown", count, source);
        CheckId(vocabulary.Pad, "padding", count, source);
        RejectIf(vocabulary.AddBos == true && vocabulary.Bos is null, source, "tokenizer.ggml.add_bos_token is true, but there is no bos_token_id");
        RejectIf(vocabulary.AddEos == true && vocabulary.Eos is null, source, "tokenizer.ggml.add_eos_token is true, but there is no eos_token_id");
    }

    private static void CheckLength(string name, IReadOnlyList<string> texts, string source)
    {
        for (int index = 0; index < texts.Count; index++)
        {
            RejectIf(texts[index].Length > LongestToken, source, $"tokenizer.ggml.{name}[{index}] is longer than {LongestToken} characters");
        }
    }

    private static void CheckId(int? id, string name, int count, string source) => RejectIf(
        id is int given && (uint)given >= (uint)count, source, string.Create(CultureInfo.InvariantCulture, $"tokenizer.ggml.{name}_token_id is {id}, but there are {count} tokens"));

    private static void RejectIf(bool broken, string source, string rule)
    {
        if (broken)
        {
            throw new FileFormatException($"{source}: {rule}.");
        }
    }

    // Without types, the tokens that begin and end texts are known by their ids alone.
    private static int TypeOf(GgufVocabulary vocabulary, int id) =>
        vocabulary.TokenTypes is IReadOnlyList<int> types ? types[id] : id == vocabulary.Bos || id == vocabulary.Eos || id == vocabulary.Eot ? Control : Normal;

    private static SentencePieceModel ReadScored(GgufVocabulary vocabulary, string source)
    {
        RejectIf(vocabulary.Scores is null, source, "tokenizer.ggml.scores is missing");
        SentencePieceKind[] kinds = new SentencePieceKind[vocabulary.Tokens.Count];
        for (int id = 0; id < kinds.Length; id++)
        {
            int type = TypeOf(vocabulary, id);
            kinds[id] = type == 0 ? SentencePieceKind.Normal : (SentencePieceKind)type;
        }

        return new SentencePieceModel
        {
            Pieces = [.. vocabulary.Tokens],
            Scores = [.. vocabulary.Scores!], // Not null: checked above.
            Kinds = kinds,
            HasByteFallback = kinds.Contains(SentencePieceKind.Byte),
            IsUnigram = vocabulary.Model == Unigram,
            AddDummyPrefix = vocabulary.AddSpacePrefix ?? vocabulary.Model != Unigram,
            CharacterMap = [.. (vocabulary.CharacterMap ?? []).Select(number => unchecked((byte)number))],
            RemoveExtraWhitespaces = vocabulary.RemoveExtraWhitespaces,
            UnknownId = vocabulary.Unknown ?? Math.Max(0, Array.IndexOf(kinds, SentencePieceKind.Unknown)),
            BosId = vocabulary.Bos,
            EosId = vocabulary.Eos,
            PadId = vocabulary.Pad,
        };
    }

    private static byte[] WriteConfig(GgufVocabulary vocabulary, bool isScored, bool addsBos) => Write(writer =>
    {
        writer.WriteStartObject();
        WriteToken(writer, "bos_token", vocabulary.Bos, vocabulary);
        WriteToken(writer, "eos_token", vocabulary.Eos, vocabulary);
        WriteToken(writer, "unk_token", vocabulary.Unknown, vocabulary);
        WriteToken(writer, "pad_token", vocabulary.Pad, vocabulary);
        writer.WriteBoolean("add_bos_token", vocabulary.AddBos ?? (addsBos && vocabulary.Bos is not null));
        writer.WriteBoolean("add_eos_token", vocabulary.AddEos ?? (isScored && vocabulary.Model == Unigram && vocabulary.Eos is not null));
        WriteTemplates(writer, vocabulary);

        // The Llama classes put the two switches in place of the post-processor; a whole tokenizer.json keeps its own unless they are given.
        bool keepsProcessor = vocabulary.HuggingFaceJson is not null && vocabulary.AddBos is null && vocabulary.AddEos is null;
        writer.WriteString("tokenizer_class", keepsProcessor ? "PreTrainedTokenizerFast" : isScored ? "LlamaTokenizer" : "LlamaTokenizerFast");
        writer.WriteEndObject();
    });

    private static void WriteTemplates(Utf8JsonWriter writer, GgufVocabulary vocabulary)
    {
        Dictionary<string, string> templates = new(vocabulary.NamedChatTemplates ?? new Dictionary<string, string>());
        if (vocabulary.ChatTemplate is string template)
        {
            templates[ChatTemplateText.DefaultName] = template;
        }

        if (templates.Count == 0)
        {
            return;
        }

        if (templates.Count == 1 && vocabulary.ChatTemplate is not null)
        {
            writer.WriteString("chat_template", vocabulary.ChatTemplate);
            return;
        }

        writer.WriteStartArray("chat_template");
        foreach ((string name, string source) in templates)
        {
            writer.WriteStartObject();
            writer.WriteString("name", name);
            writer.WriteString("template", source);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }

    private static void WriteToken(Utf8JsonWriter writer, string name, int? id, GgufVocabulary vocabulary)
    {
        if (id is int given)
        {
            writer.WriteString(name, vocabulary.Tokens[given]);
        }
    }

    private static byte[] WriteMerged(GgufVocabulary vocabulary, GgufPreTokenizer pre) => Write(writer =>
    {
        writer.WriteStartObject();
        writer.WriteString("version", "1.0");
        writer.WriteStartArray("added_tokens");
        for (int id = 0; id < vocabulary.Tokens.Count; id++)
        {
            if (TypeOf(vocabulary, id) is Control or Unknown or UserDefined && !IsPadding(vocabulary.Tokens[id], id))
            {
                WriteAddedToken(writer, vocabulary.Tokens[id], id, isSpecial: TypeOf(vocabulary, id) != UserDefined);
            }
        }

        writer.WriteEndArray();
        if (pre.IsComposed)
        {
            writer.WriteStartObject("normalizer");
            writer.WriteString("type", "NFC");
            writer.WriteEndObject();
        }

        pre.Write(writer);
        writer.WriteStartObject("decoder");
        writer.WriteString("type", "ByteLevel");
        writer.WriteEndObject();
        WriteModel(writer, vocabulary, pre);
        writer.WriteEndObject();
    });

    // Converters fill a vocabulary up to the rows of the model with names such as [PAD100015]; no text means them.
    private static bool IsPadding(string token, int id) => token == string.Create(CultureInfo.InvariantCulture, $"[PAD{id}]");

    private static void WriteAddedToken(Utf8JsonWriter writer, string content, int id, bool isSpecial)
    {
        writer.WriteStartObject();
        writer.WriteNumber("id", id);
        writer.WriteString("content", content);
        writer.WriteBoolean("single_word", false);
        writer.WriteBoolean("lstrip", false);
        writer.WriteBoolean("rstrip", false);
        writer.WriteBoolean("normalized", !isSpecial);
        writer.WriteBoolean("special", isSpecial);
        writer.WriteEndObject();
    }

    private static void WriteModel(Utf8JsonWriter writer, GgufVocabulary vocabulary, GgufPreTokenizer pre)
    {
        writer.WriteStartObject("model");
        writer.WriteString("type", "BPE");
        writer.WriteBoolean("ignore_merges", pre.IgnoresMerges);
        writer.WriteStartObject("vocab");
        for (int id = 0; id < vocabulary.Tokens.Count; id++)
        {
            if (TypeOf(vocabulary, id) is not (Control or Unknown or UserDefined or Unused))
            {
                writer.WriteNumber(vocabulary.Tokens[id], id);
            }
        }

        writer.WriteEndObject();
        writer.WriteStartArray("merges");
        foreach (string merge in vocabulary.Merges!) // Not null: checked before.
        {
            writer.WriteStringValue(merge);
        }

        writer.WriteEndArray();
        writer.WriteEndObject();
    }

    private static byte[] Write(Action<Utf8JsonWriter> write)
    {
        using MemoryStream stream = new();
        using (Utf8JsonWriter writer = new(stream, new JsonWriterOptions { Indented = false, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            write(writer);
        }

        return stream.ToArray();
    }
}
