using MoeSharp.Data;
using MoeSharp.Training;

namespace MoeSharp.Tests.Training;

public sealed class HeldOutPromptsTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("moe-prompts").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Documents_give_their_beginnings_with_their_domain()
    {
        Document[] documents = [.. Enumerable.Range(100, 60).Select(i => new Document($"Number {i} has a sentence, and another sentence.", i % 2 == 0 ? "even" : "odd", "test"))];
        IReadOnlyList<ExamplePrompt> prompts = Choose(documents, 4);

        Assert.Equal(4, prompts.Count);
        Assert.All(prompts, prompt => Assert.Matches("^Number 1[0-9]", prompt.Text));
        Assert.All(prompts, prompt => Assert.Equal(int.Parse(prompt.Text.AsSpan(7, 3), provider: null) % 2 == 0 ? "even" : "odd", prompt.Domain));
        Assert.Equal(4, prompts.Distinct().Count());
    }

    [Fact]
    public void A_single_document_gives_beginnings_of_lines()
    {
        string text = string.Concat(Enumerable.Range(1000, 400).Select(i => $"Line {i} of a long text.\n"));
        IReadOnlyList<ExamplePrompt> prompts = Choose([new Document(text, "", "test")], 3);

        Assert.Equal(3, prompts.Count);
        Assert.All(prompts, prompt => Assert.Matches("^Line 1[0-9]", prompt.Text));
    }

    [Fact]
    public void Very_short_documents_give_what_they_have()
    {
        Document[] documents = [.. Enumerable.Range(0, 40).Select(i => new Document(i % 4 == 0 ? " " : "\u6F22\u5B57\u6F22", "", "test"))];

        Assert.All(Choose(documents, 8), prompt => Assert.DoesNotContain("\ufffd", prompt.Text, StringComparison.Ordinal));
    }

    private IReadOnlyList<ExamplePrompt> Choose(Document[] documents, int most)
    {
        using TrainingText text = TrainingText.Prepare(new DocumentList(documents, "test"), null, new DatasetConfig { VocabSize = 264, ValidationShare = 0.2 }, _folder, _ => { }, CancellationToken.None);
        return HeldOutPrompts.Choose(text.Dataset, text.Tokenizer, most);
    }
}
