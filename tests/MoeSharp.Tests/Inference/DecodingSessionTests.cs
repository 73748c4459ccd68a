using MoeSharp.Execution;
using MoeSharp.Inference;
using MoeSharp.Kernels;
using MoeSharp.Model;

namespace MoeSharp.Tests.Inference;

public sealed class DecodingSessionTests
{
    [Theory]
    [InlineData(1, 2)]
    [InlineData(1, 1)]
    [InlineData(4, 1)]
    [InlineData(64, 1)]
    [InlineData(5, 2)]
    public void Cached_logits_are_those_of_a_full_pass_bit_for_bit(int chunkSize, int workers)
    {
        using WorkerPool pool = new(workers);
        using LanguageModel model = TinyModel(pool);
        int[] ids = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9];
        int vocab = model.Config.VocabSize;
        float[] full = new float[ids.Length * vocab];
        using ForwardContext context = new(pool);
        model.Logits(TokenBatch.FromSequences([ids]), ids.Length, full, context);

        using DecodingSession session = new(model, ids.Length, chunkSize, pool);
        session.Append(ids.AsSpan(0, 9), TestContext.Current.CancellationToken);
        Assert.Equal(full.AsSpan(8 * vocab, vocab), session.Logits);
        for (int i = 9; i < ids.Length; i++)
        {
            session.Append(ids[i]);
            Assert.Equal(full.AsSpan(i * vocab, vocab), session.Logits);
        }
    }

    [Fact]
    public void Keys_and_values_in_half_the_memory_change_the_logits_a_little()
    {
        using WorkerPool pool = new(2);
        using LanguageModel model = TinyModel(pool);
        int[] ids = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9];
        float[] exact = LogitsAfter(model, ids, pool);
        model.CacheFormat = CacheFormat.BFloat16;
        float[] rounded = LogitsAfter(model, ids, pool);
        double difference = exact.Zip(rounded, (a, b) => Math.Abs(a - b)).Max();
        Assert.InRange(difference, 1e-5, 0.01 * exact.Max(Math.Abs)); // bfloat16 has 8 bits: an error of 0.4 % per number, much less in a sum
    }

    [Theory]
    [InlineData(1)] // all work is on the thread that is measured
    [InlineData(2)]
    public void A_steady_decode_step_allocates_nothing(int workers)
    {
        using WorkerPool pool = new(workers);
        using LanguageModel model = TinyModel(pool);
        using DecodingSession session = new(model, 64, 16, pool);
        Sampler sampler = new(new SamplingOptions { TopK = 8, TopP = 0.95f }, model.Config.VocabSize);
        SamplerScratch scratch = new(model.Config.VocabSize);
        session.Append([1, 2, 3, 4, 5], TestContext.Current.CancellationToken);
        for (int i = 0; i < 40; i++) // past the last growth of the rotary table, which doubles
        {
            session.Append(sampler.Sample(session.Logits, scratch));
        }

        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 15; i++)
        {
            int id = sampler.Sample(session.Logits, scratch);
            sampler.Observe(id);
            session.Append(id);
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Fact]
    public void More_tokens_than_there_is_room_for_are_an_error()
    {
        using WorkerPool pool = new(1);
        using LanguageModel model = TinyModel(pool);
        using DecodingSession session = new(model, 4, 16, pool);
        session.Append([1, 2, 3], TestContext.Current.CancellationToken);
        Assert.Throws<ConfigurationException>(() => session.Append([4, 5], TestContext.Current.CancellationToken));
        Assert.Equal(3, session.Length);
    }

    [Fact]
    public void A_token_outside_the_vocabulary_is_an_error_and_leaves_the_sequence_as_it_was()
    {
        using WorkerPool pool = new(1);
        using LanguageModel model = TinyModel(pool);
        using DecodingSession session = new(model, 4, 16, pool);
        Assert.Throws<ConfigurationException>(() => session.Append(model.Config.VocabSize));
        Assert.Equal(0, session.Length);
    }

    [Fact]
    public void Reading_a_prompt_can_be_cancelled()
    {
        using WorkerPool pool = new(1);
        using LanguageModel model = TinyModel(pool);
        using DecodingSession session = new(model, 4, 2, pool);
        Assert.Throws<OperationCanceledException>(() => session.Append([1, 2, 3], new CancellationToken(canceled: true)));
    }

    internal static ModelConfig TinyConfig { get; } = new()
    {
        VocabSize = 40,
        HiddenSize = 32,
        IntermediateSize = 48,
        NumHiddenLayers = 2,
        NumAttentionHeads = 4,
        NumKeyValueHeads = 2,
        HeadDim = 8,
        MaxPositionEmbeddings = 64,
        InitializerRange = 0.3f, // large: logits far apart, so that a wrong row shows
        Moe = new MoeConfig { NumExperts = 6, TopK = 2, IntermediateSize = 16, NumSharedExperts = 1, FirstKDenseReplace = 1 },
    };

    private static float[] LogitsAfter(LanguageModel model, int[] ids, WorkerPool workers)
    {
        using DecodingSession session = new(model, ids.Length, 4, workers);
        session.Append(ids, TestContext.Current.CancellationToken);
        return session.Logits.ToArray();
    }

    private static LanguageModel TinyModel(WorkerPool workers)
    {
        LanguageModel model = new(TinyConfig);
        WeightInit.Initialize(model, 11, WeightInitScheme.Normal, workers);
        return model;
    }
}
