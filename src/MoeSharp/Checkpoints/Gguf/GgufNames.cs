using System.Globalization;
using MoeSharp.Model;

namespace MoeSharp.Checkpoints.Gguf;

/// <summary>The tensors of GGUF files, got from the table of the family's Hugging Face checkpoints: renamed, experts stacked.</summary>
internal static class GgufNames
{
    /// <summary>Divisors of the rotary angles: no weights, but part of the description.</summary>
    public const string RotaryDivisors = "rope_freqs.weight";

    // What stands before the number of a layer.
    private static readonly string[] s_layerPrefixes = ["model.layers.", "transformer.blocks."];

    // Names outside the layers, and inside them without the layer and ".weight" or ".bias".
    private static readonly Dictionary<string, string> s_names = new(StringComparer.Ordinal)
    {
        ["model.embed_tokens"] = "token_embd",
        ["model.norm"] = "output_norm",
        ["lm_head"] = "output",
        ["input_layernorm"] = "attn_norm",
        ["post_attention_layernorm"] = "ffn_norm",
        ["self_attn.q_proj"] = "attn_q",
        ["self_attn.k_proj"] = "attn_k",
        ["self_attn.v_proj"] = "attn_v",
        ["self_attn.o_proj"] = "attn_output",
        ["self_attn.q_norm"] = "attn_q_norm",
        ["self_attn.k_norm"] = "attn_k_norm",
        ["self_attn.sinks"] = "attn_sinks",
        ["self_attn.q_a_proj"] = "attn_q_a",
        ["self_attn.q_a_layernorm"] = "attn_q_a_norm",
        ["self_attn.q_b_proj"] = "attn_q_b",
        ["self_attn.kv_a_proj_with_mqa"] = "attn_kv_a_mqa",
        ["self_attn.kv_a_layernorm"] = "attn_kv_a_norm",
        ["mlp.gate_proj"] = "ffn_gate",
        ["mlp.up_proj"] = "ffn_up",
        ["mlp.down_proj"] = "ffn_down",
        ["mlp.gate"] = "ffn_gate_inp",
        ["mlp.router"] = "ffn_gate_inp",
        ["block_sparse_moe.gate"] = "ffn_gate_inp",
        ["mlp.gate.e_score_correction_bias"] = "exp_probs_b.bias",
        ["mlp.shared_experts.gate_proj"] = "ffn_gate_shexp",
        ["mlp.shared_experts.up_proj"] = "ffn_up_shexp",
        ["mlp.shared_experts.down_proj"] = "ffn_down_shexp",
        ["mlp.shared_expert.gate_proj"] = "ffn_gate_shexp",
        ["mlp.shared_expert.up_proj"] = "ffn_up_shexp",
        ["mlp.shared_expert.down_proj"] = "ffn_down_shexp",
        ["mlp.shared_expert_gate"] = "ffn_gate_inp_shexp",
        ["transformer.wte"] = "token_embd",
        ["transformer.norm_f"] = "output_norm",
        ["norm_attn_norm.norm_1"] = "attn_norm",
        ["norm_attn_norm.norm_2"] = "attn_output_norm",
        ["norm_attn_norm.attn.Wqkv"] = "attn_qkv",
        ["norm_attn_norm.attn.out_proj"] = "attn_output",
        ["ffn.router.layer"] = "ffn_gate_inp",
        ["pre_attn_norm"] = "attn_norm",
        ["attn.q_proj"] = "attn_q",
        ["attn.k_proj"] = "attn_k",
        ["attn.v_proj"] = "attn_v",
        ["attn.o_proj"] = "attn_output",
        ["post_attn_norm"] = "attn_output_norm",
        ["pre_moe_norm"] = "ffn_norm",
        ["moe_block.gate"] = "ffn_gate_inp",
        ["post_moe_norm"] = "layer_output_norm",
    };

    // What two families give another meaning.
    private static readonly Dictionary<string, string> s_arcticNames = new(StringComparer.Ordinal)
    {
        ["post_attention_layernorm"] = "ffn_norm_exps",
        ["residual_layernorm"] = "ffn_norm",
        ["residual_mlp.w1"] = "ffn_gate",
        ["residual_mlp.w3"] = "ffn_up",
        ["residual_mlp.w2"] = "ffn_down",
    };

