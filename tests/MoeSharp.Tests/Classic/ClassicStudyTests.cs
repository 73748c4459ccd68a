using MoeSharp.Classic.Arm;
using MoeSharp.Classic.Vowels;

namespace MoeSharp.Tests.Classic;

/// <summary>The demonstrations: their data, and that they show what they say.</summary>
public sealed class ClassicStudyTests
{
    [Fact]
    public void Generated_vowels_have_the_published_means_deviations_and_speakers()
    {
        VowelToken[] tokens = [.. Enumerable.Range(1, 200).SelectMany(seed => VowelTokens.Generate((ulong)seed))];
        Assert.Equal(200 * 75 * 4 * 2, tokens.Length);
        foreach (IGrouping<(SpeakerGroup Group, Vowel Vowel), VowelToken> same in tokens.GroupBy(token => (token.Group, token.Vowel)))
        {
            FormantStatistics expected = VowelStatistics.Of(same.Key.Group, same.Key.Vowel);
            (double mean1, double deviation1) = Moments(same.Select(token => token.F1));
            (double mean2, double deviation2) = Moments(same.Select(token => token.F2));
            Assert.Equal(expected.F1, mean1, 4 * expected.F1Deviation / Math.Sqrt(200 * 14)); // as many speakers as the smallest group has
            Assert.Equal(expected.F2, mean2, 4 * expected.F2Deviation / Math.Sqrt(200 * 14));
            Assert.Equal(1, deviation1 / expected.F1Deviation, 0.06);
            Assert.Equal(1, deviation2 / expected.F2Deviation, 0.06);
            double correlation = same.Average(token => (token.F1 - mean1) / deviation1 * ((token.F2 - mean2) / deviation2));
            Assert.Equal(expected.Correlation, correlation, 0.06);
        }
    }

    [Fact]
    public void Speakers_to_test_on_are_not_those_trained_on_and_every_seed_has_others()
    {
        IReadOnlyList<VowelToken> tokens = VowelTokens.Generate(3);
        Assert.Equal(tokens, VowelTokens.Generate(3));
        Assert.NotEqual(tokens, VowelTokens.Generate(4));
        Assert.Equal(25 * 8, tokens.Count(token => token.Speaker >= VowelTokens.NumTrainingSpeakers));
        Assert.All(tokens.GroupBy(token => token.Speaker), speaker => Assert.Single(speaker.Select(token => token.Group).Distinct()));
    }

    [Fact]
    public void Experts_divide_the_vowels_by_pairs_and_need_fewer_epochs_than_networks()
    {
        VowelStudyOptions options = new() { Seed = 1, Runs = 4 };
        VowelStudy study = VowelStudy.Run(options, TestContext.Current.CancellationToken);
        Assert.All(study.Systems, system => Assert.Equal(4, system.Epochs.Count));
        Assert.All(study.Systems, system => Assert.InRange(system.Test.Mean, 85, 96));
        Assert.Equal([24, 48, 25, 49], study.Systems.Select(system => system.Parameters));
        Assert.True(study.Systems[0].Epochs.Mean < study.Systems[2].Epochs.Mean);
        Assert.True(study.Systems[1].Epochs.Mean < study.Systems[3].Epochs.Mean);
        Assert.All(study.Systems.Take(2).SelectMany(system => system.Runs), run => Assert.InRange(run.ActiveExperts, 2, 4));

        VowelPartition four = study.FourExperts;
        for (int expert = 0; expert < 4; expert++)
        {
            Assert.Equal(four.Shares[expert, (int)Vowel.Heed], four.Shares[expert, (int)Vowel.Hid], 0.1);
            Assert.Equal(four.Shares[expert, (int)Vowel.Hod], four.Shares[expert, (int)Vowel.Hud], 0.1);
        }

        AssertWholePage(VowelPicture.Page(study));
    }

    [Fact]
    public void A_run_that_does_not_reach_the_criterion_is_said_to_have_failed()
    {
        VowelStudyOptions options = new() { Runs = 2, MaxEpochs = 30 };
        VowelStudy study = VowelStudy.Run(options, TestContext.Current.CancellationToken);
        Assert.All(study.Systems, system => Assert.Equal(0, system.Epochs.Count));
        string page = VowelPicture.Page(study);
        AssertWholePage(page);
        Assert.Equal(page, VowelPicture.Page(VowelStudy.Run(options, TestContext.Current.CancellationToken)));
        Assert.Throws<ConfigurationException>(() => VowelStudy.Run(new VowelStudyOptions { Runs = 0 }, TestContext.Current.CancellationToken));
    }

    [Fact]
    public void A_tree_learns_the_arm_better_than_a_line_and_in_few_passes()
    {
        ArmStudyOptions options = new() { Arm = new ArmOptions { Joints = 2, Gravity = 0 }, Runs = 2, TrainCases = 600, TestCases = 300, Branches = [2, 3], TreePasses = 15, OnlinePasses = 8, BatchPasses = 15, HiddenUnits = 10 };
        ArmStudy study = ArmStudy.Run(options, TestContext.Current.CancellationToken);
        double linear = study.Systems[0].Lowest.Mean;
        Assert.InRange(linear, 0.05, 0.6);
        Assert.True(study.Systems[1].Lowest.Mean < 0.6 * linear, $"{study.Systems[1].Lowest.Mean} against {linear}");
        Assert.True(study.Systems[2].Lowest.Mean < 0.6 * linear, $"{study.Systems[2].Lowest.Mean} against {linear}");
        Assert.Equal(15, study.Systems[1].Runs[0].Errors.Count);
        ArmPartition partition = ArmPartition.Of(study);
        Assert.Equal(1, partition.Territories.Sum(territory => territory.Share), 1e-9);
        Assert.Equal("angle 2", ArmPartition.NameOf(partition.Dividing.ToList().IndexOf(partition.Dividing.Max()), 2)); // inertia depends on it alone
        string page = ArmPicture.Page(study);
        Assert.Equal(page, ArmPicture.Page(ArmStudy.Run(options, TestContext.Current.CancellationToken)));
        AssertWholePage(page);
    }

    [Fact]
    public void Wrong_sizes_of_an_arm_are_named_all_at_once()
    {
        string message = Assert.Throws<ConfigurationException>(() => new ArmStudyOptions { Runs = 0, TestCases = 1, Branches = [2000] }.Validate()).Message;
        Assert.Contains("runs 0", message, StringComparison.Ordinal);
        Assert.Contains("test cases 1", message, StringComparison.Ordinal);
        Assert.Contains("experts 2000", message, StringComparison.Ordinal);
    }

    private static (double Mean, double Deviation) Moments(IEnumerable<double> values)
    {
        double[] all = [.. values];
        double mean = all.Average();
        return (mean, Math.Sqrt(all.Average(value => (value - mean) * (value - mean))));
    }

    private static void AssertWholePage(string page)
    {
        Assert.StartsWith("<!DOCTYPE html>", page, StringComparison.Ordinal);
        Assert.EndsWith("</html>\n", page, StringComparison.Ordinal);
        Assert.DoesNotContain("NaN\"", page, StringComparison.Ordinal);
        Assert.DoesNotContain("src=", page, StringComparison.Ordinal);
        Assert.Contains("prefers-color-scheme:dark", page, StringComparison.Ordinal);
    }
}
