using MoeSharp.Model;

namespace MoeSharp.Checkpoints.Gguf;

/// <summary>An architecture of GGUF files: how its metadata becomes a <see cref="ModelConfig"/>.</summary>
/// <param name="Name">Value of general.architecture.</param>
/// <param name="Read">Reads the metadata.</param>
internal sealed record GgufArchitecture(string Name, Func<GgufKeys, ModelConfig> Read)
{
    // Grok-1's numbers, for files whose metadata does not have them (xai-org/grok-1, run.py and model.py).
    private const double GrokEmbeddingScale = 78.38367176906169;
    private const double GrokLogitScale = 0.5773502691896257;
    private const double GrokScoreScale = 0.08838834764831845;
    private const double GrokScoreCap = 30;

    private static readonly GgufArchitecture[] s_all =
    [
        new("llama", ReadLlama),
        new("qwen2", keys => keys.WithEqualHeads(keys.Decoder("qwen2")) with { AttentionBias = true, AttentionOutputBias = false }),
        new("deepseek", ReadDeepSeek),
        new("deepseek2", ReadDeepSeek2),
        new("qwen2moe", ReadQwen2Moe),
        new("qwen3moe", ReadQwen3Moe),
        new("olmoe", keys => WithExperts(keys, keys.Decoder("olmoe") with { QueryKeyNorm = QueryKeyNorm.WholeProjection }, keys.Int("feed_forward_length"), normalizes: false)),
        new("dbrx", ReadDbrx),
        new("grok", ReadGrok),
        new("arctic", ReadArctic),
        new("gpt-oss", ReadGptOss),
    ];

    /// <summary>Reads the architecture of a file.</summary>
    /// <exception cref="ConfigurationException">The architecture or one of its settings is not supported.</exception>
    /// <exception cref="FileFormatException">Metadata is missing, of another type, or impossible.</exception>
    public static ModelConfig ConfigOf(GgufFile file)
    {
        string name = file.Metadata.GetString("general.architecture");
        GgufArchitecture architecture = Array.Find(s_all, known => known.Name == name)
            ?? throw new ConfigurationException($"{file.Path}: the architecture {SafetensorsHeader.Shown(name)} is not supported; {string.Join(", ", s_all.Select(known => known.Name))} are");
        ModelConfig config = architecture.Read(new GgufKeys(file, name));
        config.Validate(file.Path);
        return config;
    }

    /// <summary>Blocks of a file behind its layers: they predict later tokens.</summary>
    public static int NumPredictingLayers(GgufFile file) => new GgufKeys(file, file.Metadata.GetString("general.architecture")).NumPredictingLayers;

    /// <summary>Tokens that end a text or a turn.</summary>
    public static IReadOnlyList<int> EndTokens(GgufFile file) =>
    [
        .. ((string[])["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"])
            .Select(key => file.Metadata.GetInteger(key, -1)).Where(token => token is >= 0 and <= int.MaxValue).Select(token => (int)token).Distinct(),
    ];

    // Converters swap the rows of queries and keys in these architectures, so that pairs lie side by side.
    private static ModelConfig Interleaved(ModelConfig config) => config with { Rope = config.Rope with { IsInterleaved = true } };

    private static ModelConfig WithExperts(GgufKeys keys, ModelConfig config, int width, bool normalizes) =>
        keys.WithEqualHeads(config) with { Moe = keys.Experts(width, normalizes) };

    private static ModelConfig ReadLlama(GgufKeys keys)
    {
        ModelConfig config = Interleaved(keys.Decoder(keys.NumExperts > 0 ? "mixtral" : "llama")) with
        {
            AttentionBias = keys.HasTensor("blk.0.attn_q.bias"),
            AttentionOutputBias = keys.HasTensor("blk.0.attn_output.bias"),
        };
        return keys.NumExperts > 0 ? WithExperts(keys, config, config.IntermediateSize, normalizes: true) : keys.WithEqualHeads(config);
    }

    private static ModelConfig ReadDeepSeek(GgufKeys keys)
    {
        ModelConfig config = WithExperts(keys, Interleaved(keys.Decoder("deepseek")), keys.Int("expert_feed_forward_length"), keys.Bool("expert_weights_norm", false));
        return config with { Moe = config.Moe! with { FirstKDenseReplace = keys.Int("leading_dense_block_count", 0), NumSharedExperts = keys.Int("expert_shared_count", 0) } }; // WithExperts sets Moe
    }

    private static ModelConfig ReadDeepSeek2(GgufKeys keys)
    {
        const int SoftmaxScores = 1, SigmoidScores = 2;
        int gating = keys.Int("expert_gating_func", SoftmaxScores) is not 0 and var function ? function : SoftmaxScores; // files of the first months lack it: softmax
        if (gating is not (SoftmaxScores or SigmoidScores))
        {
            throw keys.NotSupported("expert_gating_func", gating, "1 (softmax) and 2 (sigmoid) are");
        }

        bool isSigmoid = gating == SigmoidScores;
        ModelConfig config = Latent(keys, Interleaved(keys.Decoder(isSigmoid ? "deepseek_v3" : "deepseek_v2")));
        return config with
        {
            Moe = keys.Experts(keys.Int("expert_feed_forward_length"), keys.Bool("expert_weights_norm", false)) with
            {
                FirstKDenseReplace = keys.Int("leading_dense_block_count", 0),
                NumSharedExperts = keys.Int("expert_shared_count", 0),
                Scoring = isSigmoid ? RouterScoring.Sigmoid : RouterScoring.Softmax,
                ScalesNormalizedWeights = isSigmoid,
                NumGroups = Math.Max(keys.Int("expert_group_count", 1), 1),
                TopKGroups = Math.Max(keys.Int("expert_group_used_count", 1), 1),
                GroupScoring = isSigmoid ? GroupScoring.TopTwoSum : GroupScoring.Max, // DeepSeek-V2 scores a group by its best expert
                HasSelectionBias = keys.HasTensor($"blk.{keys.NumLayers - 1}.exp_probs_b.bias"),
            },
        };
    }

