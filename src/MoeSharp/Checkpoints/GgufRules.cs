namespace MoeSharp.Checkpoints;

/// <summary>Rules on metadata values that every reader of a model relies on: counts that decide loops and arrays that are indexed by each other's positions.</summary>
internal static class GgufRules
{
    private const long MostLayers = 512;
    private const string Architecture = "general.architecture";
    private const string Tokens = "tokenizer.ggml.tokens";

    /// <summary>Checks what is there; absent keys are the business of those who need them.</summary>
    /// <exception cref="FileFormatException">A rule is broken.</exception>
    public static void Check(GgufMetadata metadata, string path)
    {
        if (metadata.Contains(Architecture))
        {
            string key = metadata.GetString(Architecture) + ".block_count";
            long layers = metadata.GetInteger(key, 0);
            if (layers is < 0 or > MostLayers)
            {
                throw new FileFormatException($"{path}: {SafetensorsHeader.Shown(key)} is {layers}; 0 to {MostLayers} layers are read");
            }
        }

        if (metadata.Find(Tokens) is not { } tokens)
        {
            return;
        }

        foreach (string key in (string[])["tokenizer.ggml.scores", "tokenizer.ggml.token_type"])
        {
            if (metadata.Find(key) is { } values && (values.Type != GgufValueType.Array || values.Count != tokens.Count))
            {
                throw new FileFormatException($"{path}: {key} has {values.Count} entries for a vocabulary of {tokens.Count} tokens");
            }
        }
    }
}
