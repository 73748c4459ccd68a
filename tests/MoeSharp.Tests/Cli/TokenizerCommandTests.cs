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
    [InlineData("There is no file", "encode", "--tokenizer", "vocabulary", "--text-file", "missing.txt")]
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
