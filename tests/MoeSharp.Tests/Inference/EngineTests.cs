using System.Text;
using MoeSharp.Inference;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Tokenization;

namespace MoeSharp.Tests.Inference;

public sealed class EngineTests : IDisposable
{
    private const int Context = 512;

    private readonly WorkerPool _workers = new(2);
    private readonly WorkerPool _engineWorkers = new(2);
    private readonly Tokenizer _tokenizer;
    private readonly LanguageModel _model;

    public EngineTests()
    {
        byte[] text = Encoding.UTF8.GetBytes("the cat sat on the mat. \u732b\u5728\u57ab\u5b50\u4e0a\u3002 ");
        _tokenizer = BpeTrainer.Train([text, text], new BpeTrainerOptions { VocabSize = 280 });
        _model = new LanguageModel(DecodingSessionTests.TinyConfig with { VocabSize = _tokenizer.VocabSize, MaxPositionEmbeddings = Context });
        WeightInit.Initialize(_model, 5, WeightInitScheme.Normal, _workers);
    }

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Streamed_text_is_the_text_of_the_end_and_of_the_simple_generator()
    {
        TextGenerator simple = new(_model, _tokenizer, _workers);
        List<GenerationRequest> requests = [.. Enumerable.Range(0, 12).Select(n => new GenerationRequest(
            simple.EncodePrompt(n % 2 == 0 ? "the cat sat" : "on the mat. " + new string('x', n)),
            new GenerationOptions { MaxTokens = 30 + n, StopsAtEndOfText = n % 3 == 0, Stop = n % 4 == 0 ? ["a", "the"] : [], Sampling = new SamplingOptions { Seed = (ulong)n } }))];
        List<GenerationResult> expected = [.. requests.Select(request => simple.Generate(request.Prompt, request.Options, _ => { }, Cancellation))];
        using Engine engine = NewEngine(new EngineOptions { ChunkTokens = 10, MaxSequences = 5 });
        string[] streamed = await Task.WhenAll(requests.Select(request => StreamAsync(engine.Submit(request, Cancellation))));
        GenerationResult[] whole = await Task.WhenAll(requests.Select(request => engine.Submit(request, Cancellation).ReadToEndAsync(Cancellation)));
        Assert.Equal(expected.Select(result => result.Text), streamed);
        Assert.Equal(expected.Select(result => result.Text), whole.Select(result => result.Text));
        Assert.Equal(expected.Select(result => (result.FinishReason, result.Ids.Count)), whole.Select(result => (result.FinishReason, result.Ids.Count)));
    }

