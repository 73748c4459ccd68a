using System.Text;
using MoeSharp.Tokenization;

namespace MoeSharp.Tests.Tokenization;

public class BpeTrainerTests
{
    [Fact]
    public void Trainer_merges_the_most_frequent_pair_first()
    {
        // Pieces: "low" x3, " low" x1, " lot" x2. Pairs: lo 6, ow 4, " l" 3, ot 2.
        Tokenizer tokenizer = Train(["low", "low", "low low", "lot lot", " lot"], 258 + 2);

        Assert.Equal("lo", tokenizer.TokenText(258));
        Assert.Equal("low", tokenizer.TokenText(259));
    }

    [Fact]
    public void Trainer_breaks_ties_by_the_smaller_left_id_then_the_smaller_right_id()
    {
        Tokenizer tokenizer = Train(["cd", "cd", "ab", "ab", "ac", "ac"], 258 + 3);

        Assert.Equal("ab ac cd", string.Join(" ", Enumerable.Range(258, 3).Select(tokenizer.TokenText)));
    }

    [Fact]
    public void Trainer_counts_like_recounting_everything_after_each_merge()
    {
        string[] words = RandomWords(seed: 7, count: 1000);
        Tokenizer tokenizer = Train(words, 258 + 120);

        List<string> expected = ReferenceBpe.LearnTokens(words, 120);

        Assert.Equal(expected, Enumerable.Range(258, 120).Select(id => tokenizer.TokenText(id)));
    }

    [Fact]
    public void Special_tokens_come_first_and_bytes_follow()
    {
        Tokenizer tokenizer = Train(["hello hello"], 300);

        Assert.Equal(0, tokenizer.BosTokenId);
        Assert.Equal(1, tokenizer.EosTokenId);
        Assert.Equal([(byte)0], tokenizer.TokenBytes(2).ToArray());
        Assert.Equal([(byte)255], tokenizer.TokenBytes(257).ToArray());
        Assert.True(tokenizer.IsSpecial(0));
        Assert.False(tokenizer.IsSpecial(2));
    }

    [Fact]
    public void A_smaller_vocabulary_begins_a_larger_one()
    {
        string[] words = RandomWords(seed: 3, count: 300);
        Tokenizer small = Train(words, 300);
        Tokenizer large = Train(words, 340);

        Assert.Equal(Enumerable.Range(0, 300).Select(small.TokenText), Enumerable.Range(0, 300).Select(large.TokenText));
    }

    [Fact]
    public void Learning_ends_early_when_no_pair_repeats()
    {
        Assert.Equal(258, Train(["abc"], 1000).VocabSize);
    }

    [Fact]
    public void A_vocabulary_too_small_is_refused_with_the_minimum()
    {
        ConfigurationException error = Assert.Throws<ConfigurationException>(() => Train(["abc"], 257));
        Assert.Contains("258", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    public void Data_without_text_is_refused(int numEmptyDocuments)
    {
        IEnumerable<string> documents = Enumerable.Repeat("", numEmptyDocuments);
        Assert.Contains("no text", Assert.Throws<ConfigurationException>(() => Train(documents, 300)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_document_that_is_not_utf8_is_named_with_its_offset()
    {
        ReadOnlyMemory<byte>[] documents = ["fine"u8.ToArray(), new byte[] { (byte)'a', (byte)'b', 0xC3, (byte)'c' }];

        ConfigurationException error = Assert.Throws<ConfigurationException>(() => BpeTrainer.Train(documents, new BpeTrainerOptions { VocabSize = 300 }));

        Assert.Contains("document 1", error.Message, StringComparison.Ordinal);
        Assert.Contains("offset 2", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Text_full_of_special_tokens_does_not_teach_them()
    {
        Tokenizer tokenizer = Train(Enumerable.Repeat("x<<y>> <<y>> <<y>>", 20), 400, bos: "<<y>>");

        Assert.Equal(0, tokenizer.FindToken("<<y>>"));
        Assert.DoesNotContain(Enumerable.Range(2, tokenizer.VocabSize - 2), id => tokenizer.TokenText(id) == "<<y>>");
    }

    internal static Tokenizer Train(IEnumerable<string> documents, int vocabSize, string bos = "<|begin_of_text|>") => BpeTrainer.Train(
        documents.Select(text => (ReadOnlyMemory<byte>)Encoding.UTF8.GetBytes(text)), new BpeTrainerOptions { VocabSize = vocabSize, BosToken = bos });

    internal static string[] RandomWords(int seed, int count)
    {
        Random random = new(seed);
        return [.. Enumerable.Range(0, count).Select(_ => new string([.. Enumerable.Range(0, random.Next(1, 9)).Select(_ => "abcd"[random.Next(4)])]))];
    }
}
