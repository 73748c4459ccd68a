using System.Text;
using MoeSharp.Data;
using MoeSharp.Kernels;

namespace MoeSharp.Tests.Data;

public sealed class NGramBaselinesTests
{
    [Fact]
    public void Small_text_costs_what_the_formulas_say()
    {
        // training "ab": symbols a, b, end once each. Unigram: (1 + 1/2) / (3 + 257/2).
        // Bigram after a: one follower seen once, so p(b|a) = (1 + p(b)) / 2; likewise p(a|begin) and p(end|b).
        NGramBaselines baselines = NGramBaselines.Measure(Documents("ab"), Documents("ab"));
        double unigram = 1.5 / 131.5;
        Assert.Equal(-3 * Math.Log2(unigram) / 2, baselines.UnigramBitsPerByte, 1e-12);
        Assert.Equal(-3 * Math.Log2((1 + unigram) / 2) / 2, baselines.BigramBitsPerByte, 1e-12);
    }

    [Fact]
    public void Unseen_contexts_fall_back_to_the_unigram()
    {
        // after c (never seen) b costs as much as by the unigram; c itself and the start have their own cost
        NGramBaselines baselines = NGramBaselines.Measure(Documents("ab"), Documents("c"));
        double end = 1.5 / 131.5;
        double c = 0.5 / 131.5;
        Assert.Equal(-Math.Log2(c * end), baselines.UnigramBitsPerByte, 1e-12);
        Assert.Equal(-Math.Log2(c / 2 * end), baselines.BigramBitsPerByte, 1e-12);
    }

    [Fact]
    public void Random_bytes_cost_eight_bits_and_a_fixed_alternation_almost_none()
    {
        SplitMix64 random = new(1);
        byte[] noise = new byte[200_000];
        for (int i = 0; i < noise.Length; i++)
        {
            noise[i] = (byte)random.Below(256);
        }

        NGramBaselines even = NGramBaselines.Measure([noise.AsMemory(0, 100_000)], [noise.AsMemory(100_000)]);
        Assert.InRange(even.UnigramBitsPerByte, 7.99, 8.02);
        NGramBaselines pairs = NGramBaselines.Measure(Documents(string.Concat(Enumerable.Repeat("xy", 5000))), Documents(string.Concat(Enumerable.Repeat("xy", 500))));
        Assert.InRange(pairs.UnigramBitsPerByte, 0.99, 1.05);
        Assert.InRange(pairs.BigramBitsPerByte, 0, 0.05);
    }

    [Fact]
    public void Passages_count_like_the_whole_document()
    {
        ByteCounts whole = new();
        whole.Add("some text"u8, beginsDocument: true, endsDocument: true);
        ByteCounts parts = new();
        parts.Add("some"u8, beginsDocument: true, endsDocument: false);
        parts.Add(" text"u8, beginsDocument: false, endsDocument: true);
        Assert.Equal(NGramBaselines.Measure(whole, whole), NGramBaselines.Measure(parts, parts));
        Assert.Equal(1, parts.Occurrences((byte)'s'));
        Assert.Equal(2, parts.Occurrences((byte)'t'));
    }

    [Fact]
    public void Bigrams_do_not_explain_the_embedded_corpus()
    {
        IReadOnlyList<Document> documents = SyntheticCorpus.Generate(1, 1_000_000);
        NGramBaselines baselines = NGramBaselines.Measure(
            documents.Where((_, index) => index % 10 != 0).Select(document => (ReadOnlyMemory<byte>)Encoding.UTF8.GetBytes(document.Text)),
            documents.Where((_, index) => index % 10 == 0).Select(document => (ReadOnlyMemory<byte>)Encoding.UTF8.GetBytes(document.Text)));
        Assert.InRange(baselines.UnigramBitsPerByte, 5, 6.5);
        Assert.InRange(baselines.BigramBitsPerByte, 3, 4);
    }

    [Fact]
    public void An_empty_side_is_an_error() => Assert.Throws<ConfigurationException>(() => NGramBaselines.Measure([], Documents("a")));

    private static ReadOnlyMemory<byte>[] Documents(params string[] texts) => [.. texts.Select(text => (ReadOnlyMemory<byte>)Encoding.UTF8.GetBytes(text))];
}
