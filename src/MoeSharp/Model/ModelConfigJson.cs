using System.Text;
using System.Text.Json;
using MoeSharp.Model.Families;

namespace MoeSharp.Model;

/// <summary>Reads and writes Hugging Face <c>config.json</c>. What a family's keys mean stands in <see cref="ModelFamily"/>; here is what all share.</summary>
public static class ModelConfigJson
{
    private static readonly JsonDocumentOptions s_strict = new() { AllowDuplicateProperties = false, MaxDepth = 32 };

    private const string OutputTokensKey = "moesharp_output_tokens"; // other programs know no such thing

    private const long LongestFile = 16_000_000; // bytes; real files have a few thousand

    /// <summary>Reads a configuration file and validates it.</summary>
    /// <exception cref="FileFormatException">The file is not a JSON object.</exception>
    /// <exception cref="ConfigurationException">The model is not supported, or its numbers do not fit together; the message lists every problem.</exception>
    public static ModelConfig Load(string path) => Parse(ReadText(path), path);

    /// <summary>Reads a configuration and validates it.</summary>
    /// <param name="json">Content of the file.</param>
    /// <param name="source">Name of the file, for messages.</param>
    /// <exception cref="FileFormatException">The text is not a JSON object.</exception>
    /// <exception cref="ConfigurationException">The model is not supported, or its numbers do not fit together; the message lists every problem.</exception>
    public static ModelConfig Parse(string json, string source)
    {
        using JsonDocument document = ParseObject(json, source);
        ConfigReader reader = new(document.RootElement);
        ModelFamily family = ModelFamily.Of(reader, source);
        ModelConfig config = family.Read(reader) with { OutputTokens = reader.Int(OutputTokensKey, 0) };
        CheckUnreadKeys(reader);
        List<string> problems = reader.Problems;
        if (problems.Count == 0)
        {
            problems.AddRange(ModelConfigRules.Problems(config));
        }

        return problems.Count == 0 ? config : throw new ConfigurationException($"{source}: {string.Join("; ", problems)}");
    }

    /// <summary>Writes a configuration so that <see cref="Parse"/>, and other programs that know the family, read the same model.</summary>
    /// <param name="config">Configuration.</param>
    /// <param name="dtype">Type of the stored weights: <c>float32</c> or <c>bfloat16</c>.</param>
    public static string Write(ModelConfig config, string dtype = "float32")
    {
        ModelFamily family = ModelFamily.Of(config.ModelType);
        using MemoryStream stream = new();
        using (Utf8JsonWriter writer = new(stream, new JsonWriterOptions { Indented = true, NewLine = "\n" }))
        {
            writer.WriteStartObject();
            writer.WriteStartArray("architectures");
            writer.WriteStringValue(family.Architecture);
            writer.WriteEndArray();
            writer.WriteString("model_type", family.ModelType);
            family.Write(writer, config);
            if (config.OutputTokens > 0)
            {
                writer.WriteNumber(OutputTokensKey, config.OutputTokens);
            }

            writer.WriteString("torch_dtype", dtype);
            writer.WriteEndObject();
        }

        return Encoding.UTF8.GetString(stream.ToArray()) + "\n";
    }

    internal static string ReadText(string path) => new FileInfo(path).Length <= LongestFile
        ? File.ReadAllText(path)
        : throw new FileFormatException($"{path}: more than {LongestFile} bytes; this is not a configuration file");

    internal static JsonDocument ParseObject(string json, string source)
    {
        try
        {
            JsonTexts.ThrowIfBroken(json, s_strict);
            JsonDocument document = JsonDocument.Parse(json, s_strict);
            if (document.RootElement.ValueKind == JsonValueKind.Object)
            {
                return document;
            }

            document.Dispose();
        }
        catch (JsonException exception)
        {
            throw new FileFormatException($"{source} is not valid JSON: {exception.Message}", exception);
        }

        throw new FileFormatException($"{source} does not hold a JSON object; a config.json starts with '{{'");
    }

    // A key that is switched off (null, false, empty) cannot change the model; any other unknown key might, so it must not pass in silence.
    private static void CheckUnreadKeys(ConfigReader reader)
    {
        foreach (ConfigReader section in reader.Sections)
        {
            CheckUnreadKeys(section);
        }

        foreach (JsonProperty property in reader.UnreadKeys)
        {
            bool isHarmless = s_harmless.Contains(property.Name) && !reader.Place("").StartsWith(MoeSharpKeys.SectionName, StringComparison.Ordinal); // nobody but this program writes that section
            bool isOff = property.Value.ValueKind is JsonValueKind.Null or JsonValueKind.False
                || (property.Value.ValueKind is JsonValueKind.Object or JsonValueKind.Array && property.Value.GetRawText().Length <= 2);
            if (!isOff && !isHarmless && !property.Name.StartsWith('_'))
            {
                reader.Problems.Add($"unknown key '{reader.Place(property.Name)}' with value {ConfigReader.Shown(property.Value)}{SpellingSuggestion.Hint(property.Name, reader.KnownKeys)}; remove it, or set it to null if it does not change the model");
            }
        }
    }

    // Keys that transformers writes and that do not change what the model computes.
    private static readonly HashSet<string> s_harmless = new(StringComparer.Ordinal)
    {
        "architectures", "model_type", "auto_map", "transformers_version", "use_cache", "torch_dtype", "dtype",
        "attention_dropout", "hidden_dropout", "resid_pdrop", "embd_pdrop", "pretraining_tp", "ep_size",
        "aux_loss_alpha", "seq_aux", "router_aux_loss_coef", "output_router_logits",
        "pad_token_id", "unk_token_id", "sep_token_id", "cls_token_id", "decoder_start_token_id", "name_or_path", "tokenizer_class",
        "return_dict", "is_decoder", "task_specific_params", "problem_type", "finetuning_task", "id2label", "label2id",
        "max_length", "min_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups", "diversity_penalty",
        "temperature", "top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty", "no_repeat_ngram_size",
        "encoder_no_repeat_ngram_size", "num_return_sequences", "chunk_size_feed_forward",
    };
}
