using System.Runtime.InteropServices;
using MoeSharp.Checkpoints;
using MoeSharp.Execution;
using MoeSharp.Inference;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Tests.Verification;

namespace MoeSharp.Tests.Inference;

public sealed class LogitsFileTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("moe-logits-").FullName;

    [Fact]
    public void The_file_holds_every_token_of_every_sequence_in_order()
    {
        using WorkerPool workers = new(2);
        using LanguageModel model = ModelFolder.Load(FixtureVerifierTests.Fixture("deepseek"));
        int[][] sequences = [[.. Enumerable.Range(0, 150).Select(i => (i * 7) % 256)], [1, 2, 3]]; // longer than one piece, then short
        string path = Path.Combine(_folder, "out.f32");
        LogitsFile.Write(model, sequences, path, workers, TestContext.Current.CancellationToken);

        float[] written = MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(path)).ToArray();
        Assert.Equal(153 * 256, written.Length);
        using ForwardContext context = new(workers);
        float[] full = new float[150 * 256];
        model.Logits(TokenBatch.FromSequences([sequences[0]]), 150, full, context);
        Assert.Equal(full, written[..full.Length]);
        float[] second = new float[3 * 256];
        model.Logits(TokenBatch.FromSequences([sequences[1]]), 3, second, context);
        Assert.Equal(second, written[full.Length..]);
    }

    [Fact]
    public void A_write_that_does_not_finish_leaves_no_file()
    {
        using WorkerPool workers = new(1);
        using LanguageModel model = ModelFolder.Load(FixtureVerifierTests.Fixture("deepseek"));
        string path = Path.Combine(_folder, "out.f32");
        Assert.Throws<OperationCanceledException>(() => LogitsFile.Write(model, [[1, 2]], path, workers, new CancellationToken(canceled: true)));
        Assert.Empty(Directory.EnumerateFiles(_folder));
    }

    [Theory]
    [InlineData("[1, 2, 3]", "1 2 3")]
    [InlineData("[[1], [2, 3]]", "1|2 3")]
    public void Tokens_are_one_array_or_an_array_of_arrays(string json, string expected)
    {
        Assert.Equal(expected, string.Join('|', TokenSequences.Read(Written(json)).Select(sequence => string.Join(' ', sequence))));
    }

    [Theory]
    [InlineData("", "tokens.json")]
    [InlineData("{}", "no array")]
    [InlineData("[]", "no array")]
    [InlineData("[[]]", "sequence 0")]
    [InlineData("[[1], 2]", "sequence 1")]
    [InlineData("[1, [2]]", "place 1")]
    [InlineData("[1, 2.5]", "place 1")]
    [InlineData("[1, \"2\"]", "place 1")]
    [InlineData("[99999999999]", "place 0")]
    public void Anything_else_is_an_error_that_says_where(string json, string part)
    {
        Assert.Contains(part, Assert.Throws<ConfigurationException>(() => TokenSequences.Read(Written(json))).Message);
    }

    [Fact]
    public void An_id_outside_the_vocabulary_is_an_error_that_says_where()
    {
        string message = Assert.Throws<ConfigurationException>(() => TokenSequences.CheckVocabulary([[1], [2, 300]], 256, "t.json")).Message;
        Assert.Contains("id 300 at place 1 of sequence 1", message);
        Assert.Throws<ConfigurationException>(() => TokenSequences.CheckVocabulary([[-1]], 256, "t.json"));
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private string Written(string json)
    {
        string path = Path.Combine(_folder, "tokens.json");
        File.WriteAllText(path, json);
        return path;
    }
}
