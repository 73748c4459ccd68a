using MoeSharp.Model;

namespace MoeSharp.Checkpoints.Names;

/// <summary>Names of a feed-forward's three matrices.</summary>
/// <param name="Gate">Projection that goes through the activation.</param>
/// <param name="Up">Projection that it multiplies.</param>
/// <param name="Down">Projection back.</param>
internal readonly record struct FeedForwardNames(string Gate, string Up, string Down)
{
    /// <summary>The names of most families.</summary>
    public static FeedForwardNames Usual => new("gate_proj.weight", "up_proj.weight", "down_proj.weight");

    /// <summary>The names of Mixtral and its relatives: the third matrix is the second that is multiplied.</summary>
    public static FeedForwardNames Numbered => new("w1.weight", "w3.weight", "w2.weight");
}

/// <summary>What name tables of several families share. Tables are lazy: a hostile configuration may describe billions of tensors.</summary>
internal static class NameParts
{
    /// <summary>Embedding, layers with two norms each, final norm and head, as most families name them.</summary>
    /// <param name="config">Architecture.</param>
    /// <param name="attention">Slices of a layer's attention.</param>
    /// <param name="feedForward">Slices of a layer's feed-forward or experts.</param>
    public static IEnumerable<WeightSlice> Decoder(ModelConfig config, Func<int, IEnumerable<WeightSlice>> attention, Func<int, IEnumerable<WeightSlice>> feedForward)
    {
        yield return WeightSlice.Whole("model.embed_tokens.weight", "embedding", 0, config.VocabSize, config.HiddenSize);
        for (int layer = 0; layer < config.NumHiddenLayers; layer++)
        {
            yield return WeightSlice.Whole(Theirs(layer, "input_layernorm.weight"), Ours(layer, "attention_norm"), 0, config.HiddenSize);
            foreach (WeightSlice slice in attention(layer))
            {
                yield return slice;
            }

            yield return WeightSlice.Whole(Theirs(layer, "post_attention_layernorm.weight"), Ours(layer, "feed_forward_norm"), 0, config.HiddenSize);
            foreach (WeightSlice slice in feedForward(layer))
            {
                yield return slice;
            }
        }

        yield return WeightSlice.Whole("model.norm.weight", "final_norm", 0, config.HiddenSize);
        if (!config.TieWordEmbeddings)
        {
            yield return WeightSlice.Whole("lm_head.weight", "head", 0, config.VocabSize, config.HiddenSize);
        }
    }

    /// <summary>Path of a weight of a layer in the model.</summary>
    public static string Ours(int layer, string rest) => $"layers.{layer}.{rest}";

    /// <summary>Path of a weight of a layer in most families' files.</summary>
    public static string Theirs(int layer, string rest) => $"model.layers.{layer}.{rest}";

    /// <summary>Separate q, k, v and o projections, with the biases, norms and sinks that the configuration has. Query, key and value rows lie one after the other in one matrix.</summary>
    /// <param name="config">Architecture.</param>
    /// <param name="ours">Path of the attention layer in the model, with its dot.</param>
    /// <param name="theirs">Path in the file, with its dot.</param>
    public static IEnumerable<WeightSlice> Attention(ModelConfig config, string ours, string theirs)
    {
        long queryRows = (long)config.NumAttentionHeads * config.HeadDim;
        long keyRows = (long)config.NumKeyValueHeads * config.HeadDim;
        (string Name, long FirstRow, long Rows)[] parts = [("q_proj", 0, queryRows), ("k_proj", queryRows, keyRows), ("v_proj", queryRows + keyRows, keyRows)];
        foreach ((string name, long firstRow, long rows) in parts)
        {
            yield return WeightSlice.Whole($"{theirs}{name}.weight", ours + "qkv_projection", firstRow, rows, config.HiddenSize);
        }

        foreach ((string name, long firstRow, long rows) in config.AttentionBias ? parts : [])
        {
            yield return WeightSlice.Whole($"{theirs}{name}.bias", ours + "qkv_bias", firstRow, rows);
        }

        if (config.QueryKeyNorm != QueryKeyNorm.None)
        {
            bool isPerHead = config.QueryKeyNorm == QueryKeyNorm.PerHead;
            yield return WeightSlice.Whole(theirs + "q_norm.weight", ours + "query_norm", 0, isPerHead ? config.HeadDim : queryRows);
            yield return WeightSlice.Whole(theirs + "k_norm.weight", ours + "key_norm", 0, isPerHead ? config.HeadDim : keyRows);
        }

        if (config.HasAttentionSinks)
        {
            yield return WeightSlice.Whole(theirs + "sinks", ours + "sinks", 0, config.NumAttentionHeads);
        }

        yield return WeightSlice.Whole(theirs + "o_proj.weight", ours + "output_projection", 0, config.HiddenSize, queryRows);
        if (config.AttentionOutputBias)
        {
            yield return WeightSlice.Whole(theirs + "o_proj.bias", ours + "output_bias", 0, config.HiddenSize);
        }
    }

