using MoeSharp.Execution;
using MoeSharp.Inference;
using MoeSharp.Kernels;
using MoeSharp.Model;

namespace MoeSharp.Tests.Inference;

/// <summary>What a request writes is its own affair, whatever the scheduler does around it.</summary>
public sealed partial class EngineSchedulerTests
{
    private const int Vocab = 40;
    private const int PromptLength = 150; // three pages
    private const int Answer = 12;

    public static TheoryData<int, int, int, bool> Surroundings => new()
    {
        // neighbours, chunk, threads, shared beginnings
        { 0, 512, 1, false },
        { 0, 1, 2, true },
        { 1, 7, 2, false },
        { 1, 64, 1, true },
        { 3, 13, 2, true },
        { 3, 512, 1, false },
        { 7, 100, 2, true },
        { 7, 1000, 2, false },
        { 15, 33, 1, true },
        { 15, 512, 2, true },
    };

    [Theory]
    [MemberData(nameof(Surroundings))]
    public void A_request_has_the_same_logits_in_any_company(int neighbours, int chunk, int threads, bool shares)
    {
        using WorkerPool workers = new(threads);
        using LanguageModel model = Model(workers);
        int[] prompt = Prompt(1);
        List<float[]> logits = [];
        EngineScheduler scheduler = null!;
        using (scheduler = new EngineScheduler(model, workers, new EngineOptions { ChunkTokens = chunk, SharesPrefixes = shares })
        {
            OnLogits = (generation, values) =>
            {
                if (ReferenceEquals(generation.Request.Prompt, prompt))
                {
                    logits.Add(values.ToArray());
                }
            },
        })
        {
            // Some come before and some after, some begin alike and some do not, and they end at different times.
            for (int n = 0; n < neighbours / 2; n++)
            {
                Add(scheduler, n % 2 == 0 ? [.. prompt[..(70 + n)], .. Prompt(100 + n)] : Prompt(200 + n)[..(5 + n)], 3 + n, 0.9f);
            }

            scheduler.Step();
            scheduler.Step();
            Generation mine = Add(scheduler, prompt, Answer, 0.7f);
            for (int n = neighbours / 2; n < neighbours; n++)
            {
                Add(scheduler, n % 2 == 0 ? [.. prompt[..(3 * n)], .. Prompt(300 + n)] : Prompt(400 + n), 5 + (3 * n), 1f);
            }

            RunToEnd(scheduler);
            Assert.True(mine.Completion.IsCompletedSuccessfully);
            CheckAgainstOnePass(model, workers, [.. prompt, .. Ids(mine)], logits);
            Assert.Equal(0, scheduler.Statistics.UsedPages);
            if (shares && neighbours > 1 && chunk > 64)
            {
                Assert.True(scheduler.Statistics.CachedTokens > 0, "nothing was shared");
            }
        }
    }

    [Fact]
    public void Texts_that_are_set_aside_for_want_of_pages_are_written_all_the_same()
    {
        using WorkerPool workers = new(2);
        using LanguageModel model = Model(workers);
        long page = ModelCacheLayout.Of(model.Config).PageBytes;
        int[][] alone = [.. Enumerable.Range(0, 5).Select(n => WriteAlone(model, workers, Prompt(n)[..(20 * (n + 1))], 80 + (10 * n)))];
        using EngineScheduler scheduler = new(model, workers, new EngineOptions { ChunkTokens = 50, CacheBytes = 6 * page });
        Generation[] together = [.. Enumerable.Range(0, 5).Select(n => Add(scheduler, Prompt(n)[..(20 * (n + 1))], 80 + (10 * n), 0.8f))];
        RunToEnd(scheduler);
        Assert.Equal(alone, together.Select(Ids));
        Assert.True(scheduler.Statistics.Preemptions > 0, "the pool was too large to test anything");
        Assert.Equal(0, scheduler.Statistics.UsedPages);
    }

    [Fact]
    public void A_later_text_begins_with_what_an_ended_one_left()
    {
        using WorkerPool workers = new(1);
        using LanguageModel model = Model(workers);
        using EngineScheduler scheduler = new(model, workers, new EngineOptions());
        int[] prompt = Prompt(1);
        int[] first = Ids(Run(scheduler, prompt, Answer));
        int[] next = [.. prompt, .. first, 7, 8, 9]; // the second turn of a chat
        int[] expected = WriteAlone(model, workers, next, Answer);
        Generation second = Run(scheduler, next, Answer);
        Assert.Equal(expected, Ids(second));
        Assert.Equal(prompt.Length + first.Length - 1, second.CachedTokens); // the last token written was never read
        Generation again = Run(scheduler, next, Answer);
        Assert.Equal(expected, Ids(again));
        Assert.Equal(next.Length - 1, again.CachedTokens);
    }

