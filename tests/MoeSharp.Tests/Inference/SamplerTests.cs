using FsCheck;
using FsCheck.Fluent;
using MoeSharp.Inference;
using MoeSharp.Kernels;

namespace MoeSharp.Tests.Inference;

public sealed class SamplerTests
{
    private static readonly float[] s_logits = [0f, 3f, 1f, 2f, -1f]; // by falling probability: 1, 3, 2, 0, 4

    [Fact]
    public void Temperature_zero_takes_the_largest_logit_and_the_lowest_id_among_equals()
    {
        Assert.Equal(1, Sampler(new SamplingOptions { Temperature = 0 }, 4).Sample([1f, 5f, 5f, 2f]));
    }

    [Fact]
    public void Draws_follow_the_softmax_of_logits_over_temperature()
    {
        float[] logits = [0f, MathF.Log(2f), MathF.Log(5f)];
        int[] counts = Counts(new SamplingOptions { Temperature = 0.5f }, logits, 60_000);

        // Squared by the temperature: 1 : 4 : 25 of 30. Tolerance: 5 standard deviations of a binomial share.
        AssertShare(1 / 30.0, counts[0], 60_000);
        AssertShare(4 / 30.0, counts[1], 60_000);
        AssertShare(25 / 30.0, counts[2], 60_000);
    }

    [Theory]
    [InlineData(1, new[] { 1 })]
    [InlineData(2, new[] { 1, 3 })]
    [InlineData(4, new[] { 0, 1, 2, 3 })]
    [InlineData(9, new[] { 0, 1, 2, 3, 4 })]
    public void Top_k_keeps_the_k_most_probable(int topK, int[] kept)
    {
        Assert.Equal(kept, Support(new SamplingOptions { TopK = topK, Temperature = 3f }));
    }

    [Theory]
    [InlineData(0.5f, new[] { 1 })] // softmax: .638 .235 .086 .032 .012
    [InlineData(0.65f, new[] { 1, 3 })]
    [InlineData(0.9f, new[] { 1, 2, 3 })]
    [InlineData(1f, new[] { 0, 1, 2, 3, 4 })]
    public void Top_p_keeps_the_fewest_tokens_that_reach_the_sum(float topP, int[] kept)
    {
        Assert.Equal(kept, Support(new SamplingOptions { TopP = topP }));
    }

    [Theory]
    [InlineData(1f, new[] { 1 })]
    [InlineData(0.3f, new[] { 1, 3 })] // e^-1 = .368, e^-2 = .135
    [InlineData(0.1f, new[] { 1, 2, 3 })]
    [InlineData(0f, new[] { 0, 1, 2, 3, 4 })]
    public void Min_p_keeps_tokens_above_a_share_of_the_most_probable(float minP, int[] kept)
    {
        Assert.Equal(kept, Support(new SamplingOptions { MinP = minP }));
    }

    [Fact]
    public void Top_p_counts_only_what_top_k_left()
    {
        // Of the best three the shares are .665 .245 .090: two reach 0.7. Of all five, .638 + .235 would too, but 0.9 tells them apart.
        Assert.Equal([1, 3], Support(new SamplingOptions { TopK = 3, TopP = 0.9f }));
        Assert.Equal([1, 2, 3], Support(new SamplingOptions { TopP = 0.9f }));
    }

    [Fact]
    public void Repetition_penalty_divides_positive_and_multiplies_negative_logits_once_per_token()
    {
        Sampler sampler = Sampler(new SamplingOptions { Temperature = 0, RepetitionPenalty = 2f }, 2);
        sampler.Observe(0);
        sampler.Observe(0);
        Assert.Equal(0, sampler.Sample([4.2f, 2f])); // 2.1 beats 2; penalised twice it would be 1.05
        Assert.Equal(1, sampler.Sample([3.8f, 2f]));
        Assert.Equal(1, sampler.Sample([-1.1f, -2f])); // -2.2 loses against -2
        Assert.Equal(0, sampler.Sample([-0.9f, -2f]));
    }

    [Theory]
    [InlineData(1e-45f, 0, 1f)] // 3 divided by it is infinite
    [InlineData(1e-45f, 2, 0.9f)]
    [InlineData(3e38f, 0, 1f)] // -1 times it is nearly so
    public void A_repetition_penalty_at_the_end_of_its_range_still_draws(float penalty, int topK, float topP)
    {
        Sampler sampler = Sampler(new SamplingOptions { RepetitionPenalty = penalty, TopK = topK, TopP = topP }, s_logits.Length);
        sampler.Observe(1);
        sampler.Observe(3);
        sampler.Observe(4);

        int drawn = sampler.Sample(s_logits);

        Assert.Contains(drawn, penalty < 1 ? (int[])[1, 3] : [0, 1, 2, 3]);
    }

