using System.Text;
using MoeSharp.Data;
using MoeSharp.Tokenization;

namespace MoeSharp.Tests.Data;

public sealed class TokenizerEncoderTests : IDisposable
{
    private static readonly IReadOnlyList<Document> Documents = SyntheticCorpus.Generate(2, 100_000);
    private static readonly Tokenizer Tokenizer = Train(600);

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Shards_decode_to_the_documents_between_begin_and_end()
    {
        using TokenDataset dataset = ShardBuilder.OpenOrBuild(new DocumentList(Documents, "test"), new TokenizerEncoder(Tokenizer), _folder.Root, new DatasetOptions());
        int[] tokens = new int[dataset.Train.NumTokens];
        new TokenReader(dataset.Train).Read(0, tokens);
        List<string> decoded = [];
        int begin = 0;
        for (int end = Array.IndexOf(tokens, Tokenizer.EosTokenId!.Value); end >= 0; end = Array.IndexOf(tokens, Tokenizer.EosTokenId.Value, begin))
        {
            Assert.Equal(Tokenizer.BosTokenId, tokens[begin]);
            decoded.Add(Tokenizer.Decode(tokens.AsSpan(begin + 1, end - begin - 1), skipSpecialTokens: false));
            begin = end + 1;
        }

        Assert.Equal(dataset.Train.NumDocuments, decoded.Count);
        Assert.All(decoded, text => Assert.Contains(Documents, document => document.Text == text));
        Assert.True(dataset.Train.NumTokens < 2 * dataset.Train.NumBytes / 3, "a vocabulary of 600 shortens the text");
    }

    [Fact]
    public void Another_tokenizer_means_other_shards()
    {
        Assert.NotEqual(new TokenizerEncoder(Tokenizer).Fingerprint, new TokenizerEncoder(Train(601)).Fingerprint);
        Assert.Equal(new TokenizerEncoder(Tokenizer).Fingerprint, new TokenizerEncoder(Train(600)).Fingerprint);
    }

    private static Tokenizer Train(int vocabSize) =>
        BpeTrainer.Train(Documents.Select(document => (ReadOnlyMemory<byte>)Encoding.UTF8.GetBytes(document.Text)), new BpeTrainerOptions { VocabSize = vocabSize });
}
