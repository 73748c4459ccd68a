namespace MoeSharp.Model;

/// <summary>Released mixture-of-experts models as their config.json describes them.</summary>
internal static class PublishedModels
{
    /// <summary>DeepSeek-V2-Lite (arXiv 2405.04434, appendix B).</summary>
    public static ModelConfig DeepSeekV2Lite { get; } = Decoder("deepseek_v2", 27, 2048, 16, 102400) with
    {
        IntermediateSize = 10944,
        MaxPositionEmbeddings = 163840,
        HeadDim = 192,
        LatentAttention = Latent(queryRank: 0),
        Rope = DeepSeekRope(mscale: 0.707),
        BosTokenId = 100000,
        EosTokenId = 100001,
        Moe = new MoeConfig { NumExperts = 64, TopK = 6, IntermediateSize = 1408, NumSharedExperts = 2, FirstKDenseReplace = 1, ScalesNormalizedWeights = false },
    };

    /// <summary>DeepSeek-V2 (arXiv 2405.04434).</summary>
    public static ModelConfig DeepSeekV2 { get; } = DeepSeekV2Lite with
    {
        NumHiddenLayers = 60,
        HiddenSize = 5120,
        NumAttentionHeads = 128,
        NumKeyValueHeads = 128,
        IntermediateSize = 12288,
        LatentAttention = Latent(queryRank: 1536),
        Moe = new MoeConfig
        {
            NumExperts = 160,
            TopK = 6,
            IntermediateSize = 1536,
            NumSharedExperts = 2,
            FirstKDenseReplace = 1,
            NumGroups = 8,
            TopKGroups = 3,
            RoutedScalingFactor = 16,
            ScalesNormalizedWeights = false,
        },
    };

    /// <summary>DeepSeek-V3 and R1 (arXiv 2412.19437).</summary>
    public static ModelConfig DeepSeekV3 { get; } = Decoder("deepseek_v3", 61, 7168, 128, 129280) with
    {
        IntermediateSize = 18432,
        MaxPositionEmbeddings = 163840,
        HeadDim = 192,
        LatentAttention = Latent(queryRank: 1536),
        Rope = DeepSeekRope(mscale: 1),
        BosTokenId = 0,
        EosTokenId = 1,
        Moe = new MoeConfig
        {
            NumExperts = 256,
            TopK = 8,
            IntermediateSize = 2048,
            NumSharedExperts = 1,
            FirstKDenseReplace = 3,
            NumGroups = 8,
            TopKGroups = 4,
            GroupScoring = GroupScoring.TopTwoSum,
            Scoring = RouterScoring.Sigmoid,
            HasSelectionBias = true,
            NormTopKProb = true,
            RoutedScalingFactor = 2.5f,
        },
    };

    /// <summary>Mixtral 8x7B (arXiv 2401.04088).</summary>
    public static ModelConfig Mixtral8x7B { get; } = Decoder("mixtral", 32, 4096, 32, 32000) with
    {
        NumKeyValueHeads = 8,
        IntermediateSize = 14336,
        MaxPositionEmbeddings = 32768,
        RmsNormEps = 1e-5f,
        RopeTheta = 1e6,
        BosTokenId = 1,
        EosTokenId = 2,
        Moe = new MoeConfig { NumExperts = 8, TopK = 2, IntermediateSize = 14336, NormTopKProb = true },
    };

    /// <summary>Mixtral 8x22B, base.</summary>
    public static ModelConfig Mixtral8x22B { get; } = Mixtral8x7B with
    {
        NumHiddenLayers = 56,
        HiddenSize = 6144,
        NumAttentionHeads = 48,
        IntermediateSize = 16384,
        MaxPositionEmbeddings = 65536,
        Moe = new MoeConfig { NumExperts = 8, TopK = 2, IntermediateSize = 16384, NormTopKProb = true },
    };

    /// <summary>Qwen1.5-MoE-A2.7B.</summary>
    public static ModelConfig Qwen15Moe { get; } = Decoder("qwen2_moe", 24, 2048, 16, 151936) with
    {
        IntermediateSize = 5632,
        MaxPositionEmbeddings = 8192,
        RopeTheta = 1e6,
        AttentionBias = true,
        AttentionOutputBias = false,
        BosTokenId = 151643,
        EosTokenId = 151643,
        Moe = new MoeConfig { NumExperts = 60, TopK = 4, IntermediateSize = 1408, SharedIntermediateSize = 5632, HasSharedExpertGate = true, MoeLayerEndsPeriod = true },
    };