    [Fact]
    public void Excluded_tokens_are_never_drawn()
    {
        int[] counts = Counts(new SamplingOptions(), [float.NegativeInfinity, 0f, float.NegativeInfinity], 100);
        Assert.Equal([0, 100, 0], counts);
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    public void A_logit_that_is_not_finite_is_an_error_that_names_the_token(float logit)
    {
        ConfigurationException error = Assert.Throws<ConfigurationException>(() => Sampler(new SamplingOptions(), 3).Sample([0f, 1f, logit]));
        Assert.Contains("token 2", error.Message);
    }

    [Fact]
    public void All_tokens_excluded_is_an_error()
    {
        Assert.Throws<ConfigurationException>(() => Sampler(new SamplingOptions(), 1).Sample([float.NegativeInfinity]));
    }

    [Fact]
    public void All_options_out_of_range_are_named_at_once()
    {
        SamplingOptions options = new() { Temperature = -1, TopK = -2, TopP = 0, MinP = 1.5f, RepetitionPenalty = float.NaN };
        string message = Assert.Throws<ConfigurationException>(options.Validate).Message;
        Assert.All(["temperature -1", "top-k -2", "top-p 0", "min-p 1.5", "repetition-penalty NaN"], part => Assert.Contains(part, message));
    }

    [Fact]
    public void A_draw_allocates_nothing()
    {
        Sampler sampler = Sampler(new SamplingOptions { TopK = 40, TopP = 0.9f, MinP = 0.01f, RepetitionPenalty = 1.1f }, 1000);
        float[] logits = [.. Enumerable.Range(0, 1000).Select(i => MathF.Sin(i))];
        SamplerScratch scratch = new(logits.Length);
        sampler.Observe(sampler.Sample(logits, scratch));
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 50; i++)
        {
            sampler.Observe(sampler.Sample(logits, scratch));
        }

        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }

    [Fact]
    public void Same_seed_gives_the_same_tokens_and_another_seed_gives_others()
    {
        SamplingOptions options = new() { Seed = 7, TopP = 0.99f };
        Assert.Equal(Draws(options, 50), Draws(options, 50));
        Assert.NotEqual(Draws(options, 50), Draws(options with { Seed = 8 }, 50));
    }

    [Fact]
    public void The_first_draws_of_a_seed_are_the_same_everywhere()
    {
        // Computed by a separate program from the generator's definition; logits are small integers, so that no rounding of a platform's exp can move a draw.
        Assert.Equal([2, 1, 1, 1, 0, 3, 1, 3, 1, 1, 1, 1], Draws(new SamplingOptions { Seed = 42 }, 12));
    }

