using MoeSharp.Model.Routers;

namespace MoeSharp.Model;

/// <summary>Named architectures: small ones that train on two cores, the models and baselines of the DeepSeekMoE paper (arXiv 2401.06066), other released models.</summary>
/// <remarks>
/// The paper gives relative expert sizes, not widths, for the 2B models: their standard feed-forward counts as 8 d^2 weights, a width of 8 d / 3 = 3413.3.
/// Here each width is that number times the relative size, rounded to the nearest multiple of 8: 3416, expert 856 (relative 0.25), 4096 (1.2), 5120 (1.5),
/// 13656 (4), 54616 (16). The expert parameters of Tables 2 and 8 come out (1.89B, 2.3B, 2.83B, 0.47B, 1.89B), as do the totals of Table 1.
/// "8K" vocabulary is 8000, the size that reproduces the published FLOPs.
/// </remarks>
public static class ModelPresets
{
    private static readonly ModelConfig s_paper2B = Decoder("deepseek", 9, 1280, 10, 8000, 2048, intermediateSize: 3416);
    private static readonly ModelConfig s_paper145B = Decoder("deepseek", 62, 4096, 32, 102400, 4096, intermediateSize: 21888) with { BosTokenId = 100000, EosTokenId = 100001 };
    private static readonly ModelConfig s_tiny = Decoder("deepseek", 4, 256, 8, 4096, 512, intermediateSize: 4 * 176);
    private static readonly ModelConfig s_small = Decoder("deepseek", 8, 512, 8, 8192, 1024, intermediateSize: 8 * 176);
    private static readonly ModelConfig s_quickstart = Decoder("deepseek", 4, 128, 4, 2048, 512, intermediateSize: 256);
    private static readonly ModelConfig s_nano = Decoder("deepseek", 2, 64, 4, 512, 256, intermediateSize: 128);

    private static readonly GShardRouterConfig s_gshard = new(); // the second expert at random, weights shares of the two
    private static readonly RopeConfig s_anyRope = new();

    // PaperFfnMultiple: activated feed-forward weights of a layer in units of 8 d^2, as the paper's FLOPs count them. Null where there is no published figure.
    private sealed record Preset(string Name, string Summary, ModelConfig Config, double? PaperFfnMultiple = null);

