using System.Diagnostics;
using System.Text;
using System.Text.Json;
using MoeSharp.Checkpoints;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Tests.Inference;
using MoeSharp.Tests.Verification;
using MoeSharp.Tokenization;

namespace MoeSharp.Tests.Cli;

/// <summary>The verbs as a user runs them: a process, its two outputs and its exit code.</summary>
public sealed class CommandTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("moe-cli-").FullName;

    [Fact]
    public void Generate_prints_the_promised_json_and_the_same_text_for_the_same_seed()
    {
        string model = SaveModel();
        string[] arguments = ["generate", "--model", model, "--prompt", "the cat", "--max-tokens", "5", "--seed", "1", "--temperature", "1", "--json"];
        MoeOutcome first = Run(arguments);
        Assert.Equal(0, first.ExitCode);
        using JsonDocument json = JsonDocument.Parse(first.Output);
        JsonElement root = json.RootElement;
        int written = root.GetProperty("ids").GetArrayLength();
        Assert.Equal(written, root.GetProperty("usage").GetProperty("completion_tokens").GetInt32());
        Assert.True(root.GetProperty("usage").GetProperty("prompt_tokens").GetInt32() > 0);
        Assert.Equal(written == 5 ? "length" : "stop", root.GetProperty("finish_reason").GetString());
        Assert.Equal(first.Output, Run(arguments).Output);

        MoeOutcome plain = Run(arguments[..^1]);
        Assert.Equal(root.GetProperty("text").GetString() + "\n", plain.Output);
        Assert.Contains("tokens/s", plain.Error);
    }

    [Fact]
    public void Generate_reads_the_prompt_from_standard_input_without_its_last_line_break()
    {
        string model = SaveModel();
        string[] arguments = ["generate", "--model", model, "--max-tokens", "5", "--temperature", "0", "--json"];
        Assert.Equal(Run([.. arguments, "--prompt", "the cat"]).Output.Split("seed")[0], Run(arguments, "the cat\n").Output.Split("seed")[0]);
    }

    [Fact]
    public void Generate_draws_as_the_model_was_published_unless_told_otherwise()
    {
        string model = SaveModel();
        string[] arguments = ["generate", "--model", model, "--prompt", "the cat", "--max-tokens", "20", "--seed", "3"];
        string greedy = Run([.. arguments, "--temperature", "0"]).Output;
        string usual = Run(arguments).Output;
        Assert.NotEqual(greedy, usual);
        File.WriteAllText(Path.Combine(model, "generation_config.json"), """{"do_sample": true, "top_k": 1}""");
        Assert.Equal(greedy, Run(arguments).Output);
        Assert.Equal(usual, Run([.. arguments, "--temperature", "0.8", "--top-k", "0", "--top-p", "0.95"]).Output);
    }

    [Fact]
    public void Generate_continues_a_file_of_prompts_side_by_side_as_it_does_one_by_one()
    {
        string model = SaveModel();
        string file = Path.Combine(_folder, "prompts.jsonl");
        string[] prompts = ["the cat", "the mat", "sat on", "the cat sat", "on"];
        File.WriteAllLines(file, prompts.Select((prompt, n) => n % 2 == 0 ? $"{{\"prompt\": \"{prompt}\"}}" : $"\"{prompt}\"").Append(""));
        string[] common = ["generate", "--model", model, "--max-tokens", "6", "--temperature", "1"];
        MoeOutcome many = Run([.. common, "--prompts", file, "--parallel", "3", "--seed", "7"]);
        Assert.Equal(0, many.ExitCode);
        Assert.Contains("3 at once", many.Error, StringComparison.Ordinal);
        Assert.Equal(string.Concat(prompts.Select((prompt, n) => Run([.. common, "--prompt", prompt, "--seed", $"{7 + n}", "--json"]).Output)), many.Output);
    }

    [Fact]
    public void Eval_prints_the_promised_json()
    {
        string text = Path.Combine(_folder, "text.txt");
        File.WriteAllText(text, "the cat sat on the mat. the mat sat on the cat.");
        MoeOutcome result = Run(["eval", "--model", SaveModel(), "--data", text, "--json"]);
        Assert.Equal(0, result.ExitCode);
        using JsonDocument json = JsonDocument.Parse(result.Output);
        double loss = json.RootElement.GetProperty("loss").GetDouble();
        Assert.Equal(Math.Exp(loss), json.RootElement.GetProperty("perplexity").GetDouble(), 1e-6);
        Assert.True(json.RootElement.GetProperty("bits_per_byte").GetDouble() > 0);
        Assert.True(json.RootElement.GetProperty("tokens").GetInt64() > 1);
        Assert.True(json.RootElement.TryGetProperty("standard_error", out _));
    }

    [Fact]
    public void Logits_writes_tokens_times_vocab_floats()
    {
        string tokens = Path.Combine(_folder, "tokens.json");
        File.WriteAllText(tokens, "[[1, 2, 3], [4]]");
        string output = Path.Combine(_folder, "logits.f32");
        Assert.Equal(0, Run(["logits", "--model", FixtureVerifierTests.Fixture("deepseek"), "--tokens", tokens, "--out", output]).ExitCode);
        Assert.Equal(4 * 256 * sizeof(float), new FileInfo(output).Length);
    }

    [Fact]
    public void Verify_exits_with_0_when_all_passes_and_1_when_not()
    {
        MoeOutcome passed = Run(["verify", FixtureVerifierTests.Fixture("deepseek_sharded_bf16"), "--json"]);
        Assert.Equal(0, passed.ExitCode);
        Assert.True(JsonDocument.Parse(passed.Output).RootElement.GetProperty("passed").GetBoolean());

        string broken = Path.Combine(_folder, "broken");
        Directory.CreateDirectory(broken);
        foreach (string file in Directory.EnumerateFiles(FixtureVerifierTests.Fixture("deepseek_sharded_bf16")))
        {
            File.WriteAllBytes(Path.Combine(broken, Path.GetFileName(file)), File.ReadAllBytes(file));
        }

        string expected = Path.Combine(broken, "expected.json");
        File.WriteAllText(expected, File.ReadAllText(expected).Replace("\"next_token_ce_loss\": 5.98", "\"next_token_ce_loss\": 6.98", StringComparison.Ordinal));
        MoeOutcome failed = Run(["verify", broken]);
        Assert.Equal(1, failed.ExitCode);
        Assert.Contains("FAIL  next_token_ce_loss", failed.Output);
    }

    [Theory]
    [InlineData("generate --model nowhere --prompt x", "nowhere")]
    [InlineData("generate --model . --prompt x --temperature -1", "temperature -1")]
    [InlineData("generate --model . --prompts nowhere.jsonl", "nowhere.jsonl")]
    [InlineData("generate --model . --prompt x --parallel 2", "--parallel")]
    [InlineData("generate --model . --prompt x --tempurature 1", "--tempurature")]
    [InlineData("eval --model . --data no-such-file.txt", "no-such-file.txt")]
    [InlineData("logits --model . --tokens no-tokens.json --out x", "no-tokens.json")]
    [InlineData("verify no-such-folder", "no-such-folder")]
    [InlineData("generate --model . --prompt x --threads 0", "")]
    public void Wrong_input_is_one_message_and_exit_code_2(string arguments, string part)
    {
        MoeOutcome result = Run(arguments.Split(' '));
        Assert.Equal(2, result.ExitCode);
        Assert.Contains(part, result.Error);
        Assert.StartsWith("moe: ", result.Error);
        Assert.DoesNotContain("   at ", result.Error);
        Assert.Empty(result.Output);
    }

    [Theory]
    [InlineData("generate --model nowhere --prompt x --json", "nowhere", 2)]
    [InlineData("generate --model nowhere --prompts nowhere.jsonl --json", "nowhere.jsonl", 2)]
    [InlineData("inspect nano --json --nothing", "--nothing", 2)]
    [InlineData("compare nowhere.json --json", "nowhere.json", 2)]
    [InlineData("verify nowhere --json", "nowhere", 2)]
    [InlineData("bench quantized --batch x --json", "--batch x", 2)]
    public void With_json_a_failure_is_a_document_too(string arguments, string part, int exitCode)
    {
        MoeOutcome result = Run(arguments.Split(' '));

        Assert.Equal(exitCode, result.ExitCode);
        Assert.Contains(part, result.Error, StringComparison.Ordinal);
        using JsonDocument document = JsonDocument.Parse(result.Output);
        Assert.Contains(part, document.RootElement.GetProperty("error").GetString(), StringComparison.Ordinal);
        Assert.Equal(exitCode, document.RootElement.GetProperty("exit_code").GetInt32());
    }

    [Fact]
    public void A_prompt_of_a_file_that_does_not_fit_is_named_before_the_first_text()
    {
        string model = SaveModel();
        string file = Path.Combine(_folder, "prompts.jsonl");
        File.WriteAllLines(file, ["\"the cat\"", $"\"{string.Concat(Enumerable.Repeat("mat ", 200))}\""]);
        MoeOutcome result = Run(["generate", "--model", model, "--prompts", file]);

        Assert.Equal((2, ""), (result.ExitCode, result.Output));
        Assert.Contains("prompt 2 of the file", result.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("INT")]
    [InlineData("TERM")]
    public void A_signal_ends_a_text_with_exit_code_130(string signal)
    {
        MoeProcess.SkipUnlessInterruptible();
        string model = SaveModel(maxPositions: 50_000);
        using Process process = Start(["generate", "--model", model, "--prompt", "the cat", "--max-tokens", "40000", "--temperature", "0"]);
        process.StandardInput.Close();
        Assert.NotEqual(-1, process.StandardOutput.Read()); // it writes: the handler is in place
        MoeProcess.Interrupt(process, signal);
        process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.Equal(130, process.ExitCode);
        Assert.DoesNotContain("   at ", process.StandardError.ReadToEnd());
    }

    [Fact]
    public void Doctor_measures_the_machine_and_says_what_fits()
    {
        MoeOutcome result = Run(["doctor", "--json"]);
        Assert.Equal(0, result.ExitCode);
        using JsonDocument json = JsonDocument.Parse(result.Output);
        JsonElement machine = json.RootElement.GetProperty("machine");
        Assert.True(machine.GetProperty("fma_gflops").GetDouble() > 0);
        Assert.True(machine.GetProperty("read_gbps").GetDouble() > 0);
        JsonElement nano = json.RootElement.GetProperty("models").EnumerateArray().Single(model => model.GetProperty("name").GetString() == "nano");
        Assert.True(nano.GetProperty("trains").GetBoolean());
        JsonElement large = json.RootElement.GetProperty("models").EnumerateArray().Single(model => model.GetProperty("name").GetString() == "deepseek-moe-145b");
        Assert.Equal(large.GetProperty("run_bytes").GetInt64() <= json.RootElement.GetProperty("memory").GetProperty("free_bytes").GetInt64(), large.GetProperty("runs").GetBoolean());
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private string SaveModel(int maxPositions = 64)
    {
        string tokenizerFolder = Path.Combine(_folder, "tokenizer");
        byte[] text = Encoding.UTF8.GetBytes("the cat sat on the mat. ");
        Tokenizer tokenizer = BpeTrainer.Train([text, text], new BpeTrainerOptions { VocabSize = 270 });
        tokenizer.Save(tokenizerFolder);
        using WorkerPool workers = new(1);
        using LanguageModel model = new(DecodingSessionTests.TinyConfig with { VocabSize = tokenizer.VocabSize, MaxPositionEmbeddings = maxPositions, EosTokenId = null });
        WeightInit.Initialize(model, 3, WeightInitScheme.Normal, workers);
        string folder = Path.Combine(_folder, "model");
        ModelFolder.Save(model, folder, new ModelFolderOptions { TokenizerFolder = tokenizerFolder });
        return folder;
    }

    private static MoeOutcome Run(string[] arguments, string input = "")
    {
        using Process process = Start(arguments);
        process.StandardInput.Write(input);
        process.StandardInput.Close();
        return MoeProcess.Finish(process);
    }

    private static Process Start(string[] arguments) => MoeProcess.StartWithInput(".", arguments);
}
