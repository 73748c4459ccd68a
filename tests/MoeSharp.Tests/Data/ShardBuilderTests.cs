using System.Buffers.Binary;
using System.Text;
using System.Text.Json.Nodes;
using MoeSharp.Data;

namespace MoeSharp.Tests.Data;

public sealed class ShardBuilderTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    private string Cache => Path.Combine(_folder.Root, "cache");

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Tokens_of_both_splits_spell_every_document_once()
    {
        IReadOnlyList<Document> documents = SyntheticCorpus.Generate(5, 60_000);
        using TokenDataset dataset = Build(new DocumentList(documents, "test"));
        List<string> spelled = [.. Spell(dataset.Train), .. Spell(dataset.Validation)];
        Assert.Equal(documents.Select(document => document.Text).Order(StringComparer.Ordinal), spelled.Order(StringComparer.Ordinal));
        Assert.Equal(documents.Sum(document => (long)Encoding.UTF8.GetByteCount(document.Text)), dataset.Train.NumBytes + dataset.Validation.NumBytes);
        Assert.Equal(documents.Count, dataset.Train.NumDocuments + dataset.Validation.NumDocuments);
        Assert.Equal(dataset.Train.NumBytes + (2 * dataset.Train.NumDocuments), dataset.Train.NumTokens);
        Assert.Equal(["", .. SyntheticCorpus.Domains], dataset.Domains);
        Assert.InRange((double)dataset.Validation.NumBytes / 60_000, 0.03, 0.051);
        Assert.Empty(Spell(dataset.Train).Intersect(Spell(dataset.Validation)));
    }

    [Fact]
    public void The_split_follows_content_not_order_and_the_seed_chooses_another()
    {
        Document[] documents = [.. SyntheticCorpus.Generate(5, 60_000)];
        using TokenDataset first = Build(new DocumentList(documents, "test"));
        List<string> expected = Spell(first.Validation);
        Array.Reverse(documents);
        using TokenDataset second = Build(new DocumentList(documents, "test"));
        Assert.Equal(expected.Order(StringComparer.Ordinal), Spell(second.Validation).Order(StringComparer.Ordinal));
        using TokenDataset third = ShardBuilder.OpenOrBuild(new DocumentList(documents, "test"), new ByteEncoder(), Cache, new DatasetOptions { SplitSeed = 1 });
        Assert.NotEqual(expected.Order(StringComparer.Ordinal), Spell(third.Validation).Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    public void Each_side_gets_at_least_one_document(int count)
    {
        for (int i = 0; i < count; i++)
        {
            _folder.Write($"in/{i}.txt", $"document number {i}");
        }

        using TokenDataset dataset = Build(TextSources.Expand([Path.Combine(_folder.Root, "in")]));
        Assert.Equal((count - 1, 1), (dataset.Train.NumDocuments, dataset.Validation.NumDocuments));
        Assert.Contains(dataset.Warnings, warning => warning.Contains("differ much in size"));
    }

    [Theory]
    [InlineData(1_000)]
    [InlineData(200_000)]
    public void A_single_document_is_split_by_position_at_a_line_end_with_a_warning(int size)
    {
        string text = string.Concat(Enumerable.Range(0, size / 10).Select(i => $"line {i:D4}\n"));
        _folder.Write("in/book.txt", text);
        using TokenDataset dataset = Build(TextSources.Expand([Path.Combine(_folder.Root, "in")]));
        Assert.Contains(dataset.Warnings, warning => warning.Contains("single document"));
        string train = string.Concat(Spell(dataset.Train));
        string validation = string.Concat(Spell(dataset.Validation));
        Assert.Equal(text, train + validation);
        Assert.EndsWith("\n", train);
        Assert.InRange((double)validation.Length / text.Length, 0.04, 0.07);
    }

    [Fact]
    public void Equal_documents_land_on_the_same_side()
    {
        Document[] documents = [.. Enumerable.Range(0, 300).Select(i => new Document($"document of group {i % 60}", "", ""))];
        using TokenDataset dataset = ShardBuilder.OpenOrBuild(new DocumentList(documents, "test"), new ByteEncoder(), Cache, new DatasetOptions { ValidationFraction = 0.3 });
        Assert.Empty(Spell(dataset.Train).Intersect(Spell(dataset.Validation)));
        Assert.Equal(5 * 18, dataset.Validation.NumDocuments, 10.0);
        using TokenDataset equal = Build(new DocumentList([.. Enumerable.Repeat(documents[0], 3)], "equal"));
        Assert.Equal((2, 1), (equal.Train.NumDocuments, equal.Validation.NumDocuments));
    }

    [Fact]
    public void A_large_document_is_not_taken_for_validation_while_smaller_ones_are_there()
    {
        Document[] documents = [new Document(new string('x', 10_000), "", ""), .. Enumerable.Range(0, 100).Select(i => new Document($"short {i:D4}", "", ""))];
        using TokenDataset dataset = Build(new DocumentList(documents, "test"));
        Assert.InRange(dataset.Validation.NumBytes, 540, 550);
    }

    [Fact]
    public void A_single_document_without_lines_is_split_all_the_same()
    {
        _folder.Write("in/one.txt", new string('x', 100));
        using TokenDataset dataset = Build(TextSources.Expand([Path.Combine(_folder.Root, "in")]));
        Assert.Equal(100, dataset.Train.NumBytes + dataset.Validation.NumBytes);
        Assert.True(dataset.Validation.NumBytes > 0);
    }

    [Fact]
    public void No_text_at_all_is_an_error()
    {
        _folder.Write("in/a.txt", "");
        ConfigurationException error = Assert.Throws<ConfigurationException>(() => Build(TextSources.Expand([Path.Combine(_folder.Root, "in")])));
        Assert.Contains("no text", error.Message);
        Assert.Contains("a.txt", error.Message);
    }

    [Fact]
    public void Wide_vocabularies_take_four_bytes_per_token()
    {
        IReadOnlyList<Document> documents = [new Document("abc", "", ""), new Document("defg", "", "")];
        using TokenDataset dataset = ShardBuilder.OpenOrBuild(new DocumentList(documents, "wide"), new ShiftedEncoder(100_000), Cache, new DatasetOptions());
        int[] tokens = new int[3];
        TokenSplit split = dataset.Train.NumTokens == 3 ? dataset.Train : dataset.Validation;
        new TokenReader(split).Read(0, tokens);
        Assert.Equal([100_000 + 'a', 100_000 + 'b', 100_000 + 'c'], tokens);
        Assert.Equal(2, split.NumTargets);
    }

    [Fact]
    public void A_dataset_is_reused_while_nothing_changes()
    {
        string path = _folder.Write("in/a.txt", "first document\n");
        _folder.Write("in/b.txt", "second document\n");
        Assert.True(BuildCounting() > 0);
        Assert.Equal(0, BuildCounting());
        File.SetLastWriteTimeUtc(path, DateTime.UtcNow.AddHours(-1));
        Assert.Equal(0, BuildCounting()); // another time, the same content
    }

    [Fact]
    public void A_dataset_is_rebuilt_when_anything_changes()
    {
        string path = _folder.Write("in/a.txt", "first document\n");
        _folder.Write("in/b.txt", "second document\n");
        Assert.True(BuildCounting() > 0);
        File.WriteAllText(path, "FIRST document\n"); // same length, and perhaps the same clock tick
        Assert.True(BuildCounting() > 0);
        Assert.Equal(0, BuildCounting());
        _folder.Write("in/c.txt", "third");
        Assert.True(BuildCounting() > 0);
        Assert.True(BuildCounting(new DatasetOptions { SplitSeed = 9 }) > 0);
        Assert.True(BuildCounting(new DatasetOptions { SplitSeed = 9 }, new ShiftedEncoder(0)) > 0);
        Assert.Equal(2, Directory.GetFiles(Cache, "*.tokens").Length);
        Assert.Empty(Directory.GetFiles(Cache, "*.tmp"));
    }

    [Theory]
    [InlineData("flip")]
    [InlineData("truncate")]
    [InlineData("delete")]
    [InlineData("manifest")]
    public void A_damaged_dataset_is_named_when_opened_and_rebuilt_from_its_source(string damage)
    {
        _folder.Write("in/a.txt", "first document\n");
        _folder.Write("in/b.txt", "second document\n");
        Assert.True(BuildCounting() > 0);
        string shard = Directory.GetFiles(Cache, "train-*.tokens").Single();
        string manifest = Path.Combine(Cache, "dataset.json");
        byte[] bytes = File.ReadAllBytes(shard);
        switch (damage)
        {
            case "flip":
                bytes[70] ^= 1;
                File.WriteAllBytes(shard, bytes);
                break;
            case "truncate":
                File.WriteAllBytes(shard, bytes[..^1]);
                break;
            case "delete":
                File.Delete(shard);
                break;
            default:
                File.WriteAllText(manifest, File.ReadAllText(manifest)[..100]);
                break;
        }

        FileFormatException error = Assert.Throws<FileFormatException>(() => TokenDataset.Open(Cache));
        Assert.Contains(damage == "manifest" ? manifest : shard, error.Message);
        Assert.True(BuildCounting() > 0);
        TokenDataset.Open(Cache).Dispose();
    }

    [Theory]
    [InlineData(8, 3L)]
    [InlineData(12, 0L)]
    [InlineData(16, long.MaxValue)]
    [InlineData(16, -1L)]
    [InlineData(24, long.MaxValue)]
    [InlineData(24, 0L)]
    [InlineData(-24, 5L)]
    [InlineData(-16, -1L)]
    [InlineData(-8, 99L)]
    [InlineData(0, 0L)]
    public void A_hostile_shard_is_refused_even_when_its_hash_is_right(int offset, long value)
    {
        _folder.Write("in/a.txt", "first document\n");
        _folder.Write("in/b.txt", "second document\n");
        Assert.True(BuildCounting() > 0);
        string shard = Directory.GetFiles(Cache, "train-*.tokens").Single();
        byte[] bytes = File.ReadAllBytes(shard);
        Span<byte> place = bytes.AsSpan(offset >= 0 ? offset : bytes.Length + offset);
        if (offset is 8 or 12 or -8)
        {
            BinaryPrimitives.WriteInt32LittleEndian(place, (int)value);
        }
        else
        {
            BinaryPrimitives.WriteInt64LittleEndian(place, value);
        }

        Reseal(shard, bytes);
        Assert.Contains(shard, Assert.Throws<FileFormatException>(() => TokenDataset.Open(Cache)).Message);
    }

    [Fact]
    public void A_token_outside_the_vocabulary_is_refused_on_reading()
    {
        _folder.Write("in/a.txt", "first document\n");
        _folder.Write("in/b.txt", "second document\n");
        Assert.True(BuildCounting() > 0);
        string shard = Directory.GetFiles(Cache, "train-*.tokens").Single();
        byte[] bytes = File.ReadAllBytes(shard);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(66), 999);
        Reseal(shard, bytes);
        using TokenDataset dataset = TokenDataset.Open(Cache);
        Assert.Contains("999", Assert.Throws<FileFormatException>(() => new TokenReader(dataset.Train).Read(0, new int[3])).Message);
        Assert.Throws<ArgumentOutOfRangeException>(() => new TokenReader(dataset.Train).Read(dataset.Train.NumTokens - 1, new int[2]));
    }

    [Theory]
    [InlineData("../train.tokens")]
    [InlineData("/etc/passwd")]
    [InlineData("")]
    public void A_manifest_that_points_elsewhere_is_refused(string name)
    {
        _folder.Write("in/a.txt", "first document\n");
        _folder.Write("in/b.txt", "second document\n");
        Assert.True(BuildCounting() > 0);
        string path = Path.Combine(Cache, "dataset.json");
        JsonNode manifest = JsonNode.Parse(File.ReadAllText(path))!;
        manifest["train"]!["name"] = name;
        File.WriteAllText(path, manifest.ToJsonString());
        Assert.Throws<FileFormatException>(() => TokenDataset.Open(Cache));
    }

    [Fact]
    public void A_build_that_is_stopped_leaves_the_old_dataset()
    {
        _folder.Write("in/a.txt", "first document\n");
        string second = _folder.Write("in/b.txt", "second document\n");
        Assert.True(BuildCounting() > 0);
        File.WriteAllText(second, "something else");
        using CancellationTokenSource stop = new();
        Assert.Throws<OperationCanceledException>(() => ShardBuilder.OpenOrBuild(
            TextSources.Expand([Path.Combine(_folder.Root, "in")]), new ByteEncoder(), Cache, new DatasetOptions(), progress => stop.Cancel(), stop.Token));
        using TokenDataset old = TokenDataset.Open(Cache);
        Assert.Contains("second document\n", Spell(old.Train).Concat(Spell(old.Validation)));
        Assert.Empty(Directory.GetFiles(Cache, "*.tmp"));
    }

    [Fact]
    public void A_tokenizer_whose_ids_exceed_its_vocabulary_is_refused() =>
        Assert.Contains("vocabulary", Assert.Throws<ConfigurationException>(() => ShardBuilder.OpenOrBuild(
            new DocumentList([new Document("abc", "", ""), new Document("def", "", "")], "x"), new ShiftedEncoder(70_000, vocabSize: 100), Cache, new DatasetOptions())).Message);

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(double.NaN)]
    public void A_validation_fraction_outside_its_range_is_refused(double fraction) =>
        Assert.Contains("validation fraction", Assert.Throws<ConfigurationException>(() => ShardBuilder.OpenOrBuild(
            new DocumentList([], "x"), new ByteEncoder(), Cache, new DatasetOptions { ValidationFraction = fraction })).Message);

    private static List<string> Spell(TokenSplit split)
    {
        int[] tokens = new int[split.NumTokens];
        new TokenReader(split).Read(0, tokens);
        List<string> documents = [];
        List<byte> bytes = [];
        for (int i = 0; i < tokens.Length; i++)
        {
            if (tokens[i] < 256)
            {
                bytes.Add((byte)tokens[i]);
            }
            else if (bytes.Count > 0)
            {
                documents.Add(Encoding.UTF8.GetString([.. bytes]));
                bytes.Clear();
            }
        }

        if (bytes.Count > 0)
        {
            documents.Add(Encoding.UTF8.GetString([.. bytes]));
        }

        return documents;
    }

    private static void Reseal(string shard, byte[] bytes)
    {
        File.WriteAllBytes(shard, bytes);
        string path = Path.Combine(Path.GetDirectoryName(shard)!, "dataset.json");
        JsonNode manifest = JsonNode.Parse(File.ReadAllText(path))!;
        manifest["train"]!["sha256"] = Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(bytes));
        File.WriteAllText(path, manifest.ToJsonString());
    }

    private TokenDataset Build(IDocumentSource source) => ShardBuilder.OpenOrBuild(source, new ByteEncoder(), Cache, new DatasetOptions());

    /// <summary>Opens or builds from the folder "in"; the number of progress reports is zero exactly when nothing was built.</summary>
    private int BuildCounting(DatasetOptions? options = null, ITextEncoder? encoder = null)
    {
        int reports = 0;
        TextSources sources = TextSources.Expand([Path.Combine(_folder.Root, "in")]);
        ShardBuilder.OpenOrBuild(sources, encoder ?? new ByteEncoder(), Cache, options ?? new DatasetOptions(), _ => reports++, CancellationToken.None).Dispose();
        return reports;
    }

    /// <summary>Bytes plus an offset, without begin and end.</summary>
    private sealed class ShiftedEncoder(int offset, int vocabSize = 200_000) : ITextEncoder
    {
        public int VocabSize => vocabSize;

        public int? BeginToken => null;

        public int? EndToken => null;

        public string Fingerprint => $"shifted {offset}";

        public void Encode(ReadOnlySpan<byte> utf8, List<int> ids)
        {
            foreach (byte value in utf8)
            {
                ids.Add(offset + value);
            }
        }
    }
}
