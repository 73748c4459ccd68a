using System.Globalization;
using System.Text.Json;
using MoeSharp.Model;
using MoeSharp.Tokenization;

namespace MoeSharp.Checkpoints.Export;

/// <summary>Writes a model folder's vocabulary as metadata of a GGUF file.</summary>
internal static class GgufVocabularyWriter
{
    private const int Normal = 1;
    private const int Unknown = 2;
    private const int Control = 3;
    private const int UserDefined = 4;
    private const int Unused = 5;
    private const int Byte = 6;
    private const string Prefix = "tokenizer.ggml.";

    /// <summary>Adds the vocabulary, or a note that there is none.</summary>
    /// <param name="entries">Metadata.</param>
    /// <param name="folder">Model folder.</param>
    /// <param name="config">Architecture; rows of the embedding beyond the vocabulary become tokens without use.</param>
    /// <param name="warnings">Receives what other programs may do otherwise.</param>
    public static void Add(GgufEntries entries, string folder, ModelConfig config, ICollection<string> warnings)
    {
        string json = Path.Combine(folder, "tokenizer.json");
        string model = Path.Combine(folder, "tokenizer.model");
        if (!File.Exists(json) && !File.Exists(model))
        {
            entries.Add(Prefix + "model", "no_vocab");
            warnings.Add($"{folder} has no tokenizer; the file has no vocabulary");
            return;
        }

        Tokenizer tokenizer = Tokenizer.Load(folder);
        if (tokenizer.IsUnigram)
        {
            throw new ConfigurationException($"{tokenizer.Source} is a unigram vocabulary, which is not written into GGUF files. Convert to a Hugging Face folder instead.");
        }

        if (File.Exists(json))
        {
            AddMerged(entries, json, tokenizer, config, warnings);
        }
        else
        {
            AddPieces(entries, SentencePieceModel.Read(File.ReadAllBytes(model), model), config);
        }

        AddToken(entries, "bos", tokenizer.BosTokenId ?? config.BosTokenId);
        AddToken(entries, "eos", tokenizer.EosTokenId ?? config.EosTokenId);
        AddToken(entries, "eot", tokenizer.EndOfTurnTokenId);
        int[] empty = tokenizer.Encode("", addSpecialTokens: true);
        entries.Add(Prefix + "add_bos_token", empty.Length > 0 && empty[0] == tokenizer.BosTokenId);
        entries.Add(Prefix + "add_eos_token", empty.Length > 0 && empty[^1] == tokenizer.EosTokenId);
        if (tokenizer.ChatTemplates.Count > 0)
        {
            entries.Add("tokenizer.chat_template", tokenizer.ChatTemplates[0].Source);
        }
    }

    private static void AddToken(GgufEntries entries, string name, int? id)
    {
        if (id is >= 0 and int token)
        {
            entries.Add($"{Prefix}{name}_token_id", (uint)token);
        }
    }

    private static void AddPieces(GgufEntries entries, SentencePieceModel model, ModelConfig config)
    {
        string[] tokens = Padding(config);
        int[] types = [.. Enumerable.Repeat(Unused, tokens.Length)];
        float[] scores = new float[tokens.Length];
        for (int id = 0; id < Math.Min(model.Pieces.Length, tokens.Length); id++)
        {
            (tokens[id], types[id], scores[id]) = (model.Pieces[id], (int)model.Kinds[id], model.Scores[id]);
        }

        entries.Add(Prefix + "model", "llama");
        entries.Add(Prefix + "tokens", tokens);
        entries.Add(Prefix + "scores", scores);
        entries.Add(Prefix + "token_type", types);
        entries.Add(Prefix + "unknown_token_id", (uint)model.UnknownId);
        entries.Add(Prefix + "add_space_prefix", model.AddDummyPrefix);
    }

