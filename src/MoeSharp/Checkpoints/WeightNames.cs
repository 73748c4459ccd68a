using MoeSharp.Model;

namespace MoeSharp.Checkpoints;

/// <summary>One tensor of a checkpoint and the contiguous part of a parameter that it fills.</summary>
/// <param name="CheckpointName">Name in the file.</param>
/// <param name="ParameterName">Name of the parameter.</param>
/// <param name="Offset">First element within the parameter.</param>
/// <param name="Shape">Dimensions in the file.</param>
public sealed record WeightSlice(string CheckpointName, string ParameterName, long Offset, int[] Shape)
{
    /// <summary>Number of elements.</summary>
    public long Length => Shape.Aggregate(1L, (product, dimension) => product * dimension);
}

/// <summary>The one table between names in checkpoints and parameters of the model. Foreign names exist nowhere else.</summary>
public static class WeightNames
{
    /// <summary>Every tensor of a checkpoint, in the order of the model's parameters.</summary>
    /// <param name="config">Architecture; families <c>deepseek</c> and <c>llama</c> share these names.</param>
    public static IReadOnlyList<WeightSlice> Of(ModelConfig config)
    {
        List<WeightSlice> slices = [];
        int hidden = config.HiddenSize;
        Add(slices, "embedding", "model.embed_tokens.weight", config.VocabSize, hidden);
        for (int layer = 0; layer < config.NumHiddenLayers; layer++)
        {
            string ours = $"layers.{layer}.";
            string theirs = $"model.layers.{layer}.";
            Add(slices, ours + "attention_norm", theirs + "input_layernorm.weight", hidden);
            AddAttention(slices, config, ours + "attention.", theirs + "self_attn.");
            Add(slices, ours + "feed_forward_norm", theirs + "post_attention_layernorm.weight", hidden);
            if (config.IsMoeLayer(layer) && config.Moe is { } moe)
            {
                AddExperts(slices, hidden, moe, ours + "moe.", theirs + "mlp.");
            }
            else
            {
                AddFeedForward(slices, hidden, config.IntermediateSize, ours + "feed_forward.", theirs + "mlp.");
            }
        }

        Add(slices, "final_norm", "model.norm.weight", hidden);
        if (!config.TieWordEmbeddings)
        {
            Add(slices, "head", "lm_head.weight", config.VocabSize, hidden);
        }

        return slices;
    }

    /// <summary>An upper bound on the number of tensors, without making the table: a hostile configuration may describe billions.</summary>
    public static long Count(ModelConfig config)
    {
        const int TensorsOutsideExperts = 14; // norms, attention with biases, router or dense feed-forward, shared experts
        return 3 + (config.NumHiddenLayers * (TensorsOutsideExperts + (3L * (config.Moe?.NumExperts ?? 0))));
    }

    /// <summary>Whether a tensor without a slice is known to hold nothing that the model needs.</summary>
    public static bool IsIgnorable(string checkpointName, ModelConfig config) =>
        (config.TieWordEmbeddings && checkpointName == "lm_head.weight") // a copy of the embedding
        || checkpointName.EndsWith("rotary_emb.inv_freq", StringComparison.Ordinal); // computed from rope_theta; old files store it

    // Query, key and value rows lie one after the other in one matrix.
    private static void AddAttention(List<WeightSlice> slices, ModelConfig config, string ours, string theirs)
    {
        int queryRows = config.NumAttentionHeads * config.HeadDim;
        int keyRows = config.NumKeyValueHeads * config.HeadDim;
        (string Name, int Rows)[] parts = [("q_proj", queryRows), ("k_proj", keyRows), ("v_proj", keyRows)];
        long row = 0;
        foreach ((string name, int rows) in parts)
        {
            slices.Add(new WeightSlice($"{theirs}{name}.weight", ours + "qkv_projection", row * config.HiddenSize, [rows, config.HiddenSize]));
            row += rows;
        }

        row = 0;
        foreach ((string name, int rows) in config.AttentionBias ? parts : [])
        {
            slices.Add(new WeightSlice($"{theirs}{name}.bias", ours + "qkv_bias", row, [rows]));
            row += rows;
        }

        Add(slices, ours + "output_projection", theirs + "o_proj.weight", config.HiddenSize, queryRows);
        if (config.AttentionBias)
        {
            Add(slices, ours + "output_bias", theirs + "o_proj.bias", config.HiddenSize);
        }
    }

    private static void AddExperts(List<WeightSlice> slices, int hidden, MoeConfig moe, string ours, string theirs)
    {
        if (moe.Router == RouterKind.TopK)
        {
            Add(slices, ours + "router", theirs + "gate.weight", moe.NumExperts, hidden);
        }

        for (int expert = 0; expert < moe.NumExperts; expert++)
        {
            AddFeedForward(slices, hidden, moe.IntermediateSize, ours + "experts.", $"{theirs}experts.{expert}.", expert);
        }

        if (moe.NumSharedExperts > 0)
        {
            AddFeedForward(slices, hidden, moe.NumSharedExperts * moe.IntermediateSize, ours + "shared_experts.", theirs + "shared_experts.");
        }
    }

    // Gate rows, then up rows, in one matrix; expert matrices are stacked.
    private static void AddFeedForward(List<WeightSlice> slices, int hidden, int width, string ours, string theirs, int expert = 0)
    {
        long matrix = (long)width * hidden;
        slices.Add(new WeightSlice(theirs + "gate_proj.weight", ours + "gate_up_projection", 2 * expert * matrix, [width, hidden]));
        slices.Add(new WeightSlice(theirs + "up_proj.weight", ours + "gate_up_projection", ((2 * expert) + 1) * matrix, [width, hidden]));
        slices.Add(new WeightSlice(theirs + "down_proj.weight", ours + "down_projection", expert * matrix, [hidden, width]));
    }

    private static void Add(List<WeightSlice> slices, string ours, string theirs, params int[] shape) => slices.Add(new WeightSlice(theirs, ours, 0, shape));
}
