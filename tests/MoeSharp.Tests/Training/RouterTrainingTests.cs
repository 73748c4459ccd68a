using MoeSharp.Checkpoints;
using MoeSharp.Data;
using MoeSharp.Execution;
using MoeSharp.Inference;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Model.Routers;
using MoeSharp.Tests.Kernels;
using MoeSharp.Training;

namespace MoeSharp.Tests.Training;

/// <summary>A small model with each router: trained, stopped, resumed, saved, loaded and asked for the next token.</summary>
public sealed class RouterTrainingTests : IDisposable
{
    private static readonly Dictionary<string, string[]> s_routers = new()
    {
        ["switch"] = ["router=switch", "router_jitter_noise=0.1", "num_experts_per_tok=1"],
        ["gshard"] = ["router=gshard", "expert_capacity=8", "group_size=32", "num_experts_per_tok=2"],
        ["gshard, sampling"] = ["router=gshard", "second_expert_policy=sampling", "renormalize=after_drop", "num_experts_per_tok=2"],
        ["noisy"] = ["router=noisy_top_k", "load_alpha=0.1", "importance_alpha=0.1"],
        ["hash"] = ["router=hash", "expert_alpha=0"],
        ["hash, balanced"] = ["router=hash", "hash_table=balanced", "num_experts_per_tok=1", "expert_alpha=0"],
        ["hash, segments by the token before"] = ["router=hash", "hash_table=multi", "hash_input=previous_token", "num_experts_per_tok=2", "expert_alpha=0"],
        ["tasks"] = ["router=task_level", "task_tokens=[101,110,115]"],
        ["base"] = ["router=base", "num_experts_per_tok=1", "expert_alpha=0"],
        ["sinkhorn"] = ["router=sinkhorn", "num_experts_per_tok=2", "expert_alpha=0"],
        ["reinforce"] = ["router=reinforce", "num_experts_per_tok=1"],
        ["stablemoe"] = ["router=stablemoe", "first_stage=0.5", "distill_hidden_size=8", "num_experts_per_tok=1", "expert_alpha=0"],
        ["v3: groups and biases that move"] = ["scoring_func=sigmoid", "topk_method=noaux_tc", "n_group=4", "topk_group=2", "num_experts_per_tok=2", "bias_update_speed=0.05", "sequence_alpha=0.01"],
        ["places, devices and sequences drawn for protection"] = ["capacity_factor=0.75", "drop_policy=probability", "device_capacity_factor=1", "num_devices=2", "protected_sequence_share=0.5"],
        ["loads of the whole step"] = ["scope=global_batch", "batch_alpha=0.01"],
        ["expert choice"] = ["router=expert_choice", "acknowledge_future_leak=true", "num_experts_per_tok=2", "expert_alpha=0"],
    };

    private readonly string _folder = Directory.CreateTempSubdirectory("moe-routers").FullName;
    private readonly TinyText _text = new();

    public static TheoryData<string> Routers => [.. s_routers.Keys];

    public void Dispose()
    {
        _text.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Theory]
    [MemberData(nameof(Routers))]
    public void Steps_are_the_same_for_any_workers_and_leave_no_garbage(string router)
    {
        using WorkerPool one = new(1);
        using WorkerPool two = new(2);
        TrainingConfig config = FittedRouter.Fit(_text.Text.Fit(Config(router)), _text.Text);
        using LanguageModel first = Model(config, one);
        using LanguageModel second = Model(config, two);
        using TrainingStep firstStep = new(config, first, _text.Loader(config), one, TimeProvider.System);
        using TrainingStep secondStep = new(config, second, _text.Loader(config), two, TimeProvider.System);
        double begin = firstStep.Run(0, 0).Loss;
        secondStep.Run(0, 0);
        for (int step = 0; step < 5; step++)
        {
            Assert.Equal(firstStep.Run(0, 0).GradientNorm, secondStep.Run(0, 0).GradientNorm);
        }

        long[] garbage = new long[4];
        double end = 0;
        for (int step = 0; step < garbage.Length; step++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            end = firstStep.Run(0, 0).Loss;
            garbage[step] = GC.GetAllocatedBytesForCurrentThread() - before;
        }

        Assert.Equal(0, garbage.Min()); // GShard has more rows in some steps than in any before: then the pool takes a larger buffer, and its handle
        Assert.InRange(garbage.Max(), 0, 256);
        Assert.True(end < begin, $"the loss went from {begin} to {end}");
    }