    // Newer files describe the absorbed form (one key head: the latent) and give the true head widths as *_mla; older ones describe the expanded form.
    private static ModelConfig Latent(GgufKeys keys, ModelConfig config)
    {
        int keyWidth = keys.Int("attention.key_length_mla", config.HeadDim);
        int rope = keys.Int("rope.dimension_count");
        LatentAttentionConfig latent = new()
        {
            QueryRank = keys.Int("attention.q_lora_rank", 0),
            LatentRank = keys.Int("attention.kv_lora_rank"),
            NopeHeadDim = keyWidth - rope,
            RopeHeadDim = rope,
            ValueHeadDim = keys.Int("attention.value_length_mla", keys.Int("attention.value_length", keyWidth)),
        };
        return config with
        {
            HeadDim = keyWidth,
            NumKeyValueHeads = config.NumAttentionHeads,
            LatentAttention = latent,
            Rope = config.Rope with
            {
                RotaryDim = 0, // the rotated part is a width of its own
                AttentionFactor = 1, // mscale is not in the file; in the released models it equals mscale_all_dim, and the two cancel
                MscaleAllDim = config.Rope.Scaling == RopeScaling.Yarn ? keys.Float("rope.scaling.yarn_log_multiplier", 0) / 0.1 : 0, // stored as 0.1 mscale_all_dim
            },
        };
    }

    private static ModelConfig ReadQwen2Moe(GgufKeys keys)
    {
        ModelConfig config = keys.Decoder("qwen2_moe") with { AttentionBias = true, AttentionOutputBias = false };
        int width = keys.Int("expert_feed_forward_length", config.IntermediateSize / Math.Max(keys.Int("expert_used_count"), 1)); // the first files lack it
        config = WithExperts(keys, config, width, normalizes: false);
        return config with
        {
            Moe = config.Moe! with // WithExperts sets it
            {
                SharedIntermediateSize = keys.Int("expert_shared_feed_forward_length", config.IntermediateSize),
                HasSharedExpertGate = true,
                MoeLayerEndsPeriod = true,
            },
        };
    }

    private static ModelConfig ReadQwen3Moe(GgufKeys keys)
    {
        ModelConfig config = keys.Decoder("qwen3_moe") with { QueryKeyNorm = QueryKeyNorm.PerHead };
        config = WithExperts(keys, config, keys.Int("expert_feed_forward_length", config.IntermediateSize / Math.Max(keys.Int("expert_used_count"), 1)), normalizes: true);
        return config with { Moe = config.Moe! with { MoeLayerEndsPeriod = true } }; // WithExperts sets it
    }

    private static ModelConfig ReadDbrx(GgufKeys keys) => WithExperts(
        keys,
        keys.Decoder("dbrx", "attention.layer_norm_epsilon") with { UsesLayerNorm = true, ClipQkv = (float)keys.Float("attention.clamp_kqv", 0) },
        keys.Int("feed_forward_length"),
        normalizes: true);

    private static ModelConfig ReadGrok(GgufKeys keys)
    {
        ModelConfig config = keys.Decoder("grok-1") with
        {
            BlockLayout = BlockLayout.SandwichNorm,
            EmbeddingScale = (float)keys.Float("embedding_scale", GrokEmbeddingScale),
            LogitScale = (float)keys.Float("logit_scale", GrokLogitScale),
            AttentionScale = (float)keys.Float("attention.output_scale", GrokScoreScale),
            AttentionScoreCap = (float)keys.Float("attn_logit_softcapping", GrokScoreCap),
            LogitCap = (float)keys.Float("final_logit_softcapping", 0),
        };
        if (keys.Float("router_logit_softcapping", 0) is not 0 and var cap)
        {
            throw keys.NotSupported("router_logit_softcapping", cap, "Grok-1 has none; Grok-2 is another architecture");
        }

        // Grok-1 uses its two probabilities as they are (xai-org/grok-1, model.py).
        config = WithExperts(keys, config, keys.Int("expert_feed_forward_length", config.IntermediateSize), normalizes: false);
        return config with { Moe = config.Moe! with { Activation = ExpertActivation.GeGlu } }; // WithExperts sets it
    }

    private static ModelConfig ReadArctic(GgufKeys keys)
    {
        ModelConfig config = WithExperts(keys, Interleaved(keys.Decoder("arctic")) with { BlockLayout = BlockLayout.ParallelExperts }, keys.Int("feed_forward_length"), normalizes: true);
        return config with { Moe = config.Moe! with { MoeLayerEndsPeriod = true } }; // WithExperts sets it
    }

    private static ModelConfig ReadGptOss(GgufKeys keys)
    {
        ModelConfig config = keys.Decoder("gpt_oss") with
        {
            AttentionBias = true,
            HasAttentionSinks = true,
            SlidingWindow = keys.Int("attention.sliding_window"),
            LayerAttention = [.. Enumerable.Range(0, keys.NumLayers).Select(layer => layer % 2 == 0 ? AttentionKind.Sliding : AttentionKind.Full)],
        };
        config = WithExperts(keys, config, keys.Int("expert_feed_forward_length", config.IntermediateSize), normalizes: false);
        return config with
        {
            Rope = config.Rope with { Truncates = false },
            Moe = config.Moe! with // WithExperts sets it
            {
                Scoring = RouterScoring.SoftmaxOverChosen,
                HasRouterBias = true,
                HasExpertBias = true,
                Activation = ExpertActivation.ClampedSwiGlu,
            },
        };
    }
}
