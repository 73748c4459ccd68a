using MoeSharp.Checkpoints;
using MoeSharp.Checkpoints.Export;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Model.Routers;
using MoeSharp.Moe.Routing;

namespace MoeSharp.Tests.Checkpoints;

/// <summary>Routers in GGUF files: those that are a plain choice of the best without gradients are written as that, the others are refused by name.</summary>
public sealed class RouterExportTests
{
    private static readonly int[] s_tokens = [1, 5, 9, 2, 7, 11, 3, 8, 4, 6];

    private static readonly MoeConfig One = new() { NumExperts = 4, TopK = 1, IntermediateSize = 5, NumSharedExperts = 1 };
    private static readonly MoeConfig Two = One with { TopK = 2, NormTopKProb = true };

    private static readonly Dictionary<string, MoeConfig> s_writable = new()
    {
        ["switch"] = One with { Router = new SwitchRouterConfig() },
        ["switch without jitter, scaled"] = One with { Router = new SwitchRouterConfig { JitterNoise = 0 }, RoutedScalingFactor = 2.5f },
        ["gshard, all"] = Two with { Router = new GShardRouterConfig { SecondExpertPolicy = SecondExpertPolicy.All } },
        ["gshard, random"] = Two with { Router = new GShardRouterConfig { SecondExpertPolicy = SecondExpertPolicy.Random } },
        ["gshard, sampling"] = Two with { Router = new GShardRouterConfig { SecondExpertPolicy = SecondExpertPolicy.Sampling } },
    };

    private static readonly Dictionary<string, MoeConfig> s_refused = new()
    {
        ["gshard"] = Two with { Router = new GShardRouterConfig { SecondExpertPolicy = SecondExpertPolicy.Threshold } },
        ["hash"] = One with { Router = new HashRouterConfig() },
        ["noisy_top_k"] = One with { TopK = 2, Router = new NoisyTopKRouterConfig() },
        ["task_level"] = Two with { Router = new TaskLevelRouterConfig { NumTasks = 2, TaskTokens = [1, 2] } },
        ["reinforce"] = One with { Router = new ReinforceRouterConfig() },
        ["stablemoe"] = One with { Router = new StableMoeRouterConfig() },
    };

    public static TheoryData<string> Writable => [.. s_writable.Keys];

    public static TheoryData<string> Refused => [.. s_refused.Keys];

    [Theory]
    [MemberData(nameof(Writable))]
    public void Logits_of_the_file_are_those_of_the_folder(string router)
    {
        using TemporaryFolder folder = new();
        SaveFolder(s_writable[router], folder["hf"]);
        Write(folder["hf"], folder["model.gguf"]);
        Write(folder["model.gguf"], folder["again"]);
        float[] expected = Logits(folder["hf"]);

        foreach (string path in (string[])[folder["model.gguf"], folder["again"]])
        {
            float[] logits = Logits(path);
            (float largest, int best, int rows) = GgufModelTests.Compare(logits, expected, expected.Length / s_tokens.Length);
            Assert.True(largest <= 2e-5f && best == rows, $"{path}: the largest difference is {largest}"); // sums in another order
        }

        Assert.IsType<TopKRouterConfig>(ModelFolder.LoadConfig(folder["again"]).Moe!.Router);
    }

    [Theory]
    [MemberData(nameof(Refused))]
    public void A_router_that_the_format_does_not_have_is_refused_by_name_and_leaves_nothing(string router)
    {
        using TemporaryFolder folder = new();
        SaveFolder(s_refused[router], folder["hf"]);

        ConfigurationException error = Assert.Throws<ConfigurationException>(() => Write(folder["hf"], folder["model.gguf"]));

        Assert.Contains($"a router of kind {router}", error.Message, StringComparison.Ordinal);
        Assert.Equal([folder["hf"]], Directory.GetFileSystemEntries(folder.Path));
    }

    private static void SaveFolder(MoeConfig moe, string path)
    {
        using WorkerPool workers = new(1);
        using LanguageModel model = new(TestModel.Small with { AttentionBias = false, Moe = moe });
        WeightInit.Initialize(model, 5, WeightInitScheme.FanIn, workers);
        ModelFolder.Save(model, path, new ModelFolderOptions());
    }

    private static void Write(string source, string target)
    {
        using ModelFiles files = ModelFiles.Open(source);
        ModelExport.Write(files, target, new ExportOptions { Threads = 1 }, TestContext.Current.CancellationToken);
    }

    private static float[] Logits(string path)
    {
        using LanguageModel model = ModelFolder.Load(path);
        return GgufModelTests.Logits(model, s_tokens);
    }
}
