using System.CommandLine;
using System.Text.Json;
using MoeSharp.Cli.Commands;
using MoeSharp.Tests.Tokenization;
using TemporaryFolder = MoeSharp.Tests.Tokenization.TemporaryFolder;

namespace MoeSharp.Tests.Cli;

/// <summary><c>moe tokenizer</c> as a person and as a program meets it.</summary>
public sealed class TokenizerCommandTests
{
    private const string Text = "One two, one two: \u4EBA\u5DE5\u667A\u80FD \U0001F600 <b>\"\n";

    [Fact]
    public void A_trained_vocabulary_encodes_and_decodes()
    {
        using TemporaryFolder folder = new();
        string corpus = Write(folder, "corpus.txt", Text + Text);
        string vocabulary = Path.Combine(folder.Path, "vocabulary");

        Assert.Contains("ids, saved in", Run("train", "--data", corpus, "--vocab-size", "280", "--out", vocabulary), StringComparison.Ordinal);
        string encoded = Run("encode", "--tokenizer", vocabulary, "--text-file", corpus, "--json");
        int[] ids = [.. JsonDocument.Parse(encoded).RootElement.GetProperty("ids").EnumerateArray().Select(id => id.GetInt32())];
        string[] plain = Run("encode", "--tokenizer", vocabulary, "--text-file", corpus, "--no-special").Split();

        Assert.Equal(0, ids[0]);
        Assert.Equal(ids[1..].Select(id => $"{id}"), plain.Where(id => id.Length > 0));
        string decoded = Run(["decode", "--tokenizer", Path.Combine(vocabulary, "tokenizer.json"), "--json", .. ids[1..].Select(id => $"{id}")]);
        Assert.Equal(Text + Text, JsonDocument.Parse(decoded).RootElement.GetProperty("text").GetString());
        Assert.Equal(Text + Text + "\n", Run(["decode", "--tokenizer", vocabulary, .. ids[1..].Select(id => $"{id}")]));
    }

    [Fact]
    public void Text_that_is_not_UTF8_is_named_with_its_offset()
    {
        using TemporaryFolder folder = new();
        string vocabulary = TrainSmall(folder);
        string bad = Path.Combine(folder.Path, "bad.txt");
        File.WriteAllBytes(bad, [65, 66, 0xFF, 67]);

        foreach (string[] arguments in (string[][])[["encode", "--tokenizer", vocabulary, "--text-file", bad], ["train", "--data", bad, "--vocab-size", "300", "--out", folder.Path]])
        {
            string message = Assert.Throws<ConfigurationException>(() => Run(arguments)).Message;
            Assert.Contains("bad.txt", message, StringComparison.Ordinal);
            Assert.Matches("(offset|byte) 2\\b", message);
        }
    }