    private static readonly Preset[] s_presets =
    [
        new("nano", "tests and first looks: trains in seconds", s_nano with { Moe = Experts(routed: 15, topK: 3, width: 32, shared: 1) }),
        new("nano-dense", "dense model of nano's activated feed-forward", s_nano),
        new("quickstart", "what quickstart trains: minutes on two cores", s_quickstart with { Moe = Experts(routed: 31, topK: 3, width: 64, shared: 1) }),
        new("quickstart-dense", "dense model of quickstart's activated feed-forward", s_quickstart),
        new("tiny", "12M parameters: the smaller benchmark size", s_tiny with { Moe = Experts(routed: 15, topK: 3, width: 176, shared: 1) }),
        new("tiny-dense", "dense model of tiny's activated feed-forward", s_tiny),
        new("small", "160M parameters: the larger benchmark size, proportions of the 16B", s_small with { Moe = Experts(routed: 64, topK: 6, width: 176, shared: 2) }),
        new("small-dense", "dense model of small's activated feed-forward", s_small),

        new("deepseek-moe-2b", "paper's validation model: 1 shared + 7 of 63 experts", s_paper2B with { Moe = Experts(routed: 63, topK: 7, width: 856, shared: 1) }, 2),
        new("gshard-2b", "paper's baseline: 2 of 16 experts, the second at random", s_paper2B with { Moe = Experts(routed: 16, topK: 2, width: 3416) with { Router = s_gshard } }, 2),
        new("gshard-x1.2-2b", "GShard with experts 1.2 times as large", s_paper2B with { Moe = Experts(routed: 16, topK: 2, width: 4096) with { Router = s_gshard } }, 2.4),
        new("gshard-x1.5-2b", "GShard with experts 1.5 times as large", s_paper2B with { Moe = Experts(routed: 16, topK: 2, width: 5120) with { Router = s_gshard } }, 3),
        new("switch-2b", "paper's baseline: 1 of 16 experts, its router's input jittered", s_paper2B with { Moe = Experts(routed: 16, topK: 1, width: 3416) with { Router = new SwitchRouterConfig() } }, 1),
        new("hash-2b", "paper's baseline: 1 of 16 experts, chosen by a fixed table of token ids", s_paper2B with { Moe = Experts(routed: 16, topK: 1, width: 3416) with { Router = new HashRouterConfig() } }, 1),
        new("dense-2b", "paper's baseline: the standard feed-forward", s_paper2B, 1),
        new("dense-x4-2b", "paper's baseline: feed-forward 4 times as wide", s_paper2B with { IntermediateSize = 13656 }, 4),
        new("dense-x16-2b", "paper's upper bound: feed-forward 16 times as wide", s_paper2B with { IntermediateSize = 54616 }, 16),

        new("deepseek-moe-16b", "released DeepSeekMoE 16B: 2 shared + 6 of 64 experts", DeepSeekMoe16B(), 2),
        new("deepseek-moe-145b", "4 shared + 12 of 128 experts", s_paper145B with { Moe = Experts(routed: 128, topK: 12, width: 1408, shared: 4) with { FirstKDenseReplace = 1 } }, Published1408(16)),
        new("deepseek-moe-142b-half", "half the activated experts of the 145B: 2 shared + 6 of 128", s_paper145B with { Moe = Experts(routed: 128, topK: 6, width: 1408, shared: 2) with { FirstKDenseReplace = 1 } }, Published1408(8)),
        new("gshard-137b", "baseline of the 145B: 2 of 16 experts", s_paper145B with { Moe = Experts(routed: 16, topK: 2, width: 10944) with { FirstKDenseReplace = 1, Router = s_gshard } }, 2),

        new("llama2-7b", "dense comparison of the 16B", Decoder("llama", 32, 4096, 32, 32000, 4096, intermediateSize: 11008) with { RmsNormEps = 1e-5f, InitializerRange = 0.02f, BosTokenId = 1, EosTokenId = 2 }, 1),
        new("deepseek-7b", "dense comparison of the 16B", Decoder("llama", 30, 4096, 32, 102400, 4096, intermediateSize: 11008) with { BosTokenId = 100000, EosTokenId = 100001 }, 1),
        new("deepseek-67b", "dense comparison of the 145B", Decoder("llama", 95, 8192, 64, 102400, 4096, intermediateSize: 22016) with { NumKeyValueHeads = 8, BosTokenId = 100000, EosTokenId = 100001 }, 1),

        new("deepseek-v2-lite", "released DeepSeek-V2-Lite: latent attention, 2 shared + 6 of 64 experts", PublishedModels.DeepSeekV2Lite),
        new("deepseek-v2", "released DeepSeek-V2: 2 shared + 6 of 160 experts in 3 of 8 groups", PublishedModels.DeepSeekV2),
        new("deepseek-v3", "released DeepSeek-V3 and R1: 1 shared + 8 of 256 experts, sigmoid scores", PublishedModels.DeepSeekV3),
        new("mixtral-8x7b", "released Mixtral 8x7B: 2 of 8 experts", PublishedModels.Mixtral8x7B),
        new("mixtral-8x22b", "released Mixtral 8x22B: 2 of 8 experts", PublishedModels.Mixtral8x22B),
        new("qwen1.5-moe-a2.7b", "released Qwen1.5-MoE: a gated shared expert + 4 of 60", PublishedModels.Qwen15Moe),
        new("qwen3-30b-a3b", "released Qwen3 30B: 8 of 128 experts", PublishedModels.Qwen3A3B),
        new("qwen3-235b-a22b", "released Qwen3 235B: 8 of 128 experts", PublishedModels.Qwen3A22B),
        new("olmoe-1b-7b", "released OLMoE: 8 of 64 experts", PublishedModels.Olmoe),
        new("jetmoe-8b", "released JetMoE: 2 of 8 experts in attention and in the feed-forward", PublishedModels.JetMoe),
        new("dbrx", "released DBRX: 4 of 16 experts", PublishedModels.Dbrx),
        new("arctic", "released Arctic: 2 of 128 experts beside a dense feed-forward", PublishedModels.Arctic),
        new("llama-moe-3.5b", "released LLaMA-MoE 3.5B: 4 of 16 experts cut from a LLaMA-2 7B", PublishedModels.LlamaMoe),
        new("grok-1", "released Grok-1: 2 of 8 experts", PublishedModels.Grok1),
        new("minimax-text-01", "released MiniMax-Text-01: lightning attention, 2 of 32 experts", PublishedModels.MiniMaxText01),
        new("gpt-oss-20b", "released gpt-oss 20B: attention sinks and windows, 4 of 32 experts", PublishedModels.GptOss20B),
        new("gpt-oss-120b", "released gpt-oss 120B: 4 of 128 experts", PublishedModels.GptOss120B),
    ];