    [Fact]
    public void A_text_that_needs_every_page_does_not_trip_over_what_it_shares()
    {
        using WorkerPool workers = new(1);
        using LanguageModel model = Model(workers);
        int[] prompt = Prompt(1);
        int[] like = [.. prompt[..90], .. Prompt(2)[..20]];
        int[] expected = WriteAlone(model, workers, like, Answer);
        using EngineScheduler scheduler = new(model, workers, new EngineOptions { CacheBytes = 2 * ModelCacheLayout.Of(model.Config).PageBytes });
        Run(scheduler, prompt[..100], Answer);
        Assert.Equal(expected, Ids(Run(scheduler, like, Answer)));
    }

    [Fact]
    public void Two_hundred_cancellations_leave_no_page_behind()
    {
        using WorkerPool workers = new(2);
        using LanguageModel model = Model(workers);
        Random random = new(5);
        int[] expected = WriteAlone(model, workers, Prompt(1), Answer);
        List<Generation> open = [];
        List<Generation> kept = [];
        using EngineScheduler scheduler = new(model, workers, new EngineOptions { ChunkTokens = 40, MaxSequences = 6, CacheBytes = 14 * ModelCacheLayout.Of(model.Config).PageBytes })
        {
            OnOperation = () =>
            {
                if (random.Next(60) == 0)
                {
                    open.TakeLast(10).ToList().ForEach(generation => generation.Cancel()); // in the middle of a pass
                }
            },
        };
        for (int sent = 0; sent < 200; sent++)
        {
            open.Add(Add(scheduler, Prompt(random.Next(4))[..random.Next(1, PromptLength)], random.Next(1, 60), 1f));
            if (sent % 40 == 0)
            {
                kept.Add(Add(scheduler, Prompt(1), Answer, 0.8f));
            }

            scheduler.Step();
            if (random.Next(3) == 0)
            {
                open[random.Next(open.Count)].Cancel();
            }
        }

        open.ForEach(generation => generation.Cancel());
        RunToEnd(scheduler);
        Assert.All(kept, generation => Assert.Equal(expected, Ids(generation)));
        Assert.True(scheduler.Statistics.GivenUpPasses > 0, "no pass was given up");
        Assert.Equal((0, 0, 0), (scheduler.Statistics.UsedPages, scheduler.Statistics.Running, scheduler.Statistics.Waiting));
        Assert.True(scheduler.Statistics.RememberedPages <= scheduler.Statistics.MaxPages);
    }

    [Fact]
    public void A_cancelled_text_is_gone_before_the_next_pass()
    {
        using WorkerPool workers = new(1);
        using LanguageModel model = Model(workers);
        int operations = 0;
        Generation? victim = null;
        using EngineScheduler scheduler = new(model, workers, new EngineOptions())
        {
            OnOperation = () =>
            {
                if (++operations == 3) // within the first layer
                {
                    victim!.Cancel();
                }
            },
        };
        victim = Add(scheduler, Prompt(1), Answer, 1f);
        scheduler.Step();
        Assert.Equal(3, operations); // nothing after it
        scheduler.Step();
        Assert.True(victim.Completion.IsCanceled);
        Assert.Equal((1L, 0), (scheduler.Statistics.GivenUpPasses, scheduler.Statistics.UsedPages));
    }

    [Fact]
    public void An_engine_that_closes_does_not_wait_for_a_pass()
    {
        using WorkerPool workers = new(1);
        using LanguageModel model = Model(workers);
        int operations = 0;
        EngineScheduler scheduler = null!;
        using (scheduler = new(model, workers, new EngineOptions())
        {
            OnOperation = () =>
            {
                if (++operations == 3)
                {
                    scheduler.GiveUpPass();
                }
            },
        })
        {
            Add(scheduler, Prompt(1), Answer, 1f);
            scheduler.Step();
            Assert.Equal((3, 1L), (operations, scheduler.Statistics.GivenUpPasses)); // nothing after the third
        }
    }

    [Fact]
    public void Logits_that_are_not_numbers_end_only_their_own_text()
    {
        using WorkerPool workers = new(2);
        using LanguageModel model = Model(workers);
        const int Poison = 39;
        model.Parameters[0].Value.Slice(Poison * model.Config.HiddenSize, model.Config.HiddenSize).Fill(float.NaN); // the embedding
        int[] healthy = [.. Prompt(1).Select(id => id % Poison)];
        using EngineScheduler scheduler = new(model, workers, new EngineOptions { SharesPrefixes = false });
        GenerationOptions options = Options(Answer, 0f);
        Generation[] texts = [.. new[] { healthy, [1, Poison, 2], healthy[..70], [Poison] }.Select(prompt => Add(scheduler, prompt, options))];
        RunToEnd(scheduler);
        Assert.Contains("logit", Assert.IsType<ConfigurationException>(texts[1].Completion.Exception!.InnerException).Message, StringComparison.Ordinal);
        Assert.True(texts[3].Completion.IsFaulted);
        Assert.Equal(WriteAlone(model, workers, healthy, Answer, 0f), Ids(texts[0]));
        Assert.Equal(WriteAlone(model, workers, healthy[..70], Answer, 0f), Ids(texts[2]));
        Assert.Equal(0, scheduler.Statistics.UsedPages);
    }

