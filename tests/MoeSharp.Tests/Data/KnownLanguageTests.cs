using MoeSharp.Data;
using MoeSharp.Data.Synthetic;
using MoeSharp.Execution;
using MoeSharp.Kernels;

namespace MoeSharp.Tests.Data;

public sealed class KnownLanguageTests
{
    private static readonly PairSettings s_pair = new() { Factors = 2, Values = 3, Symbols = 5, LineSymbols = 4 };

    public static TheoryData<KnownLanguage, int, int, int> Forms() => new()
    {
        { new PairLanguage(new PairSettings()), 112, 20, 11 }, // 32 symbols and 8 tags of 10 values; 8 tags and 12 symbols
        { new SharedKeyLanguage(new SharedKeySettings()), 80, 64, 60 },
        { new DialectLanguage(new DialectSettings()), 138, 41, 39 },
    };

    [Theory]
    [MemberData(nameof(Forms))]
    public void A_line_is_tags_and_then_symbols(KnownLanguage language, int vocabSize, int lineTokens, int targets)
    {
        int[] line = new int[language.LineTokens];
        SplitMix64 random = new(3);
        language.Draw(ref random, line);

        Assert.Equal((vocabSize, lineTokens, targets), (language.VocabSize, language.LineTokens, language.TargetsPerLine));
        Assert.All(line.Take(language.FirstTarget - 1), id => Assert.InRange(id, language.NumSymbols, language.VocabSize - 1));
        Assert.All(line.Skip(language.FirstTarget - 1), id => Assert.InRange(id, 0, language.NumSymbols - 1));
    }

    [Theory]
    [MemberData(nameof(Forms))]
    public void True_distributions_sum_to_one(KnownLanguage language, int vocabSize, int lineTokens, int targets)
    {
        _ = (vocabSize, lineTokens);
        int[] line = new int[language.LineTokens];
        SplitMix64 random = new(4);
        language.Draw(ref random, line);
        double[] truth = new double[targets * language.NumSymbols];
        language.Truth(line, truth);

        foreach (double[] row in truth.Chunk(language.NumSymbols))
        {
            Assert.Equal(1, row.Sum(), 12);
            Assert.All(row, probability => Assert.InRange(probability, 0, 1));
        }
    }

    [Fact]
    public void Symbols_are_drawn_as_often_as_the_truth_says()
    {
        PairLanguage language = new(s_pair with { Factors = 1, Values = 2 });
        Dictionary<string, (double[] Expected, double[] Seen)> contexts = [];
        int[] line = new int[language.LineTokens];
        double[] truth = new double[language.TargetsPerLine * language.NumSymbols];
        for (ulong index = 0; index < 20_000; index++)
        {
            SplitMix64 random = new(5, index);
            language.Draw(ref random, line);
            language.Truth(line, truth);
            for (int target = 0; target < language.TargetsPerLine; target++)
            {
                string context = $"{line[0]} {line[1]} {line[language.FirstTarget + target - 1]}";
                if (!contexts.TryGetValue(context, out (double[] Expected, double[] Seen) counts))
                {
                    contexts[context] = counts = (new double[language.NumSymbols], new double[language.NumSymbols]);
                }

                counts.Seen[line[language.FirstTarget + target]]++;
                for (int symbol = 0; symbol < language.NumSymbols; symbol++)
                {
                    counts.Expected[symbol] += truth[(target * language.NumSymbols) + symbol];
                }
            }
        }

        Assert.Equal(20, contexts.Count); // 4 pairs of values and 5 symbols
        double chiSquare = contexts.Values.Sum(one => one.Expected.Zip(one.Seen, (expected, seen) => (seen - expected) * (seen - expected) / expected).Sum());
        Assert.InRange(chiSquare, 40, 130); // 80 degrees of freedom: mean 80, standard deviation 12.6
    }

