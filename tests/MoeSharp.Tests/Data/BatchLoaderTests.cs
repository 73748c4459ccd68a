using MoeSharp.Data;
using MoeSharp.Execution;
using MoeSharp.Kernels;

namespace MoeSharp.Tests.Data;

public sealed class BatchLoaderTests : IDisposable
{
    private const int Boundary = 256;

    private readonly TemporaryFolder _folder = new();
    private readonly TokenDataset _dataset;

    public BatchLoaderTests()
    {
        List<Document> documents = [.. SyntheticCorpus.Generate(11, 30_000), new Document(new string('z', 5_000), "", "")];
        _dataset = ShardBuilder.OpenOrBuild(new DocumentList(documents, "test"), new ByteEncoder(), _folder.Root, new DatasetOptions { ValidationFraction = 0.2 });
    }

    public void Dispose()
    {
        _dataset.Dispose();
        _folder.Dispose();
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(16, 3)]
    [InlineData(128, 2)]
    [InlineData(1000, 1)]
    public void Segments_targets_and_positions_keep_within_documents(int length, int sequences)
    {
        BatchLoader loader = new(_dataset, length, sequences, seed: 3);
        TokenBatch batch = new();
        for (int i = 0; i < 10; i++)
        {
            loader.Next(batch);
            Assert.Equal((length * sequences, length), (batch.Count, batch.SequenceLength));
            RequireWholeSegments(batch);
            Assert.Equal(batch.Count, batch.CountTargets());
            foreach (AttentionSegment segment in batch.Segments)
            {
                for (int row = 0; row < segment.QueryCount; row++)
                {
                    int at = segment.QueryBegin + row;
                    bool isLast = row == segment.QueryCount - 1;
                    Assert.True(isLast || batch.Targets[at] == batch.TokenIds[at + 1]);
                    Assert.True(row == 0 || batch.TokenIds[at] != Boundary, "a document begins within a segment");
                    Assert.True(isLast || batch.Targets[at] != Boundary, "a document ends within a segment");
                }
            }
        }
    }

    [Theory]
    [InlineData(16, 3)]
    [InlineData(100, 1)]
    public void One_epoch_hands_out_every_pair_of_token_and_target_once(int length, int sequences)
    {
        BatchLoader loader = new(_dataset, length, sequences, seed: 3);
        Dictionary<(int, int), int> pairs = PairsOf(_dataset.Train);
        TokenBatch batch = new();
        long left = loader.RowsPerEpoch;
        while (left > 0)
        {
            loader.Next(batch);
            for (int row = 0; row < batch.Count && left > 0; row++, left--)
            {
                (int, int) pair = (batch.TokenIds[row], batch.Targets[row]);
                pairs[pair] = pairs.GetValueOrDefault(pair) - 1;
            }
        }

        Assert.All(pairs, pair => Assert.Equal(0, pair.Value));
        Assert.Equal(1, loader.Position.Epoch);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(40)]
    [InlineData(700)]
    public void A_loader_set_to_a_position_continues_exactly_like_the_one_that_came_there(int steps)
    {
        BatchLoader first = new(_dataset, 32, 2, seed: 9);
        TokenBatch expected = new();
        for (int i = 0; i < steps; i++)
        {
            first.Next(expected);
        }

        BatchLoader second = new(_dataset, 32, 2, seed: 9) { Position = first.Position };
        TokenBatch actual = new();
        for (int i = 0; i < 600; i++)
        {
            first.Next(expected);
            second.Next(actual);
            RequireEqual(expected, actual);
            Assert.Equal(first.Position, second.Position);
        }

        Assert.True(first.Position.Epoch > 0, "the test must cross an epoch");
    }

    [Fact]
    public void Order_depends_on_seed_and_epoch_only()
    {
        TokenBatch one = new();
        TokenBatch two = new();
        new BatchLoader(_dataset, 64, 2, seed: 1).Next(one);
        new BatchLoader(_dataset, 64, 2, seed: 1).Next(two);
        RequireEqual(one, two);
        new BatchLoader(_dataset, 64, 2, seed: 2).Next(two);
        Assert.False(one.TokenIds.SequenceEqual(two.TokenIds));
        new BatchLoader(_dataset, 64, 2, seed: 1) { Position = new LoaderPosition(1, 0) }.Next(two);
        Assert.False(one.TokenIds.SequenceEqual(two.TokenIds));
    }

