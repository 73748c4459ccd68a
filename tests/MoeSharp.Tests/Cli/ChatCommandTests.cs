using System.Diagnostics;
using System.Text;
using System.Text.Json;
using MoeSharp.Checkpoints;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Tests.Inference;
using MoeSharp.Tokenization;

namespace MoeSharp.Tests.Cli;

/// <summary><c>moe chat</c> as a process: questions in lines, answers in lines.</summary>
public sealed class ChatCommandTests : IDisposable
{
    private const string Template = "{% for message in messages %}[{{ message.role }}] {{ message.content }}\n{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}";

    private readonly string _folder = Directory.CreateTempSubdirectory("moe-chat-").FullName;

    [Fact]
    public void Answers_come_line_by_line_and_later_turns_use_what_earlier_ones_computed()
    {
        (JsonElement[] first, _) = Chat("the cat sat on the mat\nthe mat\n", "--temperature", "0");
        Assert.Equal(2, first.Length);
        Assert.All(first, answer => Assert.Equal("assistant", answer.GetProperty("role").GetString()));
        Assert.Equal(0, first[0].GetProperty("usage").GetProperty("cached_tokens").GetInt32());
        Assert.True(first[1].GetProperty("usage").GetProperty("cached_tokens").GetInt32() >= first[0].GetProperty("usage").GetProperty("prompt_tokens").GetInt32() - 1);

        // The same conversation in another process, whose cache is empty: the same answer.
        string saved = Path.Combine(_folder, "saved.json");
        (JsonElement[] _, _) = Chat($"the cat sat on the mat\n/save {saved}\n", "--temperature", "0");
        (JsonElement[] later, _) = Chat("the mat\n", "--temperature", "0", "--load", saved);
        Assert.Equal(first[1].GetProperty("content").GetString(), Assert.Single(later).GetProperty("content").GetString());
        Assert.Equal(0, later[0].GetProperty("usage").GetProperty("cached_tokens").GetInt32());
    }

    [Fact]
    public void Commands_change_the_conversation_and_are_not_part_of_it()
    {
        string saved = Path.Combine(_folder, "saved.json");
        (JsonElement[] answers, string notices) = Chat($"the cat\n/regenerate\n/help\n/stats\n/system be a cat\n//slash\n/save {saved}\n/reset\n/save {saved}2\n/exit\nnot read\n", "--seed", "5", "--temperature", "1");
        Assert.Equal([5UL, 6UL, 7UL], answers.Select(answer => answer.GetProperty("seed").GetUInt64()));
        Assert.Contains("/regenerate", notices, StringComparison.Ordinal);
        Assert.Contains("tokens/s", notices, StringComparison.Ordinal);
        using JsonDocument document = JsonDocument.Parse(File.ReadAllText(saved));
        Assert.Equal(
            [("system", "be a cat"), ("user", "the cat"), ("assistant", answers[1].GetProperty("content").GetString()), ("user", "/slash"), ("assistant", answers[2].GetProperty("content").GetString())],
            document.RootElement.EnumerateArray().Select(message => (message.GetProperty("role").GetString()!, message.GetProperty("content").GetString())));
        using JsonDocument afterReset = JsonDocument.Parse(File.ReadAllText(saved + "2"));
        Assert.Equal(1, afterReset.RootElement.GetArrayLength());
    }

    [Fact]
    public void Plain_answers_are_the_text_and_a_line_break()
    {
        (JsonElement[] json, _) = Chat("the cat\n", "--temperature", "0");
        using Process process = Start(SaveModel(), "--temperature", "0");
        process.StandardInput.Write("the cat\n");
        process.StandardInput.Close();
        MoeOutcome outcome = MoeProcess.Finish(process);
        Assert.Equal((0, json[0].GetProperty("content").GetString() + "\n"), (outcome.ExitCode, outcome.Output));
    }

