using MoeSharp.Data;
using MoeSharp.Training;

namespace MoeSharp.Tests.Training;

public sealed class TrainingTextTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("moe-text").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void A_text_that_changes_leaves_what_an_earlier_run_was_started_with()
    {
        Write("The cat sat on the mat.");
        string folder;
        string hash;
        string tokenizer;
        using (TrainingText before = Prepare(null))
        {
            (folder, hash, tokenizer) = (before.Folder, before.Dataset.ContentHash, before.Tokenizer.ContentHash);
        }

        Write("Quite another text, which has other words in it.");
        using TrainingText after = Prepare(null);
        using TrainingText reopened = TrainingText.Open(folder);

        Assert.NotEqual(folder, after.Folder);
        Assert.NotEqual(tokenizer, after.Tokenizer.ContentHash);
        Assert.Equal((hash, tokenizer), (reopened.Dataset.ContentHash, reopened.Tokenizer.ContentHash));
    }

    [Fact]
    public void The_same_text_and_tokenizer_are_prepared_once()
    {
        Write("The cat sat on the mat.");
        List<string> said = [];
        using TrainingText first = Prepare(null, said);
        int saidBefore = said.Count;
        using TrainingText second = Prepare(null, said);
        Assert.Equal(first.Folder, second.Folder);
        Assert.Equal(saidBefore, said.Count);

        string copy = Path.Combine(_folder, "copy");
        first.Tokenizer.Save(copy);
        using TrainingText third = Prepare(copy);
        using TrainingText fourth = Prepare(Path.Combine(copy, "tokenizer.json"));
        Assert.Equal(third.Folder, fourth.Folder); // where the tokenizer lies is all the same
        Assert.NotEqual(first.Folder, third.Folder);
    }

    [Fact]
    public void Preparation_that_was_interrupted_is_made_again()
    {
        Write("The cat sat on the mat.");
        string folder;
        string tokenizer;
        using (TrainingText text = Prepare(null))
        {
            (folder, tokenizer) = (text.Folder, text.Tokenizer.ContentHash);
        }

        File.Delete(Path.Combine(folder, "source.txt")); // written last
        File.WriteAllText(Path.Combine(folder, "tokenizer/tokenizer.json"), "{"); // half written

        using TrainingText again = Prepare(null);
        Assert.Equal((folder, tokenizer), (again.Folder, again.Tokenizer.ContentHash));
    }

    private TrainingText Prepare(string? tokenizer) => Prepare(tokenizer, []);

    private TrainingText Prepare(string? tokenizer, List<string> said) =>
        TrainingText.Prepare(TextSources.Expand([Path.Combine(_folder, "text.txt")]), tokenizer, new DatasetConfig { VocabSize = 264 }, Path.Combine(_folder, "cache"), said.Add, CancellationToken.None);

    private void Write(string sentence) => File.WriteAllLines(Path.Combine(_folder, "text.txt"), Enumerable.Repeat(sentence, 40));
}
