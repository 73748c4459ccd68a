using System.Text.Encodings.Web;
using System.Text.Json;

namespace MoeSharp.Tokenization;

/// <summary>Writes a trained vocabulary as tokenizer.json and tokenizer_config.json in the format of Hugging Face tokenizers.</summary>
internal sealed class TrainedTokenizerWriter
{
    // Merges are written as "left right": no token in the byte alphabet holds a blank, and every version of the format reads it.
    private static readonly JsonWriterOptions Format = new() { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private readonly string[] _specials;
    private readonly List<LearnedMerge> _merges;
    private readonly List<string> _tokens;

    /// <summary>Spells all tokens.</summary>
    /// <param name="specials">Special tokens, by id from 0; the first begins a text.</param>
    /// <param name="tokens">Bytes of the other tokens; ids follow the special tokens.</param>
    /// <param name="merges">Merges in order.</param>
    public TrainedTokenizerWriter(string[] specials, IReadOnlyList<byte[]> tokens, List<LearnedMerge> merges)
    {
        _specials = specials;
        _merges = merges;
        _tokens = [.. specials, .. tokens.Select(bytes => ByteAlphabet.ToText(bytes))];
    }

    /// <summary>The content of tokenizer.json.</summary>
    public byte[] WriteTokenizer()
    {
        using MemoryStream stream = new();
        using (Utf8JsonWriter json = new(stream, Format))
        {
            json.WriteStartObject();
            json.WriteString("version", "1.0");
            json.WriteNull("truncation");
            json.WriteNull("padding");
            WriteAddedTokens(json);
            json.WriteNull("normalizer");
            WritePreTokenizer(json);
            WriteTemplate(json);
            json.WriteStartObject("decoder");
            WriteByteLevel(json);
            json.WriteEndObject();
            WriteModel(json);
            json.WriteEndObject();
        }

        return stream.ToArray();
    }

    /// <summary>The content of tokenizer_config.json.</summary>
    public static byte[] WriteConfig(string bosToken, string eosToken)
    {
        using MemoryStream stream = new();
        using (Utf8JsonWriter json = new(stream, Format))
        {
            json.WriteStartObject();
            json.WriteString("tokenizer_class", "PreTrainedTokenizerFast");
            json.WriteString("bos_token", bosToken);
            json.WriteString("eos_token", eosToken);
            json.WriteBoolean("clean_up_tokenization_spaces", false);
            json.WriteEndObject();
        }

        return stream.ToArray();
    }

    private void WriteAddedTokens(Utf8JsonWriter json)
    {
        json.WriteStartArray("added_tokens");
        for (int id = 0; id < _specials.Length; id++)
        {
            json.WriteStartObject();
            json.WriteNumber("id", id);
            json.WriteString("content", _specials[id]);
            json.WriteBoolean("single_word", false);
            json.WriteBoolean("lstrip", false);
            json.WriteBoolean("rstrip", false);
            json.WriteBoolean("normalized", false);
            json.WriteBoolean("special", true);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void WritePreTokenizer(Utf8JsonWriter json)
    {
        json.WriteStartObject("pre_tokenizer");
        json.WriteString("type", "Sequence");
        json.WriteStartArray("pretokenizers");
        json.WriteStartObject();
        json.WriteString("type", "Split");
        json.WriteStartObject("pattern");
        json.WriteString("Regex", KnownPatterns.MultilingualText);
        json.WriteEndObject();
        json.WriteString("behavior", "Isolated");
        json.WriteBoolean("invert", false);
        json.WriteEndObject();
        json.WriteStartObject();
        WriteByteLevel(json);
        json.WriteEndObject();
        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void WriteByteLevel(Utf8JsonWriter json)
    {
        json.WriteString("type", "ByteLevel");
        json.WriteBoolean("add_prefix_space", false);
        json.WriteBoolean("trim_offsets", true);
        json.WriteBoolean("use_regex", false);
    }

    private void WriteTemplate(Utf8JsonWriter json)
    {
        json.WriteStartObject("post_processor");
        json.WriteString("type", "TemplateProcessing");
        json.WriteStartArray("single");
        WriteTemplatePart(json, "SpecialToken", _specials[0], 0);
        WriteTemplatePart(json, "Sequence", "A", 0);
        json.WriteEndArray();
        json.WriteStartArray("pair");
        WriteTemplatePart(json, "SpecialToken", _specials[0], 0);
        WriteTemplatePart(json, "Sequence", "A", 0);
        WriteTemplatePart(json, "SpecialToken", _specials[0], 1);
        WriteTemplatePart(json, "Sequence", "B", 1);
        json.WriteEndArray();
        json.WriteStartObject("special_tokens");
        json.WriteStartObject(_specials[0]);
        json.WriteString("id", _specials[0]);
        json.WriteStartArray("ids");
        json.WriteNumberValue(0);
        json.WriteEndArray();
        json.WriteStartArray("tokens");
        json.WriteStringValue(_specials[0]);
        json.WriteEndArray();
        json.WriteEndObject();
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private static void WriteTemplatePart(Utf8JsonWriter json, string kind, string id, int typeId)
    {
        json.WriteStartObject();
        json.WriteStartObject(kind);
        json.WriteString("id", id);
        json.WriteNumber("type_id", typeId);
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private void WriteModel(Utf8JsonWriter json)
    {
        json.WriteStartObject("model");
        json.WriteString("type", "BPE");
        json.WriteNull("dropout");
        json.WriteNull("unk_token");
        json.WriteNull("continuing_subword_prefix");
        json.WriteNull("end_of_word_suffix");
        json.WriteBoolean("fuse_unk", false);
        json.WriteBoolean("byte_fallback", false);
        json.WriteBoolean("ignore_merges", false);
        json.WriteStartObject("vocab");
        for (int id = 0; id < _tokens.Count; id++)
        {
            json.WriteNumber(_tokens[id], id);
        }

        json.WriteEndObject();
        json.WriteStartArray("merges");
        foreach (LearnedMerge merge in _merges)
        {
            json.WriteStringValue($"{_tokens[merge.Left]} {_tokens[merge.Right]}");
        }

        json.WriteEndArray();
        json.WriteEndObject();
    }
}