    [Theory]
    [MemberData(nameof(Routers))]
    public void A_resumed_run_writes_the_same_bytes_and_its_model_gives_the_same_logits_token_by_token(string router)
    {
        using WorkerPool workers = new(2);
        Train("whole", router, workers, stopAfter: int.MaxValue);
        Train("parts", router, workers, stopAfter: 3);
        using (TrainingSession session = TrainingSession.Resume(RunFolder.Open(Path.Combine(_folder, "parts")), _text.Text, new SessionOptions { Workers = workers, View = new StoppingView(int.MaxValue) }))
        {
            session.Trainer.Run(CancellationToken.None);
        }

        foreach (string file in (string[])["model.safetensors", "config.json"])
        {
            Assert.Equal(File.ReadAllBytes(Path.Combine(_folder, "whole/checkpoints/step-6", file)), File.ReadAllBytes(Path.Combine(_folder, "parts/checkpoints/step-6", file)));
        }

        using LanguageModel model = ModelFolder.Load(Path.Combine(_folder, "whole/checkpoints/step-6"));
        CheckDecoding(model, workers);
    }

    [Fact]
    public void A_model_that_cannot_continue_a_text_says_why()
    {
        using WorkerPool workers = new(1);
        using LanguageModel model = new(Config("tasks").Model! with { Moe = Config("tasks").Model!.Moe! with { Router = new TaskLevelRouterConfig { NumTasks = 2 } } });

        Assert.Contains("task_tokens", Assert.Throws<ConfigurationException>(() => new DecodingSession(model, 8, 8, workers)).Message, StringComparison.Ordinal);
        Assert.Contains("task_tokens", Assert.Throws<ConfigurationException>(() => new TextGenerator(model, _text.Text.Tokenizer, workers)).Message, StringComparison.Ordinal);
        Assert.Contains("task_tokens", Assert.Throws<ConfigurationException>(() => new Engine(model, _text.Text.Tokenizer, workers, new EngineOptions())).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void After_the_first_stage_of_stablemoe_its_light_router_stays_as_it_is()
    {
        using WorkerPool workers = new(1);
        TrainingConfig config = _text.Text.Fit(Config("stablemoe", "optimizer.weight_decay=0.1"));
        using LanguageModel model = Model(config, workers);
        using TrainingStep step = new(config, model, _text.Loader(config), workers, TimeProvider.System);
        float[] Weights(string part) => [.. model.Parameters.Where(parameter => parameter.Name.EndsWith(part, StringComparison.Ordinal)).SelectMany(parameter => parameter.Value.ToArray())];
        float[] begin = Weights("router_light");
        StepMetrics first = step.Run(0.4, 0);
        (float[] light, float[] embedding, float[] gate) = (Weights("router_light"), Weights("router_light_embedding"), Weights("moe.router"));

        StepMetrics second = step.Run(0.5, 0);

        Assert.NotEqual(begin, light);
        Assert.True(first.Losses[AuxiliaryLoss.Distillation] > 0 && first.Losses[AuxiliaryLoss.GateBalance] > 0);
        Assert.Equal((0, 0), (second.Losses[AuxiliaryLoss.Distillation], second.Losses[AuxiliaryLoss.GateBalance]));
        Assert.Equal(light, Weights("router_light"));
        Assert.Equal(embedding, Weights("router_light_embedding"));
        Assert.NotEqual(gate, Weights("moe.router"));
    }

    [Fact]
    public void The_reward_that_reinforce_is_used_to_follows_the_loss()
    {
        using WorkerPool workers = new(1);
        TrainingConfig config = _text.Text.Fit(Config("reinforce", "model.moesharp.baseline_decay=0.75"));
        using LanguageModel model = Model(config, workers);
        using TrainingStep step = new(config, model, _text.Loader(config), workers, TimeProvider.System);
        double expected = -Math.Log(model.Config.VocabSize);
        for (int index = 0; index < 3; index++)
        {
            StepMetrics metrics = step.Run(0, 0);
            expected = (0.75 * expected) - (0.25 * metrics.Loss);
            Assert.NotEqual(0, metrics.Losses[AuxiliaryLoss.Policy]);
        }

        Assert.All(model.Parameters.Where(parameter => parameter.Name.EndsWith("reward_baseline", StringComparison.Ordinal)), baseline => Assert.Equal(expected, baseline.Value[0], 1e-5));
    }

    private static void CheckDecoding(LanguageModel model, WorkerPool workers)
    {
        if (DecodingLimits.Refusal(model.Config) is { } refusal)
        {
            Assert.Contains("not there yet", refusal, StringComparison.Ordinal);
            Assert.Contains("too good", Assert.Single(DecodingLimits.LossWarnings(model.Config)), StringComparison.Ordinal);
            return;
        }

        Assert.Empty(DecodingLimits.LossWarnings(model.Config));

        int[] tokens = [101, 32, 116, 104, 115, 101, 32, 99, 97, 110, 116, 5, 9];
        int vocab = model.Config.VocabSize;
        float[] expected = new float[tokens.Length * vocab];
        using ForwardContext whole = new(workers);
        model.Logits(TokenBatch.FromSequences([tokens]), tokens.Length, expected, whole);
        using DecodingSession session = new(model, tokens.Length, chunkSize: 4, workers);
        for (int done = 0; done < tokens.Length;)
        {
            int count = done == 0 ? 5 : 1;
            session.Append(tokens.AsSpan(done, count));
            done += count;
            KernelCheck.SameBits(expected.AsSpan((done - 1) * vocab, vocab), session.Logits, $"after {done} tokens");
        }
    }

    private static LanguageModel Model(TrainingConfig config, WorkerPool workers)
    {
        LanguageModel model = new(config.Model!);
        WeightInit.Initialize(model, 1, WeightInitScheme.FanIn, workers);
        return model;
    }

    private void Train(string name, string router, WorkerPool workers, int stopAfter)
    {
        StoppingView view = new(stopAfter);
        RunFolder run = RunFolder.Create(Path.Combine(_folder, name), "test", TimeProvider.System);
        using TrainingSession session = TrainingSession.Begin(run, Config(router), _text.Text, new SessionOptions { Workers = workers, View = view });
        session.Trainer.Run(view.Stop);
    }

    private static TrainingConfig Config(string router, params string[] settings)
    {
        string[] own = [.. s_routers[router].Select(setting => setting switch
        {
            _ when setting.Contains("alpha=", StringComparison.Ordinal) || setting.StartsWith("bias_update_speed", StringComparison.Ordinal) || setting.StartsWith("scope", StringComparison.Ordinal) => $"balance.{setting}",
            _ when setting.StartsWith("num_experts_per_tok", StringComparison.Ordinal) => $"model.{setting}",
            _ => $"model.moesharp.{setting}",
        })];
        return TinyText.Config(["checkpoint.every_steps=3", "batch.micro_batch_tokens=64", .. own, .. settings]);
    }

    private sealed class StoppingView(int stopAfter) : ITrainingView
    {
        private readonly CancellationTokenSource _stop = new();
        private int _steps;

        public CancellationToken Stop => _stop.Token;

        public void Stepped(in StepMetrics metrics, LoadTable load)
        {
            if (++_steps == stopAfter)
            {
                _stop.Cancel();
            }
        }

        public void Validated(in ValidationResult result)
        {
        }

        public void Alarmed(RoutingAlarm alarm)
        {
        }

        public void Saved(string path)
        {
        }
    }
}