    /// <summary>Qwen3-30B-A3B (arXiv 2505.09388).</summary>
    public static ModelConfig Qwen3A3B { get; } = Decoder("qwen3_moe", 48, 2048, 32, 151936) with
    {
        NumKeyValueHeads = 4,
        HeadDim = 128,
        QueryKeyNorm = QueryKeyNorm.PerHead,
        IntermediateSize = 6144,
        MaxPositionEmbeddings = 40960,
        RopeTheta = 1e6,
        BosTokenId = 151643,
        EosTokenId = 151645,
        Moe = new MoeConfig { NumExperts = 128, TopK = 8, IntermediateSize = 768, NormTopKProb = true, MoeLayerEndsPeriod = true },
    };

    /// <summary>Qwen3-235B-A22B (arXiv 2505.09388).</summary>
    public static ModelConfig Qwen3A22B { get; } = Qwen3A3B with
    {
        NumHiddenLayers = 94,
        HiddenSize = 4096,
        NumAttentionHeads = 64,
        IntermediateSize = 12288,
        Moe = new MoeConfig { NumExperts = 128, TopK = 8, IntermediateSize = 1536, NormTopKProb = true, MoeLayerEndsPeriod = true },
    };

    /// <summary>OLMoE-1B-7B (arXiv 2409.02060).</summary>
    public static ModelConfig Olmoe { get; } = Decoder("olmoe", 16, 2048, 16, 50304) with
    {
        QueryKeyNorm = QueryKeyNorm.WholeProjection,
        IntermediateSize = 1024,
        MaxPositionEmbeddings = 4096,
        RmsNormEps = 1e-5f,
        EosTokenId = 50279,
        Moe = new MoeConfig { NumExperts = 64, TopK = 8, IntermediateSize = 1024 },
    };

    /// <summary>JetMoE-8B (arXiv 2404.07413).</summary>
    public static ModelConfig JetMoe { get; } = Decoder("jetmoe", 24, 2048, 16, 32000) with
    {
        IntermediateSize = 5632,
        MaxPositionEmbeddings = 4096,
        InitializerRange = 0.01f,
        TieWordEmbeddings = true,
        AttentionOutputBias = true,
        AttentionExperts = new AttentionExpertsConfig { Kind = AttentionExpertsKind.Mixture, NumExperts = 8, TopK = 2, NormTopKProb = true },
        BosTokenId = 1,
        EosTokenId = 2,
        Moe = new MoeConfig { NumExperts = 8, TopK = 2, IntermediateSize = 5632, NormTopKProb = true, HasOutputBias = true },
    };

    /// <summary>DBRX.</summary>
    public static ModelConfig Dbrx { get; } = Decoder("dbrx", 40, 6144, 48, 100352) with
    {
        NumKeyValueHeads = 8,
        IntermediateSize = 10752,
        MaxPositionEmbeddings = 32768,
        RmsNormEps = 1e-5f,
        RopeTheta = 500000,
        ClipQkv = 8,
        UsesLayerNorm = true,
        Moe = new MoeConfig { NumExperts = 16, TopK = 4, IntermediateSize = 10752, NormTopKProb = true },
    };

    /// <summary>Snowflake Arctic.</summary>
    public static ModelConfig Arctic { get; } = Decoder("arctic", 35, 7168, 56, 32000) with
    {
        NumKeyValueHeads = 8,
        IntermediateSize = 4864,
        MaxPositionEmbeddings = 4096,
        RmsNormEps = 1e-5f,
        BlockLayout = BlockLayout.ParallelExperts,
        BosTokenId = 31998,
        EosTokenId = 31999,
        Moe = new MoeConfig { NumExperts = 128, TopK = 2, IntermediateSize = 4864, NormTopKProb = true, MoeLayerEndsPeriod = true },
    };

    /// <summary>LLaMA-MoE-3.5B, 4 of 16 experts (arXiv 2406.16554).</summary>
    public static ModelConfig LlamaMoe { get; } = Decoder("llama_moe", 32, 4096, 32, 32000) with
    {
        IntermediateSize = 11008,
        MaxPositionEmbeddings = 4096,
        RmsNormEps = 1e-5f,
        BosTokenId = 1,
        EosTokenId = 2,
        Moe = new MoeConfig { NumExperts = 16, TopK = 4, IntermediateSize = 688, Scoring = RouterScoring.SoftmaxOverChosen, HasRouterNetwork = true, RoutedScalingFactor = 4 },
    };