    private static void AddMerged(GgufEntries entries, string path, Tokenizer tokenizer, ModelConfig config, ICollection<string> warnings)
    {
        string text = File.ReadAllText(path);
        using JsonDocument document = JsonDocument.Parse(text); // the tokenizer has been read from it
        JsonElement model = document.RootElement.GetProperty("model");
        string[] tokens = Padding(config);
        int[] types = [.. Enumerable.Repeat(Unused, tokens.Length)];
        bool isByteFallback = model.TryGetProperty("byte_fallback", out JsonElement fallback) && fallback.ValueKind == JsonValueKind.True;
        foreach (JsonProperty entry in model.GetProperty("vocab").EnumerateObject())
        {
            Set(tokens, types, entry.Value.GetInt32(), entry.Name, isByteFallback && entry.Name is ['<', '0', 'x', _, _, '>'] ? Byte : Normal);
        }

        foreach (AddedToken token in tokenizer.AddedTokens)
        {
            Set(tokens, types, token.Id, token.Content, token.IsSpecial ? Control : UserDefined);
        }

        string[] merges = [.. model.GetProperty("merges").EnumerateArray().Select(Merge)];
        entries.Add(Prefix + "model", isByteFallback ? "llama" : "gpt2");
        if (isByteFallback)
        {
            int unknown = model.TryGetProperty("unk_token", out JsonElement unk) && unk.ValueKind == JsonValueKind.String ? tokenizer.FindToken(unk.GetString() ?? "") ?? 0 : 0;
            types[unknown] = Unknown;
            entries.Add(Prefix + "unknown_token_id", (uint)unknown);
            entries.Add(Prefix + "scores", Scores(tokens, merges));
        }
        else
        {
            entries.Add(Prefix + "pre", PreTokenizer(document.RootElement, warnings));
        }

        entries.Add(Prefix + "tokens", tokens);
        entries.Add(Prefix + "token_type", types);
        entries.Add(Prefix + "merges", merges);
        entries.Add("tokenizer.huggingface.json", text); // exact, for programs that read it
    }

    private static string[] Padding(ModelConfig config) =>
        [.. Enumerable.Range(0, config.VocabSize).Select(id => string.Create(CultureInfo.InvariantCulture, $"[PAD{id}]"))];

    private static void Set(string[] tokens, int[] types, int id, string token, int type)
    {
        if ((uint)id < (uint)tokens.Length)
        {
            (tokens[id], types[id]) = (token, type);
        }
    }

    private static string Merge(JsonElement merge) => merge.ValueKind == JsonValueKind.String ? merge.GetString() ?? "" : $"{merge[0].GetString()} {merge[1].GetString()}";

    // Programs that merge by score take the pair whose whole has the highest: the order of the merges, falling.
    private static float[] Scores(string[] tokens, string[] merges)
    {
        Dictionary<string, int> rank = new(StringComparer.Ordinal);
        for (int index = 0; index < merges.Length; index++)
        {
            rank.TryAdd(merges[index].Replace(" ", "", StringComparison.Ordinal), index);
        }

        return [.. tokens.Select(token => rank.TryGetValue(token, out int index) ? -(index + 1f) : 0f)];
    }

    // The name under which other programs know the expressions that cut the text.
    private static string PreTokenizer(JsonElement root, ICollection<string> warnings)
    {
        List<string> patterns = [];
        Collect(root.TryGetProperty("pre_tokenizer", out JsonElement step) ? step : default, patterns);
        bool isComposed = root.TryGetProperty("normalizer", out JsonElement normalizer) && normalizer.ValueKind == JsonValueKind.Object
            && normalizer.TryGetProperty("type", out JsonElement kind) && kind.ValueEquals("NFC");
        if (GgufPreTokenizer.NameOf(patterns, isComposed) is { } name)
        {
            return name;
        }

        const string Nearest = "qwen2";
        warnings.Add($"other programs have no name for this tokenizer's patterns: '{Nearest}', the nearest, is written. This program reads the exact tokenizer from the file");
        return Nearest;
    }

    private static void Collect(JsonElement step, List<string> patterns)
    {
        if (step.ValueKind != JsonValueKind.Object || !step.TryGetProperty("type", out JsonElement type))
        {
            return;
        }

        if (type.ValueEquals("Sequence"))
        {
            foreach (JsonElement inner in step.GetProperty("pretokenizers").EnumerateArray())
            {
                Collect(inner, patterns);
            }
        }
        else if (type.ValueEquals("Split") && step.GetProperty("pattern").TryGetProperty("Regex", out JsonElement regex))
        {
            patterns.Add(regex.GetString() ?? "");
        }
        else if (type.ValueEquals("Digits"))
        {
            patterns.Add(@"\p{N}");
        }
    }
}