    /// <summary>One feed-forward. Gate rows, then up rows, lie in one matrix; the matrices of experts are stacked.</summary>
    /// <param name="ours">Path in the model, with its dot.</param>
    /// <param name="theirs">Path in the file, with its dot.</param>
    /// <param name="names">Names of the three matrices.</param>
    /// <param name="hidden">Width of the residual stream.</param>
    /// <param name="width">Width inside.</param>
    /// <param name="expert">Place in the stack; 0 where there is none.</param>
    public static IEnumerable<WeightSlice> FeedForward(string ours, string theirs, FeedForwardNames names, long hidden, long width, long expert = 0)
    {
        yield return WeightSlice.Whole(theirs + names.Gate, ours + "gate_up_projection", 2 * expert * width, width, hidden);
        yield return WeightSlice.Whole(theirs + names.Up, ours + "gate_up_projection", ((2 * expert) + 1) * width, width, hidden);
        yield return WeightSlice.Whole(theirs + names.Down, ours + "down_projection", expert * hidden, hidden, width);
    }

    /// <summary>Arctic's dense feed-forward beside the experts, as wide inside as outside, and its norm.</summary>
    public static IEnumerable<WeightSlice> Residual(ModelConfig config, int layer, FeedForwardNames names) =>
        FeedForward(Ours(layer, "residual_feed_forward."), Theirs(layer, "residual_mlp."), names, config.HiddenSize, config.HiddenSize)
            .Prepend(WeightSlice.Whole(Theirs(layer, "residual_layernorm.weight"), Ours(layer, "residual_norm"), 0, config.HiddenSize));

    /// <summary>Routed experts, each with tensors of its own.</summary>
    /// <param name="ours">Path of the experts in the model, with its dot.</param>
    /// <param name="theirs">Path of an expert in the file, with its dot.</param>
    /// <param name="names">Names of an expert's matrices.</param>
    /// <param name="hidden">Width of the residual stream.</param>
    /// <param name="moe">Number and width of the experts.</param>
    public static IEnumerable<WeightSlice> SeparateExperts(string ours, Func<int, string> theirs, FeedForwardNames names, long hidden, MoeConfig moe) =>
        Enumerable.Range(0, moe.NumExperts).SelectMany(expert => FeedForward(ours, theirs(expert), names, hidden, moe.IntermediateSize, expert));

    /// <summary>Routed experts as two tensors: <c>gate_up_proj</c> [experts, 2 width, hidden], gate rows first, and <c>down_proj</c> [experts, hidden, width].</summary>
    /// <param name="ours">Path of the experts in the model, with its dot.</param>
    /// <param name="theirs">Path of the experts in the file, with its dot.</param>
    /// <param name="hidden">Width of the residual stream.</param>
    /// <param name="moe">Number and width of the experts.</param>
    public static IEnumerable<WeightSlice> FusedExperts(string ours, string theirs, long hidden, MoeConfig moe) =>
    [
        WeightSlice.Whole(theirs + "gate_up_proj", ours + "gate_up_projection", 0, moe.NumExperts, 2L * moe.IntermediateSize, hidden),
        WeightSlice.Whole(theirs + "down_proj", ours + "down_projection", 0, moe.NumExperts, hidden, moe.IntermediateSize),
    ];

    /// <summary>Routed experts that each have tensors of their own, or in the fused form that some files are saved in.</summary>
    public static IEnumerable<WeightSlice> Experts(TensorPresence isPresent, string ours, string theirs, FeedForwardNames names, long hidden, MoeConfig moe) =>
        Either(isPresent, SeparateExperts(ours, expert => $"{theirs}{expert}.", names, hidden, moe), FusedExperts(ours, theirs, hidden, moe));

    /// <summary>The first spelling whose first tensor is in the file; the first of all when none is, so that errors and new files use it.</summary>
    public static IEnumerable<WeightSlice> Either(TensorPresence isPresent, params IEnumerable<WeightSlice>[] spellings) =>
        Array.Find(spellings, spelling => spelling.FirstOrDefault() is { } first && isPresent(first.CheckpointName)) ?? spellings[0];
}