    [Fact]
    public void Factors_of_a_pair_line_add_up_and_the_tags_within_one_do_not()
    {
        PairLanguage language = new(s_pair);
        double across = Interaction(language, 0, 2); // a tag of the first factor, a tag of the second
        double within = Interaction(language, 0, 1); // both tags of the first factor

        Assert.Equal(0, across, 10);
        Assert.True(Math.Abs(within) > 0.1, $"within one factor the interaction is {within}");
    }

    [Fact]
    public void In_a_dialect_two_symbols_may_follow()
    {
        DialectLanguage language = new(new DialectSettings { Dialects = 2, Symbols = 7, LineSymbols = 3 });
        double[] truth = new double[language.TargetsPerLine * 7];
        language.Truth([7, 0, 1, 2], truth);

        Assert.Equal([0.15, 0.85], truth.Take(7).Where(probability => probability > 0).Order().Select(probability => Math.Round(probability, 9)));
    }

    [Fact]
    public void Only_symbols_that_can_be_predicted_are_targets()
    {
        PairLanguage language = new(s_pair);
        LineBatches batches = new(language, 3, seed: 1);
        TokenBatch batch = new();
        batches.Next(batch);

        Assert.Equal(3 * 7, batch.Count); // 4 tags and 4 symbols, the last one only a target
        Assert.Equal((3 * 3, 3 * 3), (batch.CountTargets(), batches.TargetsPerBatch));
        for (int row = 0; row < batch.Count; row++)
        {
            int place = row % 7;
            Assert.Equal(place < 4 ? -1 : place < 6 ? batch.TokenIds[row + 1] : batch.Targets[row], batch.Targets[row]);
            Assert.Equal(place, batch.Positions[row]);
        }
    }

    [Fact]
    public void A_stream_continues_where_it_stood()
    {
        PairLanguage language = new(s_pair);
        LineBatches first = new(language, 3, seed: 9);
        TokenBatch batch = new();
        first.Next(batch);
        LineBatches second = new(language, 3, seed: 9) { Position = first.Position };
        TokenBatch other = new();
        first.Next(batch);
        second.Next(other);

        Assert.Equal(batch.TokenIds.ToArray(), other.TokenIds.ToArray());
        Assert.Throws<ConfigurationException>(() => second.Position = new LoaderPosition(0, 1));
        Assert.Throws<ConfigurationException>(() => second.Position = new LoaderPosition(1, 0));
    }

    [Fact]
    public void Settings_out_of_range_are_refused()
    {
        Assert.Contains("factors 0", Assert.Throws<ConfigurationException>(() => new PairLanguage(s_pair with { Factors = 0 })).Message);
        Assert.Contains("scale of 9", Assert.Throws<ConfigurationException>(() => new PairLanguage(s_pair with { FactorScale = 9 })).Message);
        Assert.Contains("tables have", Assert.Throws<ConfigurationException>(() => new PairLanguage(s_pair with { Values = 4000 })).Message);
        Assert.Contains("likelier_share", Assert.Throws<ConfigurationException>(() => new DialectLanguage(new DialectSettings { LikelierShare = 1 })).Message);
        Assert.Contains("empty", Assert.Throws<ConfigurationException>(() => new LineBatches(new PairLanguage(s_pair), 0, 1)).Message);
    }

    // Second difference of the log odds of the first two symbols, over values 0 and 1 of two tags.
    private static double Interaction(PairLanguage language, int firstTag, int secondTag)
    {
        double LogOdds(int first, int second)
        {
            int[] line = new int[language.LineTokens];
            for (int tag = 0; tag < 4; tag++)
            {
                int value = tag == firstTag ? first : tag == secondTag ? second : 0;
                line[tag] = language.NumSymbols + (tag * 3) + value;
            }

            double[] truth = new double[language.TargetsPerLine * language.NumSymbols];
            language.Truth(line, truth);
            return Math.Log(truth[0] / truth[1]);
        }

        return LogOdds(0, 0) - LogOdds(0, 1) - LogOdds(1, 0) + LogOdds(1, 1);
    }
}
