using System.Diagnostics;
using System.Text.Json;

namespace MoeSharp.Tests.Cli;

public sealed class TrainCommandTests : IDisposable
{
    private static readonly string[] s_small =
    [
        "--preset", "nano", "--threads", "1", "--vocab-size", "300", "--set", "batch.tokens=256", "--set", "batch.sequence_length=64",
        "--set", "validation.tokens=512", "--set", "log_every_steps=1", "--json",
    ];

    private readonly string _folder = Directory.CreateTempSubdirectory("moe-train").FullName;

    public TrainCommandTests() =>
        File.WriteAllLines(Path.Combine(_folder, "text.jsonl"), Enumerable.Range(0, 60).Select(i => $"{{\"text\": \"Line {i} says that {i} and {i} make {i + i}. Then the next one begins.\"}}"));

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Training_prints_its_contract_and_leaves_a_run_folder()
    {
        MoeOutcome outcome = MoeProcess.Run(_folder, ["train", "--data", "text.jsonl", "--out", "run", "--steps", "3", .. s_small]);

        Assert.True(outcome.ExitCode == 0, outcome.Error);
        using JsonDocument json = JsonDocument.Parse(outcome.Output);
        Assert.Equal("run", json.RootElement.GetProperty("run").GetString());
        Assert.Equal((3, 768), (json.RootElement.GetProperty("steps").GetInt32(), json.RootElement.GetProperty("tokens").GetInt32()));
        Assert.True(json.RootElement.GetProperty("tokens_per_second").GetDouble() > 0);
        Assert.True(json.RootElement.GetProperty("validation").GetProperty("bits_per_byte").GetDouble() > 0);
        Assert.True(json.RootElement.GetProperty("validation").GetProperty("loss").GetDouble() > 0);
        Assert.True(json.RootElement.GetProperty("baselines").GetProperty("unigram_bits_per_byte").GetDouble() > json.RootElement.GetProperty("baselines").GetProperty("bigram_bits_per_byte").GetDouble());
        foreach (string file in new[] { "run.json", "metrics.jsonl", "report.html", "checkpoints/step-3/config.json", "checkpoints/step-3/tokenizer.json" })
        {
            Assert.True(File.Exists(Path.Combine(_folder, "run", file)), file);
        }

        using JsonDocument run = JsonDocument.Parse(File.ReadAllText(Path.Combine(_folder, "run/run.json")));
        Assert.Equal(1, run.RootElement.GetProperty("config").GetProperty("seed").GetInt32());
        Assert.NotEqual("", run.RootElement.GetProperty("text").GetProperty("hash").GetString());
        Assert.Equal(4, json.RootElement.GetProperty("samples").GetArrayLength());
        Assert.Contains("What it writes", File.ReadAllText(Path.Combine(_folder, "run/report.html")), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("there is no text", "train")]
    [InlineData("nowhere", "train", "--data", "nowhere.txt")]
    [InlineData("did you mean 'nano'", "train", "--data", "text.jsonl", "--preset", "nanno")]
    [InlineData("did you mean 'optimizer.beta2'", "train", "--data", "text.jsonl", "--set", "optimizer.beta_2=0.9")]
    [InlineData("no-config.json", "train", "--data", "text.jsonl", "--config", "no-config.json")]
    [InlineData("not a run folder", "train", "--resume", ".")]
    [InlineData("cannot be combined", "train", "--resume", ".", "--steps", "5")]
    [InlineData("cannot be combined", "train", "--resume", ".", "--separator", "---")]
    [InlineData("--threads", "train", "--data", "text.jsonl", "--threads", "0")]
    [InlineData("too small", "train", "--data", "text.jsonl", "--vocab-size", "10")]
    [InlineData("--vocab-size", "train", "--data", "text.jsonl", "--vocab-size", "300", "--tokenizer", "x.json")]
    [InlineData("--minutes", "quickstart", "--minutes", "0")]
    [InlineData("--minutes or --steps", "quickstart", "--set", "budget.steps=5")]
    [InlineData("embedded corpus", "quickstart", "--set", "data.text_field=body")]
    [InlineData("embedded corpus", "quickstart", "--set", "data.separator=---")]
    [InlineData("embedded corpus", "quickstart", "--set", "data.task_from=file")]
    public void Wrong_input_exits_with_2_and_one_message(string expected, params string[] arguments)
    {
        string previous = Directory.GetCurrentDirectory();
        MoeOutcome outcome = MoeProcess.Run(_folder, arguments);

        Assert.Equal(2, outcome.ExitCode);
        Assert.Contains(expected, outcome.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", outcome.Error, StringComparison.Ordinal);
        Assert.Empty(outcome.Output);
        Assert.Equal(previous, Directory.GetCurrentDirectory());
    }

    [Fact]
    public void A_run_of_quickstart_is_not_resumed_as_one_model()
    {
        Directory.CreateDirectory(Path.Combine(_folder, "quick"));
        File.WriteAllText(Path.Combine(_folder, "quick/run.json"), """{"format_version": 1, "command": "moe quickstart"}""");

        MoeOutcome outcome = MoeProcess.Run(_folder, "train", "--resume", "quick", "--threads", "1");

        Assert.Equal(2, outcome.ExitCode);
        Assert.Contains("two models", outcome.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("Router top_k, 3 of 15 experts. Load balance: expert_alpha 0.01 (per micro-batch), z_loss_alpha 0.001 (per micro-batch). Capacity: none, no token is dropped.", "balance.expert_alpha=0.01", "balance.scope=micro_batch", "balance.z_loss_alpha=0.001")]
    [InlineData("Load balance: OFF. Capacity: factor 1.25 in training, none in evaluation.", "balance.expert_alpha=0", "model.moesharp={ \"capacity_factor\": 1.25 }")]
    public void A_run_begins_by_saying_what_keeps_its_experts_in_use(string line, params string[] settings)
    {
        string[] arguments = [.. s_small.Where(argument => argument != "--json"), .. settings.SelectMany(setting => new[] { "--set", setting })];
        MoeOutcome outcome = MoeProcess.Run(_folder, ["train", "--data", "text.jsonl", "--out", "run", "--steps", "1", .. arguments]);

        Assert.True(outcome.ExitCode == 0, outcome.Error);
        Assert.Contains(line, string.Join(' ', outcome.Output.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)), StringComparison.Ordinal);
    }

    [Fact]
    public void Texts_in_folders_are_tasks_that_generate_and_eval_are_told()
    {
        foreach (string task in (string[])["prose", "verse"])
        {
            Directory.CreateDirectory(Path.Combine(_folder, "texts", task));
            File.Copy(Path.Combine(_folder, "text.jsonl"), Path.Combine(_folder, "texts", task, "text.jsonl"));
        }

        MoeOutcome trained = MoeProcess.Run(_folder, ["train", "--data", "texts", "--out", "run", "--steps", "1", "--set", "data.task_from=folder", "--set", "model.moesharp.router=task_level", "--set", "balance.expert_alpha=0", .. s_small]);
        MoeOutcome written = MoeProcess.Run(_folder, "generate", "--model", "run", "--task", "verse", "--prompt", "Line", "--max-tokens", "2", "--json", "--threads", "1");
        MoeOutcome unknown = MoeProcess.Run(_folder, "eval", "--model", "run", "--task", "drama", "--data", "text.jsonl", "--threads", "1");

        Assert.True(trained.ExitCode == 0, trained.Error);
        Assert.True(written.ExitCode == 0, written.Error);
        Assert.Equal(2, unknown.ExitCode);
        Assert.Contains("prose, verse", unknown.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void The_next_command_is_one_that_can_be_typed()
    {
        string[] plain = [.. s_small.Where(argument => argument != "--json")];
        using Process process = MoeProcess.Start(_folder, new() { ["MOE_COMMAND"] = "./moe" }, ["train", "--data", "text.jsonl", "--out", "my run", "--steps", "1", "--quiet", .. plain]);

        MoeOutcome outcome = MoeProcess.Finish(process);
        Assert.Contains("./moe generate --model \"my run\" --prompt \"Line ", outcome.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void A_separator_divides_a_text_file_into_documents()
    {
        File.WriteAllText(Path.Combine(_folder, "text.txt"), string.Join("\n<|next|>\n", Enumerable.Range(0, 30).Select(i => $"Line {i} says that {i} and {i} make {i + i}. Then the next one begins.")));
        MoeOutcome outcome = MoeProcess.Run(_folder, ["train", "--data", "text.txt", "--separator", "<|next|>", "--out", "run", "--steps", "1", .. s_small]);

        Assert.True(outcome.ExitCode == 0, outcome.Error);
        using JsonDocument run = JsonDocument.Parse(File.ReadAllText(Path.Combine(_folder, "run/run.json")));
        Assert.Equal("<|next|>", run.RootElement.GetProperty("config").GetProperty("data").GetProperty("separator").GetString());
        JsonElement text = run.RootElement.GetProperty("text");
        Assert.Equal(30, text.GetProperty("train_documents").GetInt32() + text.GetProperty("validation_documents").GetInt32());
    }

    [Fact]
    [Trait("Category", "Slow")]
    public void A_run_that_is_killed_at_random_moments_ends_with_the_same_bytes()
    {
        string[] train = ["train", "--data", "text.jsonl", "--steps", "40", "--set", "checkpoint.every_steps=3", .. s_small];
        Assert.Equal(0, MoeProcess.Run(_folder, [.. train, "--out", "whole"]).ExitCode);
        Random random = new(11);
        using (Process first = MoeProcess.Start(_folder, [.. train, "--out", "killed"]))
        {
            WaitFor(Path.Combine(_folder, "killed/run.json"), first);
            first.Kill();
            first.WaitForExit();
        }

        for (int kill = 0; kill < 8; kill++)
        {
            using Process resumed = MoeProcess.Start(_folder, "train", "--resume", "killed", "--threads", "1", "--json");
            if (!resumed.WaitForExit(random.Next(300, 3000)))
            {
                resumed.Kill();
                resumed.WaitForExit();
            }
        }

        MoeOutcome last = MoeProcess.Run(_folder, "train", "--resume", "killed", "--threads", "1", "--json");

        Assert.True(last.ExitCode == 0, last.Error);
        Assert.Equal(File.ReadAllBytes(Path.Combine(_folder, "whole/checkpoints/step-40/model.safetensors")), File.ReadAllBytes(Path.Combine(_folder, "killed/checkpoints/step-40/model.safetensors")));
        Assert.Equal(
            File.ReadLines(Path.Combine(_folder, "whole/metrics.jsonl")).Count(),
            File.ReadLines(Path.Combine(_folder, "killed/metrics.jsonl")).Count());
    }

    [Fact]
    [Trait("Category", "Slow")]
    public void Interrupting_saves_and_exits_with_130()
    {
        MoeProcess.SkipUnlessInterruptible();
        using Process process = MoeProcess.Start(_folder, ["train", "--data", "text.jsonl", "--steps", "100000", "--out", "run", .. s_small]);
        WaitFor(Path.Combine(_folder, "run/metrics.jsonl"), process);
        MoeProcess.Interrupt(process);
        process.WaitForExit();

        Assert.Equal(130, process.ExitCode);
        Assert.NotEmpty(Directory.GetDirectories(Path.Combine(_folder, "run/checkpoints"), "step-*"));
    }

    private static void WaitFor(string file, Process process)
    {
        while (!File.Exists(file) && !process.HasExited)
        {
            Thread.Yield();
        }
    }
}
