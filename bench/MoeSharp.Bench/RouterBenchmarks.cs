using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Tensors;
using MoeSharp.Training;

namespace MoeSharp.Bench;

/// <summary>What each router costs: its share of a training step, its backward and its balance losses included.</summary>
/// <remarks>The model is <c>quickstart</c>'s with 16 experts of 128, eight sequences of 256 random tokens. Random tokens leave the experts unevenly loaded. Figures are medians over the steps.</remarks>
public static class RouterBenchmarks
{
    private const int Warmups = 3;
    private const int Steps = 21;
    private const int Sequences = 8;
    private const int SequenceLength = 256;

    // Name -> settings over those of the model.
    private static readonly (string Name, string[] Settings)[] s_routers =
    [
        ("top_k", ["model.num_experts_per_tok=2"]),
        ("switch", ["model.moesharp.router=switch", "model.norm_topk_prob=false", "model.num_experts_per_tok=1"]),
        ("gshard", ["model.moesharp.router=gshard", "model.num_experts_per_tok=2"]),
        ("gshard_sampling", ["model.moesharp.router=gshard", "model.moesharp.second_expert_policy=sampling", "model.num_experts_per_tok=2"]),
        ("gshard_capacity", ["model.moesharp.router=gshard", "model.moesharp.expert_capacity=320", "model.num_experts_per_tok=2"]),
        ("noisy_top_k", ["model.moesharp.router=noisy_top_k", "model.num_experts_per_tok=2"]),
        ("noisy_top_k_balanced", ["model.moesharp.router=noisy_top_k", "model.num_experts_per_tok=2", "balance.importance_alpha=0.1", "balance.load_alpha=0.1"]),
        ("hash", ["model.moesharp.router=hash", "model.norm_topk_prob=false", "model.num_experts_per_tok=1", "balance.expert_alpha=0"]),
        ("task_level", ["model.moesharp.router=task_level", "model.moesharp.task_tokens=[0,1,2,3]", "model.num_experts_per_tok=2"]),
        ("base", ["model.moesharp.router=base", "model.norm_topk_prob=false", "model.num_experts_per_tok=1", "balance.expert_alpha=0"]),
        ("sinkhorn", ["model.moesharp.router=sinkhorn", "model.num_experts_per_tok=2", "balance.expert_alpha=0"]),
        ("expert_choice", ["model.moesharp.router=expert_choice", "model.moesharp.acknowledge_future_leak=true", "model.norm_topk_prob=false", "model.num_experts_per_tok=2", "balance.expert_alpha=0"]),
        ("reinforce", ["model.moesharp.router=reinforce", "model.norm_topk_prob=false", "model.num_experts_per_tok=1"]),
        ("stablemoe", ["model.moesharp.router=stablemoe", "model.norm_topk_prob=false", "model.num_experts_per_tok=1", "balance.expert_alpha=0"]),
    ];

    /// <summary>Times a step with each router.</summary>
    /// <param name="threads">Most workers used.</param>
    public static IReadOnlyList<BenchResult> Run(int threads) => [.. s_routers.Select(row => Measure(row.Name, row.Settings, threads))];

    private static BenchResult Measure(string name, string[] settings, int threads)
    {
        TrainingConfig config = TrainingConfigJson.Load("quickstart", null, ["model.n_routed_experts=16", "model.n_shared_experts=0", "model.moe_intermediate_size=128", "budget.steps=1", .. settings]);
        using WorkerPool workers = new(threads);
        using LanguageModel model = new(config.Model!); // the preset has a model
        WeightInit.Initialize(model, 1, WeightInitScheme.FanIn, workers);
        using AdamWOptimizer optimizer = new(model.Parameters, config.Optimizer);
        using ForwardContext context = new(workers);
        Random random = new(1);
        TokenBatch batch = TokenBatch.FromSequences([.. Enumerable.Range(0, Sequences).Select(_ => Enumerable.Range(0, SequenceLength).Select(_ => random.Next(model.Config.VocabSize)).ToArray())]);
        List<double> whole = [];
        List<double> router = [];
        for (int step = 0; step < Warmups + Steps; step++)
        {
            context.Timer.Reset();
            context.NoiseSeed = (ulong)step;
            context.Timer.Switch(StepPart.Other);
            optimizer.ClearGradients();
            model.ForwardBackward(batch, config.Balance, 1f / batch.Count, 1f, context);
            context.Timer.Switch(StepPart.Optimizer);
            optimizer.Step(3e-4f, optimizer.GradientNorm(workers), workers);
            context.Timer.Switch(StepPart.Idle);
            if (step >= Warmups)
            {
                whole.Add(Enum.GetValues<StepPart>().Where(part => part != StepPart.Idle).Sum(context.Timer.Seconds));
                router.Add(context.Timer.Seconds(StepPart.Router));
            }
        }

        (double routerMs, double wholeMs) = (1e3 * Median(router), 1e3 * Median(whole));
        return new BenchResult($"router.{name}", routerMs, "ms", wholeMs, routerMs / wholeMs);
    }

    private static double Median(List<double> values)
    {
        values.Sort();
        return values[values.Count / 2];
    }
}
