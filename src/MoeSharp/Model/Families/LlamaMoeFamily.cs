using System.Text.Json;

namespace MoeSharp.Model.Families;

/// <summary>LLaMA-MoE: a LLaMA whose feed-forward is cut into experts, chosen by a small network.</summary>
internal static class LlamaMoeFamily
{
    private const float BalancedGateScale = 1f;

    public static ModelFamily Family { get; } = new("llama_moe", "LlamaMoEForCausalLM", Read, Write);

    private static ModelConfig Read(ConfigReader reader)
    {
        ModelConfig config = DecoderKeys.Read(reader, "llama_moe", new DecoderDefaults()) with { AttentionBias = reader.Switch("attention_bias", false) };
        reader.OneOf("gate_type", "TopKBalancedNoisyGate", "TopKBalancedNoisyGate");
        reader.OneOf("calculator_type", "UniversalCalculator", "UniversalCalculator");
        reader.Require("gate_use_softmax", true, "weights are the softmax of the chosen logits");
        reader.Require("multiply_gate_scores", true, "experts are weighted by the gate");
        reader.Require("add_weight_norm", false, "experts have no norm here");
        reader.Ignore("gate_use_balance", "gate_balance_loss_weight", "gate_add_noise", "gate_noise_epsilon"); // of training
        bool hasNetwork = reader.OneOf("gate_network", "mlp", "mlp", "linear") == "mlp";
        int numExperts = reader.Int("num_experts", 16);
        if (numExperts > 0 && config.IntermediateSize % numExperts != 0)
        {
            reader.Problems.Add($"intermediate_size {config.IntermediateSize} is the sum over num_experts {numExperts} and is not divisible by it");
        }

        int width = numExperts > 0 ? config.IntermediateSize / numExperts : 0;
        CheckSizes(reader, width);
        return config with
        {
            Moe = ReadScale(reader, new MoeConfig
            {
                NumExperts = numExperts,
                TopK = reader.Int("num_selects", 4),
                IntermediateSize = width,
                Scoring = RouterScoring.SoftmaxOverChosen,
                HasRouterNetwork = hasNetwork,
            }),
        };
    }

    // Explicit sizes are a list per layer of one size per expert.
    private static void CheckSizes(ConfigReader reader, int width)
    {
        if (reader.List("size_experts", JsonValueKind.Array) is { } layers
            && layers.Any(layer => layer.EnumerateArray().Any(size => size.ValueKind != JsonValueKind.Number || !size.TryGetInt32(out int value) || value != width)))
        {
            reader.Problems.Add($"size_experts is not supported unless all experts have {width} (intermediate_size over num_experts)");
        }
    }

    // One number, or one per layer.
    private static MoeConfig ReadScale(ConfigReader reader, MoeConfig moe)
    {
        if (reader.Value("score_scale_factor") is not { ValueKind: JsonValueKind.Array })
        {
            return moe with { RoutedScalingFactor = (float)reader.Number("score_scale_factor", BalancedGateScale) };
        }

        float[] factors = [.. (reader.List("score_scale_factor", JsonValueKind.Number) ?? []).Select(factor => factor.GetSingle())];
        return factors.Distinct().Count() == 1 ? moe with { RoutedScalingFactor = factors[0] } : moe with { LayerScalingFactors = factors };
    }

    private static void Write(Utf8JsonWriter writer, ModelConfig config)
    {
        MoeConfig moe = DecoderKeys.Experts(config);
        DecoderKeys.Write(writer, config);
        writer.WriteBoolean("attention_bias", config.AttentionBias);
        writer.WriteNumber("num_experts", moe.NumExperts);
        writer.WriteNumber("num_selects", moe.TopK);
        writer.WriteNull("size_experts");
        writer.WriteString("gate_type", "TopKBalancedNoisyGate");
        writer.WriteString("gate_network", moe.HasRouterNetwork ? "mlp" : "linear");
        writer.WriteBoolean("gate_use_softmax", true);
        writer.WriteString("calculator_type", "UniversalCalculator");
        writer.WriteBoolean("multiply_gate_scores", true);
        WriteScale(writer, moe);
        writer.WriteBoolean("add_weight_norm", false);
    }

    private static void WriteScale(Utf8JsonWriter writer, MoeConfig moe)
    {
        if (moe.LayerScalingFactors.Count == 0)
        {
            writer.WriteNumber("score_scale_factor", moe.RoutedScalingFactor);
            return;
        }

        writer.WriteStartArray("score_scale_factor");
        foreach (float factor in moe.LayerScalingFactors)
        {
            writer.WriteNumberValue(factor);
        }

        writer.WriteEndArray();
    }
}
