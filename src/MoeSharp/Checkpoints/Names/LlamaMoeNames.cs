using MoeSharp.Model;

namespace MoeSharp.Checkpoints.Names;

/// <summary>LLaMA-MoE (<c>llama_moe</c>).</summary>
internal static class LlamaMoeNames
{
    public static IEnumerable<WeightSlice> Slices(ModelConfig config, TensorPresence isPresent) => NameParts.Decoder(
        config,
        layer => NameParts.Attention(config, NameParts.Ours(layer, "attention."), NameParts.Theirs(layer, "self_attn.")),
        layer => Experts(config, config.Moe!, NameParts.Ours(layer, "moe."), NameParts.Theirs(layer, "mlp."))); // the family always has experts

    /// <summary>Noise on the router's logits is a matter of its training.</summary>
    public static IEnumerable<string> Noise(ModelConfig config) => ["model.layers.*.mlp.gate.weight_noise.weight"];

    private static IEnumerable<WeightSlice> Experts(ModelConfig config, MoeConfig moe, string ours, string theirs)
    {
        if (moe.HasRouterNetwork)
        {
            yield return WeightSlice.Whole(theirs + "gate.gate_network.0.weight", ours + "router", 0, moe.NumExperts, config.HiddenSize);
            yield return WeightSlice.Whole(theirs + "gate.gate_network.2.weight", ours + "router_output", 0, moe.NumExperts, moe.NumExperts);
        }
        else
        {
            yield return WeightSlice.Whole(theirs + "gate.gate_network.weight", ours + "router", 0, moe.NumExperts, config.HiddenSize);
        }

        for (int expert = 0; expert < moe.NumExperts; expert++)
        {
            FeedForwardNames names = new($"weight_gate.{expert}", $"weight_up.{expert}", $"weight_down.{expert}");
            foreach (WeightSlice slice in NameParts.FeedForward(ours + "experts.", theirs + "calculator.experts.", names, config.HiddenSize, moe.IntermediateSize, expert))
            {
                yield return slice;
            }
        }
    }
}
