using MoeSharp.Execution;
using MoeSharp.Inference;
using MoeSharp.Kernels;
using MoeSharp.Model;

namespace MoeSharp.Tests.Inference;

/// <summary>Requests that wait: for pages, for room, for their turn.</summary>
public sealed partial class EngineSchedulerTests
{
    [Fact]
    public void A_request_that_does_not_fit_costs_nothing_while_it_waits_and_makes_nobody_forget_anything()
    {
        using WorkerPool workers = new(1);
        using LanguageModel model = Model(workers);
        using EngineScheduler scheduler = new(model, workers, new EngineOptions { CacheBytes = 6 * ModelCacheLayout.Of(model.Config).PageBytes });
        Run(scheduler, Prompt(1), Answer); // leaves three pages
        Generation running = Add(scheduler, Prompt(2)[..129], 60, 0.8f); // and this takes the other three
        int[] expected = WriteAlone(model, workers, Prompt(3), Answer);
        for (int step = 0; step < 10; step++)
        {
            scheduler.Step();
        }

        Generation blocked = Add(scheduler, Prompt(3), Answer, 0.8f);
        scheduler.Step();
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int step = 0; step < 20; step++)
        {
            scheduler.Step();
            running.TryRead(out _);
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.Equal((1, 1, 3), (scheduler.Statistics.Running, scheduler.Statistics.Waiting, scheduler.Statistics.RememberedPages));
        RunToEnd(scheduler);
        Assert.True(running.Completion.IsCompletedSuccessfully);
        Assert.Equal(expected, Ids(blocked));
    }

    [Fact]
    public void States_of_lightning_attention_are_part_of_the_cache_and_texts_wait_for_room_for_theirs()
    {
        const int Texts = 5;
        using WorkerPool workers = new(1);
        using LanguageModel model = new(DecodingSessionTests.TinyConfig with
        {
            NumKeyValueHeads = 4,
            MaxPositionEmbeddings = 256,
            BlockLayout = BlockLayout.NormedResidual,
            LayerAttention = [AttentionKind.Linear, AttentionKind.Full],
            ResidualScales = new ResidualScales { LinearAttentionAlpha = 1.3f, LinearAttentionBeta = 0.9f },
        });
        WeightInit.Initialize(model, 11, WeightInitScheme.Normal, workers);
        int[][] expected = [.. Enumerable.Range(0, Texts).Select(n => WriteAlone(model, workers, Prompt(n)[..40], 20))];
        CacheLayout layout = ModelCacheLayout.Of(model);
        long cache = 2 * (layout.StatePages + 2) * layout.PageBytes; // two texts, each with a page more for the one that is running
        using EngineScheduler scheduler = new(model, workers, new EngineOptions { CacheBytes = cache });
        Generation[] texts = [.. Enumerable.Range(0, Texts).Select(n => Add(scheduler, Prompt(n)[..40], 20, 0.8f))];
        while (scheduler.HasWork)
        {
            scheduler.Step();
            Assert.InRange(scheduler.Statistics.Running, 0, 2);
            Assert.InRange(scheduler.Statistics.CacheBytes, scheduler.Statistics.Running * layout.StateBytes, cache);
        }

        Assert.Equal(expected, texts.Select(Ids));
        Assert.Equal((0, 0L), (scheduler.Statistics.UsedPages, scheduler.Statistics.Preemptions));
    }

