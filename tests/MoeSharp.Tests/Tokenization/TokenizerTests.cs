using System.Text;
using FsCheck;
using FsCheck.Fluent;
using MoeSharp.Tokenization;

namespace MoeSharp.Tests.Tokenization;

public class TokenizerTests
{
    private const string Mixed = "Hello world, hello again! 12345 + 678 = 13023.\nZażółć gęślą jaźń; 人工智能改变世界。 \U0001F469\u200D\U0001F469\u200D\U0001F467 नमस्ते\r\n\tif (x) { return y; }  \n";

    private static readonly Tokenizer Trained = BpeTrainerTests.Train(Enumerable.Repeat(Mixed, 5), 600);

    [Fact]
    public void Any_string_survives_encoding_and_decoding()
    {
        Gen<string> texts = ArbMap.Default.GeneratorFor<UnicodeString>().Select(text => text.Get ?? "");
        Gen<string> scraps = Gen.Elements("a", "'", "s", " ", "\n", "\r", "7", "é", "中", "\U0001F600", "\u0301", "<|begin_of_text|>", "<|", "\u00A0", "\u0000", "𐐀")
            .ListOf().Select(parts => string.Concat(parts));

        Prop.ForAll(Gen.OneOf(texts, scraps).ToArbitrary(), text =>
        {
            string valid = Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text)); // Unpaired surrogates become U+FFFD.
            return Trained.Decode(Trained.Encode(text, addSpecialTokens: false), skipSpecialTokens: false) == valid;
        }).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void Encoding_equals_merging_the_obvious_way()
    {
        string[] words = BpeTrainerTests.RandomWords(seed: 11, count: 500);
        Tokenizer tokenizer = BpeTrainerTests.Train(words, 258 + 150);
        (string Left, string Right)[] merges = TokenizerFileTests.MergesOf(tokenizer);
        Random random = new(5);
        foreach (int length in (int[])[1, 2, 31, 32, 33, 48, 49, 200, 500])
        {
            string text = new([.. Enumerable.Range(0, length).Select(_ => "abcd"[random.Next(4)])]);
            List<string> expected = ReferenceBpe.Merge([.. text.Select(letter => letter.ToString())], merges);

            Assert.Equal(expected, tokenizer.Encode(text, addSpecialTokens: false).Select(id => tokenizer.TokenText(id)!));
        }
    }

    [Fact]
    public void Special_tokens_are_added_only_when_asked()
    {
        int[] plain = Trained.Encode("Hello", addSpecialTokens: false);

        Assert.Equal([0, .. plain], Trained.Encode("Hello", addSpecialTokens: true));
        Assert.Equal("Hello", Trained.Decode([0, .. plain, 1], skipSpecialTokens: true));
        Assert.Equal("<|begin_of_text|>Hello<|end_of_text|>", Trained.Decode([0, .. plain, 1], skipSpecialTokens: false));
    }

    [Fact]
    public void Special_tokens_written_in_the_text_are_recognised()
    {
        Assert.Equal([.. Trained.Encode("a", false), 1, .. Trained.Encode("b", false)], Trained.Encode("a<|end_of_text|>b", addSpecialTokens: false));
    }

    [Fact]
    public void A_saved_tokenizer_gives_the_same_ids_when_loaded()
    {
        using TemporaryFolder folder = new();
        Trained.Save(folder.Path);

        Tokenizer loaded = Tokenizer.Load(folder.Path);

        Assert.Equal(Trained.Encode(Mixed, true), loaded.Encode(Mixed, true));
        Assert.Equal((Trained.VocabSize, Trained.BosTokenId, Trained.EosTokenId), (loaded.VocabSize, loaded.BosTokenId, loaded.EosTokenId));
    }

    [Fact]
    public void Bytes_and_strings_encode_alike()
    {
        List<int> ids = [42];
        Trained.Encode(Encoding.UTF8.GetBytes(Mixed), ids);

        Assert.Equal([42, .. Trained.Encode(Mixed, addSpecialTokens: false)], ids);
    }

    [Fact]
    public void Bytes_that_are_not_utf8_are_refused_with_their_offset()
    {
        ConfigurationException error = Assert.Throws<ConfigurationException>(() => Trained.Encode([65, 0xFF], []));
        Assert.Contains("offset 1", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(100_000)]
    [InlineData(1_000_000)]
    public void A_run_of_one_letter_costs_little_more_than_its_length(int length)
    {
        Tokenizer tokenizer = BpeTrainerTests.Train([new string('a', 4096), new string('a', 4096)], 258 + 8);
        EncodeScratch scratch = new();
        List<int> ids = [];

        tokenizer.EncodeValid(Encoding.UTF8.GetBytes(new string('a', length)), ids, scratch);

        // A heap of n pairs: at most 2 n pushes and pops of log2 n steps each. Quadratic work would be n * n / 2.
        Assert.InRange(scratch.Merger.NumSteps, 0, 4L * length * (1 + Math.ILogB(length)));
        Assert.Equal(length, ids.Sum(id => tokenizer.TokenBytes(id).Length));
    }

    [Theory]
    [InlineData("\U0001F469\u200D\U0001F469\u200D\U0001F467 family")]
    [InlineData("人工智能 and 𐐀𐐨")]
    [InlineData("Zażółć gęślą")]
    public void Incremental_decoding_gives_whole_characters(string text)
    {
        IncrementalDecoder decoder = new(Trained);
        StringBuilder whole = new();
        foreach (int id in Trained.Encode(text, addSpecialTokens: true))
        {
            string part = decoder.Push(id);
            Assert.DoesNotContain('\uFFFD', part);
            Assert.True(part.Length == 0 || !char.IsHighSurrogate(part[^1]));
            whole.Append(part);
        }

        Assert.Equal("", decoder.Flush());
        Assert.Equal(text, whole.ToString());
    }

    [Fact]
    public void A_character_cut_off_is_flushed_as_a_replacement_character()
    {
        Tokenizer bytes = BpeTrainerTests.Train(["x"], 258);
        IncrementalDecoder decoder = new(bytes);
        int[] ids = bytes.Encode("é", addSpecialTokens: false);

        Assert.Equal("", decoder.Push(ids[0]));
        Assert.Equal("\uFFFD", decoder.Flush());
    }

    [Fact]
    public void Invalid_bytes_decode_as_the_framework_decodes_them()
    {
        Tokenizer bytes = BpeTrainerTests.Train(["x"], 258);
        Random random = new(1);
        for (int round = 0; round < 2000; round++)
        {
            byte[] content = new byte[random.Next(1, 9)];
            random.NextBytes(content);
            for (int index = 0; index < content.Length; index++)
            {
                content[index] |= (byte)(random.Next(3) == 0 ? 0 : 0x80);
            }

            int[] ids = [.. content.Select(value => value + 2)];
            Assert.Equal(Encoding.UTF8.GetString(content), bytes.Decode(ids, skipSpecialTokens: false));
        }
    }

    [Fact]
    public void Many_threads_encode_alike()
    {
        int[] expected = Trained.Encode(Mixed, addSpecialTokens: false);
        Parallel.For(0, 64, _ => Assert.Equal(expected, Trained.Encode(Mixed, addSpecialTokens: false)));
    }
}