    [Theory]
    [InlineData("/nonsense\n", "no command /nonsense")]
    [InlineData("/load no-such-file\n", "no-such-file")]
    [InlineData("/regenerate\n", "no answer")]
    [InlineData("/save\n", "needs a file")]
    public void A_mistake_in_a_script_ends_it_with_one_message(string input, string message)
    {
        using Process process = Start(SaveModel());
        process.StandardInput.Write(input);
        process.StandardInput.Close();
        MoeOutcome outcome = MoeProcess.Finish(process);
        Assert.Equal(2, outcome.ExitCode);
        Assert.Contains(message, outcome.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", outcome.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void A_model_without_a_template_is_refused_and_may_be_given_one()
    {
        string model = SaveModel(template: null);
        using Process refused = Start(model);
        refused.StandardInput.Close();
        MoeOutcome outcome = MoeProcess.Finish(refused);
        Assert.Equal(2, outcome.ExitCode);
        Assert.Contains("--template", outcome.Error, StringComparison.Ordinal);

        string file = Path.Combine(_folder, "own.jinja");
        File.WriteAllText(file, Template);
        using Process accepted = Start(model, "--template", file);
        accepted.StandardInput.Write("the cat\n");
        accepted.StandardInput.Close();
        Assert.Equal(0, MoeProcess.Finish(accepted).ExitCode);
    }

    [Fact]
    public void An_interrupt_stops_the_answer_and_not_the_program()
    {
        MoeProcess.SkipUnlessInterruptible();
        using Process process = Start(SaveModel(maxPositions: 60_000), "--max-tokens", "50000");
        process.StandardInput.WriteLine("the cat");
        process.StandardInput.Flush();
        string saved = Path.Combine(_folder, "part.json");
        int first = process.StandardOutput.Read(); // it answers: an interrupt is meant for the answer
        MoeProcess.Interrupt(process);
        process.StandardInput.WriteLine($"/save {saved}");
        process.StandardInput.Close();
        string answer = (char)first + process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.Equal(0, process.ExitCode);
        using JsonDocument kept = JsonDocument.Parse(File.ReadAllText(saved));
        Assert.Equal(answer, kept.RootElement[1].GetProperty("content").GetString() + "\n");
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private (JsonElement[] Answers, string Notices) Chat(string input, params string[] options)
    {
        using Process process = Start(SaveModel(), ["--json", .. options]);
        process.StandardInput.Write(input);
        process.StandardInput.Close();
        MoeOutcome outcome = MoeProcess.Finish(process);
        Assert.True(outcome.ExitCode == 0, outcome.Error);
        return ([.. outcome.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => JsonDocument.Parse(line).RootElement)], outcome.Error);
    }

    private static Process Start(string model, params string[] options)
    {
        string[] most = options.Contains("--max-tokens") ? [] : ["--max-tokens", "12"];
        return MoeProcess.StartWithInput(".", ["chat", "--model", model, "--threads", "1", .. most, .. options]);
    }

    private string SaveModel(int maxPositions = 512, string? template = Template)
    {
        string tokenizerFolder = Path.Combine(_folder, "tokenizer");
        byte[] text = Encoding.UTF8.GetBytes("the cat sat on the mat. ");
        Tokenizer tokenizer = BpeTrainer.Train([text, text], new BpeTrainerOptions { VocabSize = 270 });
        tokenizer.Save(tokenizerFolder);
        using WorkerPool workers = new(1);
        using LanguageModel model = new(DecodingSessionTests.TinyConfig with { VocabSize = tokenizer.VocabSize, MaxPositionEmbeddings = maxPositions, EosTokenId = null });
        WeightInit.Initialize(model, 3, WeightInitScheme.Normal, workers);
        string folder = Path.Combine(_folder, $"model-{Directory.GetDirectories(_folder).Length}");
        ModelFolder.Save(model, folder, new ModelFolderOptions { TokenizerFolder = tokenizerFolder });
        if (template is not null)
        {
            File.WriteAllText(Path.Combine(folder, "chat_template.jinja"), template);
        }

        return folder;
    }
}