    [Fact]
    public void A_request_is_refused_when_its_turn_has_not_come_in_time()
    {
        using WorkerPool workers = new(1);
        using LanguageModel model = Model(workers);
        StoppedClock time = new();
        List<Generation> left = [];
        using EngineScheduler scheduler = new(model, workers, new EngineOptions { MaxSequences = 1 }) { OnLeftQueue = left.Add };
        Generation running = Add(scheduler, Prompt(1), 30, 0.8f);
        Generation[] waiting = [.. new[] { 5, 9, 0 }.Select(seconds => NewGeneration(new GenerationRequest([1, 2], Options(3, 0f)) { MaxWait = TimeSpan.FromSeconds(seconds) }, time))];
        Array.ForEach(waiting[..2], scheduler.Add);
        scheduler.Step();
        time.Now = TimeSpan.FromSeconds(4.9);
        scheduler.Step();
        Assert.Equal(2, scheduler.Statistics.Waiting);
        time.Now = TimeSpan.FromSeconds(5);
        scheduler.Step();
        EngineBusyException refusal = Assert.IsType<EngineBusyException>(waiting[0].Completion.Exception!.InnerException);
        Assert.Contains("waited 5.0 s", refusal.Message, StringComparison.Ordinal);
        Assert.Equal([running, waiting[0]], left); // the queue has room again
        Assert.Equal((1, 1), (scheduler.Statistics.Running, scheduler.Statistics.Waiting));
        RunToEnd(scheduler);
        time.Now = TimeSpan.FromSeconds(100); // whoever was begun is not late any more
        Assert.True(waiting[1].Completion.IsCompletedSuccessfully);
        scheduler.Add(waiting[2]);
        RunToEnd(scheduler);
        Assert.True(waiting[2].Completion.IsCompletedSuccessfully, "nobody was before it");
    }

    [Fact]
    public void A_text_that_was_set_aside_is_not_refused_for_the_time_it_waits_again()
    {
        using WorkerPool workers = new(1);
        using LanguageModel model = Model(workers);
        StoppedClock time = new();
        using EngineScheduler scheduler = new(model, workers, new EngineOptions { CacheBytes = 4 * ModelCacheLayout.Of(model.Config).PageBytes });
        Generation[] texts = [.. Enumerable.Range(0, 2).Select(n => NewGeneration(new GenerationRequest(Prompt(n)[..50], Options(100, 0.8f)) { MaxWait = TimeSpan.FromSeconds(1) }, time))];
        Array.ForEach(texts, scheduler.Add);
        scheduler.Step();
        time.Now = TimeSpan.FromSeconds(100);
        RunToEnd(scheduler);
        Assert.True(scheduler.Statistics.Preemptions > 0, "the pool was too large to test anything");
        Assert.All(texts, text => Assert.True(text.Completion.IsCompletedSuccessfully));
    }

    [Fact]
    public void A_waiting_request_costs_no_memory_of_the_size_of_the_vocabulary_or_of_its_text()
    {
        const int LargeVocab = 8192;
        const int Requests = 50;
        using WorkerPool workers = new(1);
        using LanguageModel model = Model(workers, LargeVocab);
        using EngineScheduler scheduler = new(model, workers, new EngineOptions());
        Generation[] texts = [.. Enumerable.Range(0, Requests).Select(_ => NewGeneration([1, 2], Options(LargeVocab, 0.8f)))];
        long before = GC.GetAllocatedBytesForCurrentThread();
        Array.ForEach(texts, scheduler.Add);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, Requests * LargeVocab / 2);
    }

    [Fact]
    public void The_logits_of_texts_that_come_one_by_one_do_not_leave_an_array_behind_each()
    {
        const int LargeVocab = 8192;
        const int Texts = 32;
        using WorkerPool workers = new(1);
        using LanguageModel model = Model(workers, LargeVocab);
        using EngineScheduler scheduler = new(model, workers, new EngineOptions { MaxSequences = Texts, SharesPrefixes = false });
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int n = 0; n < Texts; n++)
        {
            Add(scheduler, [1, 2], 100, 0f);
            scheduler.Step();
        }

        Assert.Equal(Texts, scheduler.Statistics.Running);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 3L * Texts * LargeVocab * sizeof(float)); // twice the last size, and all else
    }

    [Fact]
    public void More_texts_than_have_room_for_their_logits_are_refused_before_any_runs()
    {
        using WorkerPool workers = new(1);
        using LanguageModel model = Model(workers);
        int most = Array.MaxLength / Vocab;
        string message = Assert.Throws<ConfigurationException>(() => new EngineScheduler(model, workers, new EngineOptions { MaxSequences = most + 1 })).Message;
        Assert.Contains($"at most {most} texts", message, StringComparison.Ordinal);
    }

    internal static LanguageModel Model(WorkerPool workers, int vocab = Vocab)
    {
        LanguageModel model = new(DecodingSessionTests.TinyConfig with { VocabSize = vocab, MaxPositionEmbeddings = 1024 });
        WeightInit.Initialize(model, 11, WeightInitScheme.Normal, workers);
        return model;
    }
}