    /// <summary>All preset names, small ones first.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. s_presets.Select(preset => preset.Name)];

    /// <summary>The architecture with a name.</summary>
    /// <exception cref="ConfigurationException">There is no such preset; the message names the nearest.</exception>
    public static ModelConfig Get(string name) => Find(name).Config;

    /// <summary>One line on what a preset is.</summary>
    /// <exception cref="ConfigurationException">There is no such preset.</exception>
    public static string Summary(string name) => Find(name).Summary;

    /// <summary>The preset whose weights have the same shapes as <paramref name="config"/>, or null.</summary>
    public static string? NameOf(ModelConfig config) => SameShape(config)?.Name;

    // The paper's activated feed-forward multiple for a published architecture, however it was loaded.
    internal static double? PaperFfnMultiple(ModelConfig config) => SameShape(config)?.PaperFfnMultiple;

    private static Preset? SameShape(ModelConfig config)
    {
        ModelConfig shape = ShapeOnly(config);
        return Array.Find(s_presets, preset => ShapeOnly(preset.Config) == shape);
    }

    // Leaves only what decides shapes, so that a downloaded config.json matches whatever its token ids and epsilon say.
    private static ModelConfig ShapeOnly(ModelConfig config) => config with
    {
        ModelType = "",
        MaxPositionEmbeddings = 0,
        RmsNormEps = 0,
        FinalNormEps = 0,
        Rope = s_anyRope,
        InitializerRange = 0,
        BosTokenId = null,
        EosTokenId = null,
        Moe = config.Moe is { } moe ? moe with { NormTopKProb = false, RoutedScalingFactor = 1, Router = OfSameWeights(moe.Router) } : null,
    };

    // Routers that differ in what they do, not in their weights.
    private static RouterConfig OfSameWeights(RouterConfig router) => router switch
    {
        SwitchRouterConfig or GShardRouterConfig => new TopKRouterConfig(),
        HashRouterConfig => new HashRouterConfig(),
        _ => router,
    };

    private static Preset Find(string name) =>
        Array.Find(s_presets, preset => preset.Name == name)
            ?? throw new ConfigurationException($"there is no preset '{name}'{SpellingSuggestion.Hint(name, Names)}; presets: {string.Join(", ", Names)}");

    private static ModelConfig Decoder(string modelType, int layers, int hidden, int heads, int vocab, int positions, int intermediateSize) => new()
    {
        ModelType = modelType,
        NumHiddenLayers = layers,
        HiddenSize = hidden,
        NumAttentionHeads = heads,
        NumKeyValueHeads = heads,
        HeadDim = hidden / heads,
        VocabSize = vocab,
        MaxPositionEmbeddings = positions,
        IntermediateSize = intermediateSize,
    };

    private static MoeConfig Experts(int routed, int topK, int width, int shared = 0) =>
        new() { NumExperts = routed, TopK = topK, IntermediateSize = width, NumSharedExperts = shared };

    private static ModelConfig DeepSeekMoe16B() => Decoder("deepseek", 28, 2048, 16, 102400, 4096, intermediateSize: 10944) with
    {
        BosTokenId = 100000,
        EosTokenId = 100001,
        InitializerRange = 0.006f, // of the paper; the released file says 0.02, the class default
        Moe = Experts(routed: 64, topK: 6, width: 1408, shared: 2) with { FirstKDenseReplace = 1 },
    };

    // The two largest rows of Table 6 count the rounded width 1408 in all layers: experts * 3 d 1408 over 8 d^2, d = 4096.
    private static double Published1408(int activatedExperts) => activatedExperts * 3.0 * 1408 / (8 * 4096);
}