    [Theory]
    [InlineData("no text", "train", "--data", "empty.txt", "--vocab-size", "300", "--out", "out")]
    [InlineData("at least 258", "train", "--data", "corpus.txt", "--vocab-size", "100", "--out", "out")]
    [InlineData("missing.txt", "train", "--data", "missing.txt", "--vocab-size", "300", "--out", "out")]
    [InlineData("There is no tokenizer at", "encode", "--tokenizer", "nowhere", "--text", "a")]
    [InlineData("missing.txt: no such file", "encode", "--tokenizer", "vocabulary", "--text-file", "missing.txt")]
    [InlineData("Give one of them", "encode", "--tokenizer", "vocabulary", "--text-file", "corpus.txt", "--text", "a")]
    [InlineData("no token with id 99999", "decode", "--tokenizer", "vocabulary", "99999")]
    public void Wrong_input_is_answered_with_a_remedy(string remedy, params string[] arguments)
    {
        using TemporaryFolder folder = new();
        TrainSmall(folder);
        Write(folder, "empty.txt", "");
        string[] files = ["empty.txt", "corpus.txt", "missing.txt", "nowhere", "vocabulary", "out"];
        string[] rooted = [.. arguments.Select(argument => files.Contains(argument) ? Path.Combine(folder.Path, argument) : argument)];

        Assert.Contains(remedy, Assert.Throws<ConfigurationException>(() => Run(rooted)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_conversation_is_rendered_and_encoded()
    {
        using TemporaryFolder folder = new();
        string vocabulary = TrainSmall(folder);
        string messages = Write(folder, "messages.json", "[{\"role\": \"user\", \"content\": \"One two\"}]");
        Write(folder, "vocabulary/chat_template.jinja", "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}\n");

        JsonElement printed = JsonDocument.Parse(Run("chat", "--tokenizer", vocabulary, "--messages", messages, "--json")).RootElement;
        string text = printed.GetProperty("text").GetString()!;
        Assert.EndsWith("user: One two\nassistant:", text, StringComparison.Ordinal);
        int[] ids = [.. printed.GetProperty("ids").EnumerateArray().Select(id => id.GetInt32())];
        Assert.Equal(0, ids[0]);
        Assert.NotEqual(0, ids[1]);
        Assert.Equal(text + "\n", Run(["decode", "--tokenizer", vocabulary, .. ids.Select(id => $"{id}")]));

        string copy = Path.Combine(folder.Path, "copy");
        MoeSharp.Tokenization.Tokenizer.Load(vocabulary).Save(copy);
        Assert.Equal(text, JsonDocument.Parse(Run("chat", "--tokenizer", copy, "--messages", messages, "--json")).RootElement.GetProperty("text").GetString());

        string plain = Run("chat", "--tokenizer", vocabulary, "--messages", messages, "--no-generation-prompt");
        Assert.DoesNotContain("assistant:", plain, StringComparison.Ordinal);
        string template = Write(folder, "own.jinja", "{{ tools[0].name }}/{{ messages[0].content }}");
        string withTools = Write(folder, "tools.json", "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}], \"tools\": [{\"name\": \"weather\"}]}");
        string noTools = Write(folder, "none.json", "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}], \"tools\": null}");
        Assert.StartsWith("True\n\n", Run("chat", "--tokenizer", vocabulary, "--messages", noTools, "--template", Write(folder, "none.jinja", "{{ tools is none }}")), StringComparison.Ordinal);
        Assert.StartsWith("weather/Hi\n\n", Run("chat", "--tokenizer", vocabulary, "--messages", withTools, "--template", template), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("[{\"role\": \"user\", \"content\": \"x\"}]", null, "comes without a chat template")]
    [InlineData("[7]", "x", "message 0 is not an object")]
    [InlineData("{\"messages\": 7}", "x", "is not a list of messages")]
    [InlineData("{\"messages\": [], \"tools\": {\"name\": \"weather\"}}", "x", "\"tools\" is not a list of tools")]
    [InlineData("{\"messages\": [], \"tools\": \"weather\"}", "x", "\"tools\" is not a list of tools")]
    [InlineData("nonsense", "x", "is not valid JSON")]
    [InlineData("[]", "{{ raise_exception('no messages') }}", "line 1: no messages")]
    public void A_conversation_that_cannot_be_rendered_is_answered_with_a_remedy(string messages, string? template, string remedy)
    {
        using TemporaryFolder folder = new();
        string vocabulary = TrainSmall(folder);
        string file = Write(folder, "messages.json", messages);
        string[] more = template is null ? [] : ["--template", Write(folder, "own.jinja", template)];

        Assert.Contains(remedy, Assert.Throws<ConfigurationException>(() => Run(["chat", "--tokenizer", vocabulary, "--messages", file, .. more])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_SentencePiece_model_serves_as_a_tokenizer()
    {
        using TemporaryFolder folder = new();
        string model = Path.Combine(folder.Path, "tokenizer.model");
        File.WriteAllBytes(model, MoeSharp.Tests.Tokenization.SentencePieceTests.Small().Write());

        Assert.Equal("262\n", Run("encode", "--tokenizer", model, "--text", "ab"));
        Assert.Equal("262\n", Run("encode", "--tokenizer", folder.Path, "--text", "ab"));
        Assert.Equal("ab\n", Run("decode", "--tokenizer", folder.Path, "262"));
    }

    private static string TrainSmall(TemporaryFolder folder)
    {
        Write(folder, "corpus.txt", Text);
        BpeTrainerTests.Train([Text], 300).Save(Path.Combine(folder.Path, "vocabulary"));
        return Path.Combine(folder.Path, "vocabulary");
    }

    private static string Write(TemporaryFolder folder, string name, string text)
    {
        File.WriteAllText(Path.Combine(folder.Path, name), text);
        return Path.Combine(folder.Path, name);
    }

    private static string Run(params string[] arguments)
    {
        using StringWriter output = new() { NewLine = "\n" };
        int exitCode = TokenizerCommand.Create().Parse(arguments).Invoke(
            new InvocationConfiguration { Output = output, Error = TextWriter.Null, EnableDefaultExceptionHandler = false });
        Assert.Equal(0, exitCode);
        return output.ToString();
    }
}