    private static readonly Dictionary<string, string> s_gptOssNames = new(StringComparer.Ordinal) { ["post_attention_layernorm"] = "post_attention_norm" };

    private static readonly Dictionary<string, string> s_experts = new(StringComparer.Ordinal)
    {
        ["gate_proj.weight"] = "ffn_gate",
        ["up_proj.weight"] = "ffn_up",
        ["down_proj.weight"] = "ffn_down",
        ["w1.weight"] = "ffn_gate",
        ["w3.weight"] = "ffn_up",
        ["w2.weight"] = "ffn_down",
        ["linear.weight"] = "ffn_gate",
        ["linear_v.weight"] = "ffn_up",
        ["linear_1.weight"] = "ffn_down",
    };

    /// <summary>Every tensor, lazily and in the order of the model's parameters.</summary>
    /// <param name="config">Architecture.</param>
    /// <param name="isPresent">Whether the file has a tensor; nothing for a file to be written.</param>
    public static IEnumerable<WeightSlice> Slices(ModelConfig config, TensorPresence isPresent) => WeightNames.Lazily(config, _ => false).Select(slice => Rename(slice, config, isPresent));

    /// <summary>Patterns of tensors that the model does not need.</summary>
    /// <param name="config">Architecture.</param>
    /// <param name="predicting">Blocks behind the layers that predict later tokens.</param>
    /// <param name="isPresent">Whether the file has a tensor.</param>
    public static IEnumerable<string> Ignored(ModelConfig config, int predicting, TensorPresence isPresent)
    {
        yield return "*.attn_rot_embd.weight"; // computed from the base; the first files store it
        yield return RotaryDivisors; // read with the metadata
        for (int block = 0; block < predicting; block++)
        {
            yield return $"blk.{config.NumHiddenLayers + block}.*";
        }

        if (isPresent("blk.0.attn_k_b.weight"))
        {
            yield return "*.attn_kv_b.weight"; // the same numbers once more
        }
    }

    private static WeightSlice Rename(WeightSlice slice, ModelConfig config, TensorPresence isPresent)
    {
        if (Array.Find(s_layerPrefixes, prefix => slice.CheckpointName.StartsWith(prefix, StringComparison.Ordinal)) is not { } layers)
        {
            return slice with { CheckpointName = Translate(slice.CheckpointName, config) };
        }

        int dot = slice.CheckpointName.IndexOf('.', layers.Length);
        string block = $"blk.{slice.CheckpointName.AsSpan(layers.Length, dot - layers.Length)}.";
        string name = slice.CheckpointName[(dot + 1)..];
        return name switch
        {
            "self_attn.kv_b_proj.weight" when config.LatentAttention is { } latent => KeysAndValues(slice, config.NumAttentionHeads, latent, block, isPresent),
            "post_moe_norm.weight" when isPresent(block + "post_ffw_norm.weight") => slice with { CheckpointName = block + "post_ffw_norm.weight" },
            "mlp.shared_expert_gate.weight" => slice with { CheckpointName = block + Translate(name, config), CheckpointShape = [config.HiddenSize] },
            _ when config.Moe is { } moe && name.Contains(".experts.", StringComparison.Ordinal) => Expert(slice, name[(name.IndexOf(".experts.", StringComparison.Ordinal) + ".experts.".Length)..], config.HiddenSize, moe, block, isPresent),
            _ => slice with { CheckpointName = block + Translate(name, config) },
        };
    }

    // kv_b_proj [heads * (nope + value), latent] as attn_k_b [heads, latent, nope] and attn_v_b [heads, value, latent]; older files keep it whole.
    private static WeightSlice KeysAndValues(WeightSlice slice, long heads, LatentAttentionConfig latent, string block, TensorPresence isPresent)
    {
        if (isPresent(block + "attn_kv_b.weight") && !isPresent(block + "attn_k_b.weight"))
        {
            return slice with { CheckpointName = block + "attn_kv_b.weight" };
        }

        long rank = latent.LatentRank, nope = latent.NopeHeadDim, value = latent.ValueHeadDim;
        long head = (nope + value) * rank;
        bool isValue = slice.SourceOffset % head >= nope * rank;
        return isValue
            ? new TensorAxes((head, value * rank), (rank, rank), (1, 1)).Move(slice with { SourceOffset = slice.SourceOffset - (nope * rank) }, block + "attn_v_b.weight", heads, value, rank)
            : new TensorAxes((head, nope * rank), (rank, 1), (1, nope)).Move(slice, block + "attn_k_b.weight", heads, rank, nope);
    }