    [Fact]
    public void A_pass_that_fails_costs_only_the_text_that_made_it_fail()
    {
        using WorkerPool workers = new(2);
        using LanguageModel model = Model(workers);
        int[] expected = WriteAlone(model, workers, Prompt(1), Answer);
        using EngineScheduler scheduler = new(model, workers, new EngineOptions());
        Generation before = Add(scheduler, Prompt(1), Answer, 0.8f);
        Generation broken = Add(scheduler, [1, Vocab + 5, 2], Options(Answer, 0.8f)); // the door would have refused it
        Generation after = Add(scheduler, Prompt(1), Answer, 0.8f);
        RunToEnd(scheduler);
        Assert.IsType<ConfigurationException>(broken.Completion.Exception!.InnerException);
        Assert.Equal(expected, Ids(before));
        Assert.Equal(expected, Ids(after));
        Assert.Equal(0, scheduler.Statistics.UsedPages);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void A_steady_decode_step_allocates_nothing(int threads)
    {
        using WorkerPool workers = new(threads);
        using LanguageModel model = Model(workers);
        using EngineScheduler scheduler = new(model, workers, new EngineOptions());
        Generation[] texts = [.. Enumerable.Range(0, 4).Select(n => Add(scheduler, Prompt(n)[..130], 200, 0.8f))];
        void Step()
        {
            scheduler.Step();
            foreach (Generation text in texts)
            {
                while (text.TryRead(out _))
                {
                }
            }
        }

        for (int step = 0; step < 150; step++) // past the last growth of the rotary table, which doubles
        {
            Step();
        }

        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int step = 0; step < 35; step++) // within a page: a new one is memory that grows
        {
            Step();
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.Equal(4, scheduler.Statistics.Running);
    }

    private static int[] Prompt(int seed)
    {
        Random random = new(seed);
        return [.. Enumerable.Range(0, PromptLength).Select(_ => random.Next(Vocab))];
    }

    private static GenerationOptions Options(int maxTokens, float temperature) =>
        new() { MaxTokens = maxTokens, Sampling = new SamplingOptions { Temperature = temperature, Seed = 3 } };

    private static Generation Add(EngineScheduler scheduler, int[] prompt, int maxTokens, float temperature) => Add(scheduler, prompt, Options(maxTokens, temperature));

    private static Generation Add(EngineScheduler scheduler, int[] prompt, GenerationOptions options)
    {
        Generation generation = NewGeneration(prompt, options);
        scheduler.Add(generation);
        return generation;
    }

    private static Generation NewGeneration(int[] prompt, GenerationOptions options) => NewGeneration(new GenerationRequest(prompt, options), TimeProvider.System);

    private static Generation NewGeneration(GenerationRequest request, TimeProvider time) =>
        new(request, request.Options.MaxTokens!.Value, [], () => throw new InvalidOperationException("no text here"), time);

    private static Generation Run(EngineScheduler scheduler, int[] prompt, int maxTokens)
    {
        Generation generation = Add(scheduler, prompt, maxTokens, 0.8f);
        RunToEnd(scheduler);
        return generation;
    }

    private static void RunToEnd(EngineScheduler scheduler)
    {
        for (int steps = 0; scheduler.HasWork; steps++)
        {
            Assert.True(steps < 20_000, "the scheduler does not get on");
            scheduler.Step();
        }
    }

    private static int[] WriteAlone(LanguageModel model, WorkerPool workers, int[] prompt, int maxTokens, float temperature = 0.8f)
    {
        using EngineScheduler scheduler = new(model, workers, new EngineOptions { MaxSequences = 1, SharesPrefixes = false });
        Generation generation = Add(scheduler, prompt, maxTokens, temperature);
        RunToEnd(scheduler);
        return Ids(generation);
    }

    private static readonly System.Runtime.CompilerServices.ConditionalWeakTable<Generation, int[]> Taken = [];

    // Tokens can be taken once; tests look at them several times.
    private static int[] Ids(Generation generation) => Taken.GetValue(generation, taken =>
    {
        List<int> ids = [];
        while (taken.TryRead(out int id))
        {
            ids.Add(id);
        }

        return [.. ids];
    });

    private static void CheckAgainstOnePass(LanguageModel model, WorkerPool workers, int[] tokens, List<float[]> logits)
    {
        Assert.Equal(Answer, logits.Count);
        using ForwardContext context = new(workers);
        float[] full = new float[tokens.Length * Vocab];
        model.Logits(TokenBatch.FromSequences([tokens]), tokens.Length, full, context);
        for (int step = 0; step < logits.Count; step++)
        {
            Assert.True(full.AsSpan((PromptLength - 1 + step) * Vocab, Vocab).SequenceEqual(logits[step]), $"logits of token {step}");
        }
    }

    private sealed class StoppedClock : TimeProvider
    {
        public TimeSpan Now { get; set; }

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp() => Now.Ticks;
    }
}
