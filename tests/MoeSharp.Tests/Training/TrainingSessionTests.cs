using System.Text.Json;
using System.Text.RegularExpressions;
using MoeSharp.Checkpoints;
using MoeSharp.Kernels;
using MoeSharp.Training;

namespace MoeSharp.Tests.Training;

public sealed partial class TrainingSessionTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("moe-session").FullName;
    private readonly TinyText _text = new();
    private readonly WorkerPool _workers = new(2);

    public void Dispose()
    {
        _workers.Dispose();
        _text.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Theory]
    [InlineData("steps", 0)]
    [InlineData("cosine", 64)] // two passes per step
    public void A_run_that_is_stopped_and_resumed_writes_the_same_bytes(string schedule, int microBatchTokens)
    {
        TrainingConfig config = TinyText.Config($"schedule.kind={schedule}", $"batch.micro_batch_tokens={microBatchTokens}", "checkpoint.every_steps=2");
        RunFolder whole = New("whole");
        RunFolder parts = New("parts");

        Assert.True(Train(whole, config, stopAfter: int.MaxValue));
        Assert.False(Train(parts, config, stopAfter: 3));
        Assert.False(Go(parts, stopAfter: 1));
        Assert.True(Go(parts, stopAfter: int.MaxValue));

        foreach (string file in new[] { "model.safetensors", "trainer/moments.safetensors", "config.json" })
        {
            Assert.Equal(File.ReadAllBytes(Path.Combine(whole.Path, "checkpoints/step-6", file)), File.ReadAllBytes(Path.Combine(parts.Path, "checkpoints/step-6", file)));
        }

        Assert.Equal(MetricsWithoutTime(whole), MetricsWithoutTime(parts));
    }

    [Fact]
    public void Work_since_the_last_checkpoint_is_repeated_and_its_lines_are_not_doubled()
    {
        TrainingConfig config = TinyText.Config("checkpoint.every_steps=2");
        RunFolder whole = New("whole");
        RunFolder killed = New("killed");
        Train(whole, config, stopAfter: int.MaxValue);
        Train(killed, config, stopAfter: int.MaxValue);
        Directory.Delete(Path.Combine(killed.Path, "checkpoints/step-6"), recursive: true); // as if killed after step 6, before its checkpoint

        Go(killed, stopAfter: int.MaxValue);

        Assert.Equal(MetricsWithoutTime(whole), MetricsWithoutTime(killed));
        Assert.Equal(Weights(whole), Weights(killed));
    }

    [Fact]
    public void A_damaged_checkpoint_is_named_and_the_one_before_is_used()
    {
        TrainingConfig config = TinyText.Config("checkpoint.every_steps=2");
        RunFolder whole = New("whole");
        RunFolder damaged = New("damaged");
        Train(whole, config, stopAfter: int.MaxValue);
        Train(damaged, config, stopAfter: int.MaxValue);
        string file = Path.Combine(damaged.Path, "checkpoints/step-6/model.safetensors");
        byte[] bytes = File.ReadAllBytes(file);
        bytes[^5] ^= 1;
        File.WriteAllBytes(file, bytes);

        using (TrainingSession session = TrainingSession.Resume(RunFolder.Open(damaged.Path), _text.Text, Options(new StoppingView(int.MaxValue))))
        {
            Assert.Equal(4, session.Resumed?.Step);
            Assert.Contains("model.safetensors", Assert.Single(session.Damaged).Reason, StringComparison.Ordinal);
            Assert.True(session.Trainer.Run(CancellationToken.None));
        }

        Assert.Equal(Weights(whole), Weights(damaged));
    }

    [Fact]
    public void A_run_without_a_checkpoint_starts_anew()
    {
        RunFolder whole = New("whole");
        RunFolder killed = New("killed");
        Train(whole, TinyText.Config(), stopAfter: int.MaxValue);
        Train(killed, TinyText.Config(), stopAfter: 2);
        Directory.Delete(Path.Combine(killed.Path, "checkpoints"), recursive: true);

        Go(killed, stopAfter: int.MaxValue);

        Assert.Equal(Weights(whole), Weights(killed));
        Assert.Equal(MetricsWithoutTime(whole), MetricsWithoutTime(killed));
    }

    [Fact]
    public void A_finished_run_stays_as_it_is()
    {
        RunFolder run = New("run");
        Train(run, TinyText.Config(), stopAfter: int.MaxValue);
        string[] metrics = MetricsWithoutTime(run);

        Assert.True(Go(run, stopAfter: int.MaxValue));

        Assert.Equal(metrics, MetricsWithoutTime(run));
    }

    [Fact]
    public void Numbers_that_are_not_finite_stop_the_run_with_all_there_is_to_know()
    {
        TrainingConfig config = TinyText.Config("checkpoint.every_steps=2");
        RunFolder run = New("run");
        StoppingView view = new(int.MaxValue);
        using TrainingSession session = TrainingSession.Begin(run, config, _text.Text, Options(view));
        view.OnStep = step =>
        {
            if (step == 3)
            {
                session.Model.Parameters.Single(parameter => parameter.Name == "layers.0.moe.router").Value[0] = float.PositiveInfinity;
            }
        };

        TrainingException error = Assert.Throws<TrainingException>(() => session.Trainer.Run(CancellationToken.None));

        Assert.Contains("not finite in step 4", error.Message, StringComparison.Ordinal);
        Assert.Contains("in step 3", error.Message, StringComparison.Ordinal);
        Assert.Matches("largest gradient is that of [a-z]", error.Message);
        Assert.Contains("step-2", error.Message, StringComparison.Ordinal);
        Assert.Contains("Resuming repeats this step", error.Message, StringComparison.Ordinal); // same weights, same data
        Assert.DoesNotContain("--resume", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_session_that_cannot_start_lets_go_of_the_run()
    {
        RunFolder run = New("run");
        Train(run, TinyText.Config(), stopAfter: 2);
        RunFolder reopened = RunFolder.Open(run.Path);
        reopened.Description["config"]!["model"]!["moe_intermediate_size"] = 32; // the checkpoint has 16

        for (int attempt = 0; attempt < 2; attempt++)
        {
            FileFormatException error = Assert.Throws<FileFormatException>(() => TrainingSession.Resume(reopened, _text.Text, Options(new StoppingView(1))));
            Assert.Contains("step-2", error.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_process_that_died_between_two_renames_loses_no_checkpoint()
    {
        RunFolder run = New("run");
        Train(run, TinyText.Config("checkpoint.every_steps=2"), stopAfter: int.MaxValue);
        Directory.Move(Path.Combine(run.Path, "checkpoints/step-6"), Path.Combine(run.Path, "checkpoints/.replaced-step-6"));

        using TrainingSession session = TrainingSession.Resume(RunFolder.Open(run.Path), _text.Text, Options(new StoppingView(1)));

        Assert.Equal(6, session.Resumed?.Step);
    }

    [Fact]
    public void Other_text_than_before_is_refused()
    {
        RunFolder run = New("run");
        Train(run, TinyText.Config(), stopAfter: 2);
        RunFolder reopened = RunFolder.Open(run.Path);
        reopened.Description["text"]!["hash"] = "something else";

        Assert.Contains("not the one", Assert.Throws<ConfigurationException>(() => TrainingSession.Resume(reopened, _text.Text, Options(new StoppingView(1)))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_folder_with_a_run_is_not_overwritten_and_one_without_is_not_resumed()
    {
        Train(New("run"), TinyText.Config(), stopAfter: 1);

        Assert.Contains("--resume", Assert.Throws<ConfigurationException>(() => New("run")).Message, StringComparison.Ordinal);
        Assert.Contains("run.json", Assert.Throws<ConfigurationException>(() => RunFolder.Open(_folder)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_budget_in_tokens_and_in_minutes_ends_the_run()
    {
        RunFolder byTokens = New("tokens");
        Train(byTokens, TinyText.Config("budget.tokens=300"), stopAfter: int.MaxValue);
        Assert.Equal(3, CheckpointStore.LatestValid(byTokens.Path).Latest?.Step); // 3 steps of 128 tokens reach 300

        RunFolder byTime = New("minutes");
        Train(byTime, TinyText.Config("budget.steps=1000000", "budget.minutes=0.001"), stopAfter: int.MaxValue);
        Assert.InRange(CheckpointStore.LatestValid(byTime.Path).Latest!.Step, 1, 999_999);
    }

    [Fact]
    public void A_checkpoint_is_a_model_folder()
    {
        RunFolder run = New("run");
        Train(run, TinyText.Config(), stopAfter: int.MaxValue);

        using MoeSharp.Model.LanguageModel model = ModelFolder.Load(Path.Combine(run.Path, "checkpoints/step-6"));

        Assert.Equal(258, model.Config.VocabSize);
        Assert.True(File.Exists(Path.Combine(run.Path, "checkpoints/step-6/tokenizer.json")));
    }

    private RunFolder New(string name) => RunFolder.Create(Path.Combine(_folder, name), "test", TimeProvider.System);

    private SessionOptions Options(ITrainingView view) => new() { Workers = _workers, View = view };

    private bool Train(RunFolder run, TrainingConfig config, int stopAfter)
    {
        StoppingView view = new(stopAfter);
        using TrainingSession session = TrainingSession.Begin(run, config, _text.Text, Options(view));
        return session.Trainer.Run(view.Stop);
    }

    private bool Go(RunFolder run, int stopAfter)
    {
        StoppingView view = new(stopAfter);
        using TrainingSession session = TrainingSession.Resume(RunFolder.Open(run.Path), _text.Text, Options(view));
        return session.Trainer.Run(view.Stop);
    }

    private static byte[] Weights(RunFolder run) => File.ReadAllBytes(Path.Combine(run.Path, "checkpoints/step-6/model.safetensors"));

    private static string[] MetricsWithoutTime(RunFolder run) =>
        [.. File.ReadLines(Path.Combine(run.Path, MetricsLog.FileName)).Select(line => Timing().Replace(line, ""))];

    [GeneratedRegex("\"(seconds|tokens_per_second|gflops)\":[^,}]*,?")]
    private static partial Regex Timing();

    /// <summary>Asks for a stop after some steps, as Ctrl-C does.</summary>
    private sealed class StoppingView(int stopAfter) : ITrainingView
    {
        private readonly CancellationTokenSource _stop = new();
        private int _steps;

        public CancellationToken Stop => _stop.Token;

        public Action<long> OnStep { get; set; } = _ => { };

        public void Stepped(in StepMetrics metrics, LoadTable load)
        {
            OnStep(metrics.Step);
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