    [Fact]
    public void A_steady_loader_allocates_nothing()
    {
        BatchLoader loader = new(_dataset, 64, 4, seed: 1);
        TokenBatch batch = new();
        long warm = 3 * loader.RowsPerEpoch / loader.RowsPerBatch;
        for (long i = 0; i < warm; i++)
        {
            loader.Next(batch);
        }

        long before = GC.GetAllocatedBytesForCurrentThread();
        for (long i = 0; i < warm; i++)
        {
            loader.Next(batch);
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Theory]
    [InlineData(-1, 0)]
    [InlineData(0, -1)]
    [InlineData(0, long.MaxValue)]
    public void A_position_of_other_data_is_refused(long epoch, long row)
    {
        BatchLoader loader = new(_dataset, 8, 1, seed: 1);
        Assert.Contains("other data", Assert.Throws<ConfigurationException>(() => loader.Position = new LoaderPosition(epoch, row)).Message);
    }

    [Fact]
    public void Empty_batches_are_refused() => Assert.Throws<ConfigurationException>(() => new BatchLoader(_dataset, 0, 1, seed: 1));

    [Theory]
    [InlineData(16, 3)]
    [InlineData(4096, 1)]
    [InlineData(100_000, 1)]
    public void Evaluation_visits_every_target_once_in_order_and_repeats_exactly(int length, int sequences)
    {
        SequentialBatches batches = new(_dataset.Validation, length, sequences);
        List<int> first = [.. TargetsOf(batches)];
        int[] tokens = new int[_dataset.Validation.NumTokens];
        new TokenReader(_dataset.Validation).Read(0, tokens);
        List<int> expected = [];
        for (int i = 1; i < tokens.Length; i++)
        {
            bool begins = tokens[i] == Boundary && tokens[i - 1] == Boundary;
            if (!begins)
            {
                expected.Add(tokens[i]);
            }
        }

        Assert.Equal(expected, first);
        Assert.Equal(_dataset.Validation.NumTargets, first.Count);
        Assert.Equal(_dataset.Validation.NumBytes, batches.NumBytes);
        batches.Reset();
        Assert.Equal(first, TargetsOf(batches));
    }

    [Fact]
    public void A_limited_evaluation_takes_whole_passages_from_all_over_and_knows_their_bytes()
    {
        SequentialBatches all = new(_dataset.Validation, 64, 2);
        SequentialBatches some = new(_dataset.Validation, 64, 2, maximumTargets: all.NumTargets / 3);
        int bytes = TargetsOf(some).Count(token => token != Boundary);
        Assert.Equal(some.NumBytes, bytes);
        Assert.InRange(some.NumTargets, all.NumTargets / 5, all.NumTargets / 3);
        Assert.True(new SequentialBatches(_dataset.Validation, 64, 2, maximumTargets: 1).NumTargets > 0);
    }

    private static List<int> TargetsOf(SequentialBatches batches)
    {
        List<int> targets = [];
        TokenBatch batch = new();
        long count = 0;
        while (batches.Next(batch))
        {
            RequireWholeSegments(batch);
            foreach (int target in batch.Targets)
            {
                if (target >= 0)
                {
                    targets.Add(target);
                }
            }

            count++;
        }

        Assert.Equal(batches.NumBatches, count);
        return targets;
    }

    private static void RequireWholeSegments(TokenBatch batch)
    {
        int at = 0;
        foreach (AttentionSegment segment in batch.Segments)
        {
            Assert.Equal(new AttentionSegment(at, segment.QueryCount, at, segment.QueryCount), segment);
            Assert.True(segment.QueryCount > 0);
            Assert.Equal(at / batch.SequenceLength, (at + segment.QueryCount - 1) / batch.SequenceLength);
            for (int row = 0; row < segment.QueryCount; row++)
            {
                Assert.Equal(row, batch.Positions[at + row]);
            }

            at += segment.QueryCount;
        }

        Assert.Equal(batch.Count, at);
    }

    private static void RequireEqual(TokenBatch expected, TokenBatch actual)
    {
        Assert.True(expected.TokenIds.SequenceEqual(actual.TokenIds));
        Assert.True(expected.Targets.SequenceEqual(actual.Targets));
        Assert.True(expected.Positions.SequenceEqual(actual.Positions));
        Assert.True(expected.Segments.SequenceEqual(actual.Segments));
    }

    private static Dictionary<(int Token, int Target), int> PairsOf(TokenSplit split)
    {
        int[] tokens = new int[split.NumTokens];
        new TokenReader(split).Read(0, tokens);
        Dictionary<(int, int), int> pairs = [];
        for (int i = 0; i + 1 < tokens.Length; i++)
        {
            bool crosses = tokens[i] == Boundary && tokens[i + 1] == Boundary;
            if (!crosses)
            {
                pairs[(tokens[i], tokens[i + 1])] = pairs.GetValueOrDefault((tokens[i], tokens[i + 1])) + 1;
            }
        }

        return pairs;
    }
}