    /// <summary>Grok-1.</summary>
    public static ModelConfig Grok1 { get; } = Decoder("grok-1", 64, 6144, 48, 131072) with
    {
        NumKeyValueHeads = 8,
        IntermediateSize = 32768,
        MaxPositionEmbeddings = 8192,
        RmsNormEps = 1e-5f,
        TieWordEmbeddings = true,
        BlockLayout = BlockLayout.SandwichNorm,
        EmbeddingScale = 78.38367176906169f,
        LogitScale = 0.5773502691896257f,
        AttentionScale = 0.08838834764831845f,
        AttentionScoreCap = 30,
        EosTokenId = 2,
        Moe = new MoeConfig { NumExperts = 8, TopK = 2, IntermediateSize = 32768, Activation = ExpertActivation.GeGlu },
    };

    /// <summary>MiniMax-Text-01 (arXiv 2501.08313).</summary>
    public static ModelConfig MiniMaxText01 { get; } = Decoder("minimax", 80, 6144, 64, 200064) with
    {
        NumKeyValueHeads = 8,
        HeadDim = 128,
        IntermediateSize = 9216,
        MaxPositionEmbeddings = 10240000,
        RmsNormEps = 1e-5f,
        Rope = new RopeConfig { Theta = 1e7, RotaryDim = 64 },
        BlockLayout = BlockLayout.NormedResidual,
        ResidualScales = new ResidualScales { FullAttentionAlpha = 3.5565588f, LinearAttentionAlpha = 3.5565588f, FeedForwardAlpha = 3.5565588f },
        LayerAttention = [.. Enumerable.Range(0, 80).Select(layer => layer % 8 == 7 ? AttentionKind.Full : AttentionKind.Linear)],
        Moe = new MoeConfig { NumExperts = 32, TopK = 2, IntermediateSize = 9216, NormTopKProb = true },
    };

    /// <summary>gpt-oss-20b.</summary>
    public static ModelConfig GptOss20B { get; } = GptOss(layers: 24, experts: 32);

    /// <summary>gpt-oss-120b.</summary>
    public static ModelConfig GptOss120B { get; } = GptOss(layers: 36, experts: 128);

    private static ModelConfig GptOss(int layers, int experts) => Decoder("gpt_oss", layers, 2880, 64, 201088) with
    {
        NumKeyValueHeads = 8,
        HeadDim = 64,
        IntermediateSize = 2880,
        MaxPositionEmbeddings = 131072,
        RmsNormEps = 1e-5f,
        AttentionBias = true,
        HasAttentionSinks = true,
        SlidingWindow = 128,
        LayerAttention = [.. Enumerable.Range(0, layers).Select(layer => layer % 2 == 0 ? AttentionKind.Sliding : AttentionKind.Full)],
        Rope = new RopeConfig { Theta = 150000, Scaling = RopeScaling.Yarn, Factor = 32, OriginalMaxPositions = 4096, Truncates = false, AttentionFactor = RopeConfig.Magnitude(32, 1) },
        EosTokenId = 200002,
        Moe = new MoeConfig
        {
            NumExperts = experts,
            TopK = 4,
            IntermediateSize = 2880,
            Scoring = RouterScoring.SoftmaxOverChosen,
            HasRouterBias = true,
            HasExpertBias = true,
            Activation = ExpertActivation.ClampedSwiGlu,
        },
    };

    private static ModelConfig Decoder(string modelType, int layers, int hidden, int heads, int vocab) => new()
    {
        ModelType = modelType,
        NumHiddenLayers = layers,
        HiddenSize = hidden,
        NumAttentionHeads = heads,
        NumKeyValueHeads = heads,
        HeadDim = hidden / heads,
        VocabSize = vocab,
        InitializerRange = 0.02f,
        IntermediateSize = 0, // every model above sets it, and its positions
        MaxPositionEmbeddings = 0,
    };

    private static LatentAttentionConfig Latent(int queryRank) => new() { QueryRank = queryRank, LatentRank = 512, NopeHeadDim = 128, RopeHeadDim = 64, ValueHeadDim = 128 };

    private static RopeConfig DeepSeekRope(double mscale) => new()
    {
        IsInterleaved = true,
        Scaling = RopeScaling.Yarn,
        Factor = 40,
        OriginalMaxPositions = 4096,
        MscaleAllDim = mscale,
    };
}