    [Fact]
    public async Task A_cancelled_request_ends_its_readers_and_nobody_elses()
    {
        using Engine engine = NewEngine(new EngineOptions());
        using CancellationTokenSource source = new();
        GenerationRequest request = Long(1);
        string expected = (await engine.Submit(request, Cancellation).ReadToEndAsync(Cancellation)).Text;
        Generation kept = engine.Submit(request, Cancellation);
        Generation cancelled = engine.Submit(Long(2), source.Token);
        await using (IAsyncEnumerator<GeneratedPiece> pieces = cancelled.ReadAsync(Cancellation).GetAsyncEnumerator(Cancellation))
        {
            Assert.True(await pieces.MoveNextAsync());
            await source.CancelAsync();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
            {
                while (await pieces.MoveNextAsync())
                {
                }
            });
        }

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => cancelled.Completion);
        Assert.Equal(expected, (await kept.ReadToEndAsync(Cancellation)).Text);
    }

    [Fact]
    public async Task A_full_queue_refuses_and_recovers()
    {
        using Engine engine = NewEngine(new EngineOptions { MaxSequences = 1, MaxWaitingRequests = 2 });
        List<Generation> taken = [];
        EngineBusyException? refusal = null;
        for (int n = 0; n < 10 && refusal is null; n++)
        {
            refusal = Record.Exception(() => taken.Add(engine.Submit(Long(n), Cancellation))) as EngineBusyException;
        }

        Assert.Contains("wait already", refusal!.Message, StringComparison.Ordinal);
        Assert.InRange(taken.Count, 2, 4);
        taken.ForEach(generation => generation.Cancel());
        foreach (Generation generation in taken)
        {
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => generation.ReadToEndAsync(Cancellation));
        }

        Assert.Equal(400, (await engine.Submit(Long(1), Cancellation).ReadToEndAsync(Cancellation)).Ids.Count);
    }

    [Fact]
    public void Waiting_tokens_are_bounded_too_but_one_request_may_always_wait()
    {
        using Engine engine = NewEngine(new EngineOptions { MaxSequences = 1, MaxWaitingTokens = 10 });
        GenerationRequest request = Long(1) with { Prompt = [.. Enumerable.Repeat(5, 40)] };
        EngineBusyException? refusal = null;
        int taken = 0;
        for (; taken < 10 && refusal is null; taken++)
        {
            refusal = Record.Exception(() => engine.Submit(request, Cancellation)) as EngineBusyException;
        }

        Assert.NotNull(refusal);
        Assert.True(taken > 1);
    }

    [Fact]
    public async Task Closing_the_engine_ends_everyone()
    {
        Engine engine = NewEngine(new EngineOptions { MaxSequences = 2 });
        Generation[] generations = [.. Enumerable.Range(0, 6).Select(n => engine.Submit(Long(n), Cancellation))];
        engine.Dispose();
        foreach (Generation generation in generations)
        {
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => generation.ReadToEndAsync(Cancellation));
        }

        Assert.Throws<ObjectDisposedException>(() => engine.Submit(Long(1), Cancellation));
    }

    [Fact]
    public void What_can_never_run_is_refused_at_the_door()
    {
        using Engine engine = NewEngine(new EngineOptions { CacheBytes = 1 }); // one page
        Assert.Contains("cache", Assert.Throws<ConfigurationException>(() => engine.Submit(Long(1), Cancellation)).Message, StringComparison.Ordinal);
        Assert.Throws<ConfigurationException>(() => engine.Submit(new GenerationRequest([], new GenerationOptions()), Cancellation));
        Assert.Throws<ConfigurationException>(() => engine.Submit(new GenerationRequest([1], new GenerationOptions { MaxTokens = 1 }) { MaxWait = TimeSpan.FromSeconds(-1) }, Cancellation));
        Assert.Throws<ConfigurationException>(() => engine.Submit(new GenerationRequest([_model.Config.VocabSize], new GenerationOptions { MaxTokens = 1 }), Cancellation));
        Assert.Throws<ConfigurationException>(() => engine.Submit(new GenerationRequest([1], new GenerationOptions { MaxTokens = 1, Stop = [""] }), Cancellation));
        Assert.Throws<ConfigurationException>(() => new EngineOptions { ChunkTokens = 0, MaxSequences = 0 }.Validate());
    }

    [Fact]
    public async Task Random_cancellations_from_many_threads_leave_no_page_behind()
    {
        using Engine engine = NewEngine(new EngineOptions { MaxSequences = 4, ChunkTokens = 16 });
        await Parallel.ForEachAsync(Enumerable.Range(0, 200), new ParallelOptions { MaxDegreeOfParallelism = 8, CancellationToken = Cancellation }, async (n, cancellation) =>
        {
            Random random = new(n);
            Generation generation = engine.Submit(Long(n), cancellation);
            int pieces = random.Next(6);
            try
            {
                await foreach (GeneratedPiece _ in generation.ReadAsync(cancellation))
                {
                    if (pieces-- == 0)
                    {
                        generation.Cancel();
                    }
                }
            }
            catch (OperationCanceledException)
            {
            }
        });
        Assert.Equal(400, (await engine.Submit(Long(1), Cancellation).ReadToEndAsync(Cancellation)).Ids.Count);
        engine.Dispose();
        Assert.Equal((0, 0, 0), (engine.Statistics.UsedPages, engine.Statistics.Running, engine.Statistics.Waiting));
    }

    public void Dispose()
    {
        _model.Dispose();
        _workers.Dispose();
        _engineWorkers.Dispose();
    }

    private Engine NewEngine(EngineOptions options) => new(_model, _tokenizer, _engineWorkers, options);

    private static GenerationRequest Long(int seed) =>
        new([5, 6, 7 + (seed % 20)], new GenerationOptions { MaxTokens = 400, StopsAtEndOfText = false, Sampling = new SamplingOptions { Seed = (ulong)seed } });

    private static async Task<string> StreamAsync(Generation generation)
    {
        StringBuilder text = new();
        await foreach (GeneratedPiece piece in generation.ReadAsync(Cancellation))
        {
            text.Append(piece.Text);
        }

        return text.ToString();
    }
}