    private static WeightSlice Expert(WeightSlice slice, string name, long hidden, MoeConfig moe, string block, TensorPresence isPresent)
    {
        long experts = moe.NumExperts, width = moe.IntermediateSize;
        switch (name)
        {
            case "gate_up_proj": // gpt-oss: [experts, hidden, 2 width], gate and up take turns
                TensorAxes turns = new((hidden * 2 * width, width * hidden), (2 * width, 1), (2, hidden), (1, 0));
                return turns.Move(slice, $"{block}ffn_{GateOrUp(slice)}_exps.weight", experts, width, hidden);
            case "gate_up_proj_bias":
                return new TensorAxes((2 * width, width), (2, 1), (1, 0)).Move(slice, $"{block}ffn_{GateOrUp(slice)}_exps.bias", experts, width);
            case "down_proj": // [experts, width, hidden]
                return new TensorAxes((width * hidden, hidden * width), (hidden, 1), (1, width)).Move(slice, block + "ffn_down_exps.weight", experts, hidden, width);
            case "mlp.w1" or "mlp.v1": // DBRX: [experts * width, hidden]
                return slice with { CheckpointName = block + (name == "mlp.w1" ? "ffn_gate_exps.weight" : "ffn_up_exps.weight"), CheckpointShape = [experts, width, hidden] };
            case "mlp.w2":
                return new TensorAxes((width * hidden, hidden * width), (hidden, 1), (1, width)).Move(slice, block + "ffn_down_exps.weight", experts, hidden, width);
            case "down_proj_bias":
                return slice with { CheckpointName = block + "ffn_down_exps.bias" };
            default:
                int dot = name.IndexOf('.', StringComparison.Ordinal);
                long expert = long.Parse(name.AsSpan(0, dot), CultureInfo.InvariantCulture);
                return Stacked(slice, expert, s_experts[name[(dot + 1)..]], experts, block, isPresent);
        }
    }

    private static string GateOrUp(WeightSlice slice) => slice.SourceOffset % 2 == 0 ? "gate" : "up";

    // One matrix of the stack; some files stack gate and up together, the first ones had a tensor for every expert.
    private static WeightSlice Stacked(WeightSlice slice, long expert, string name, long experts, string block, TensorPresence isPresent)
    {
        (long rows, long columns) = (slice.CheckpointShape[0], slice.CheckpointShape[1]);
        string stacked = $"{block}{name}_exps.weight";
        if (!isPresent(stacked) && name != "ffn_down" && isPresent(block + "ffn_gate_up_exps.weight"))
        {
            long first = (2 * expert) + (name == "ffn_up" ? 1 : 0);
            return slice with { CheckpointName = block + "ffn_gate_up_exps.weight", CheckpointShape = [experts, 2 * rows, columns], SourceOffset = slice.SourceOffset + (first * rows * columns) };
        }

        if (!isPresent(stacked) && isPresent($"{block}{name}.{expert}.weight"))
        {
            return slice with { CheckpointName = $"{block}{name}.{expert}.weight" };
        }

        return slice with { CheckpointName = stacked, CheckpointShape = [experts, rows, columns], SourceOffset = slice.SourceOffset + (expert * rows * columns) };
    }

    private static string Translate(string name, ModelConfig config)
    {
        string ending = name.EndsWith(".bias", StringComparison.Ordinal) ? ".bias" : ".weight";
        string stem = name.EndsWith(ending, StringComparison.Ordinal) ? name[..^ending.Length] : name;
        Dictionary<string, string>? own = config.ModelType switch { "arctic" => s_arcticNames, "gpt_oss" => s_gptOssNames, _ => null };
        string translated = own?.GetValueOrDefault(stem) ?? s_names.GetValueOrDefault(stem)
            ?? throw new ConfigurationException($"GGUF has no name for the tensor {name} of {config.ModelType}");
        return translated.EndsWith(".bias", StringComparison.Ordinal) ? translated : translated + ending;
    }
}