    [Fact]
    public void Every_drawn_token_passes_every_filter_of_the_plain_definition()
    {
        Gen<(float[] Logits, SamplingOptions Options)> cases =
            from logits in Gen.Choose(-300, 300).Select(value => value / 50f).ArrayOf().Where(array => array.Length > 0)
            from topK in Gen.Choose(0, 6)
            from topP in Gen.Choose(1, 100)
            from minP in Gen.Choose(0, 50)
            from temperature in Gen.Choose(1, 30)
            from seed in Gen.Choose(0, int.MaxValue)
            select (logits, new SamplingOptions { TopK = topK, TopP = topP / 100f, MinP = minP / 100f, Temperature = temperature / 10f, Seed = (ulong)seed });

        Prop.ForAll(cases.ToArbitrary(), test =>
        {
            int drawn = Sampler(test.Options, test.Logits.Length).Sample(test.Logits);
            return Allowed(test.Logits, test.Options).Contains(drawn);
        }).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void Draws_are_those_of_the_plain_definition_to_the_last_bit()
    {
        Gen<(float[] Logits, SamplingOptions Options)> cases =
            from logits in Gen.Choose(-300, 300).Select(value => value < -290 ? float.NegativeInfinity : value / 50f).ArrayOf().Where(array => array.Any(float.IsFinite))
            from topK in Gen.Choose(0, 6)
            from topP in Gen.Choose(50, 200)
            from minP in Gen.Choose(-20, 20)
            from temperature in Gen.Choose(1, 2000) // low ones leave fewer tokens with any probability than top-k keeps
            from seed in Gen.Choose(0, int.MaxValue)
            select (logits, new SamplingOptions { TopK = topK, TopP = Math.Min(topP / 100f, 1), MinP = Math.Max(minP, 0) / 100f, Temperature = temperature / 1000f, Seed = (ulong)seed });

        Prop.ForAll(cases.ToArbitrary(), test =>
        {
            Sampler sampler = Sampler(test.Options, test.Logits.Length);
            SplitMix64 random = new(test.Options.Seed);
            return Enumerable.Range(0, 5).All(_ => sampler.Sample(test.Logits) == PlainDraw(test.Logits, test.Options, ref random));
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(1000));
    }

    /// <summary>All probabilities first, then the filters, then the walk along the kept tokens.</summary>
    private static int PlainDraw(float[] logits, SamplingOptions options, ref SplitMix64 random)
    {
        double best = logits.Max();
        double[] weights = [.. logits.Select(logit => Math.Exp((logit - best) * (1.0 / options.Temperature)))];
        List<int> kept = [.. Enumerable.Range(0, logits.Length).Where(id => weights[id] > 0)];
        if (options.TopK > 0 && options.TopK < kept.Count)
        {
            kept = [.. kept.OrderByDescending(id => logits[id]).ThenBy(id => id).Take(options.TopK)];
        }

        if (options.TopP < 1)
        {
            double wanted = options.TopP * kept.Sum(id => weights[id]);
            double sum = 0;
            List<int> sorted = [.. kept.OrderByDescending(id => logits[id]).ThenBy(id => id)];
            int count = sorted.FindIndex(id => (sum += weights[id]) >= wanted) + 1;
            kept = count > 0 ? sorted[..count] : sorted;
        }

        kept.RemoveAll(id => weights[id] < options.MinP);
        double target = (random.Next() >> 11) * (1.0 / (1L << 53)) * kept.Sum(id => weights[id]);
        foreach (int id in kept)
        {
            target -= weights[id];
            if (target < 0)
            {
                return id;
            }
        }

        return kept[^1];
    }

    /// <summary>The filters as their definitions read: sort everything, cut.</summary>
    private static HashSet<int> Allowed(float[] logits, SamplingOptions options)
    {
        List<(int Id, double Weight)> kept = [.. Enumerable.Range(0, logits.Length)
            .OrderByDescending(id => logits[id]).ThenBy(id => id)
            .Select(id => (id, Math.Exp((logits[id] - (double)logits.Max()) / options.Temperature)))];
        if (options.TopK > 0)
        {
            kept = [.. kept.Take(options.TopK)];
        }

        double total = kept.Sum(token => token.Weight);
        double sum = 0;
        List<(int Id, double Weight)> nucleus = [];
        foreach ((int id, double weight) in kept)
        {
            // The rounding of the sum may differ in order: one token more is allowed exactly at the border.
            if (sum >= options.TopP * total * (1 + 1e-12) && options.TopP < 1)
            {
                break;
            }

            nucleus.Add((id, weight));
            sum += weight;
        }

        return [.. nucleus.Where(token => token.Weight >= options.MinP * (1 - 1e-12)).Select(token => token.Id)];
    }

    private static Sampler Sampler(SamplingOptions options, int vocabSize) => new(options, vocabSize);

    private static int[] Draws(SamplingOptions options, int count)
    {
        Sampler sampler = Sampler(options, 5);
        return [.. Enumerable.Range(0, count).Select(_ => sampler.Sample([1f, 3f, 1f, 2f, -1f]))];
    }

    private static int[] Counts(SamplingOptions options, float[] logits, int draws)
    {
        Sampler sampler = Sampler(options, logits.Length);
        SamplerScratch scratch = new(logits.Length);
        int[] counts = new int[logits.Length];
        for (int i = 0; i < draws; i++)
        {
            counts[sampler.Sample(logits, scratch)]++;
        }

        return counts;
    }

    /// <summary>Tokens seen in so many draws that one of 1 % is missed once in 10^40 runs.</summary>
    private static int[] Support(SamplingOptions options)
    {
        int[] counts = Counts(options, s_logits, 10_000);
        return [.. Enumerable.Range(0, counts.Length).Where(id => counts[id] > 0)];
    }

    private static void AssertShare(double expected, int count, int draws)
    {
        double deviation = Math.Sqrt(expected * (1 - expected) / draws);
        Assert.InRange((double)count / draws, expected - (5 * deviation), expected + (5 * deviation));
    }
}

internal static class SamplerDraws
{
    /// <summary>Draws with memory of its own.</summary>
    public static int Sample(this Sampler sampler, ReadOnlySpan<float> logits) => sampler.Sample(logits, new SamplerScratch(logits.Length));
}
