using MoeSharp.Checkpoints;
using MoeSharp.Execution;
using MoeSharp.Inference;
using MoeSharp.Kernels;
using MoeSharp.Kernels.Quantized;
using MoeSharp.Model;

namespace MoeSharp.Tests.Inference;

/// <summary>Every published architecture and every packed format: a text's logits do not depend on its company, bit for bit.</summary>
public sealed class EngineArchitectureTests
{
    private const int PromptLength = 90; // over a page
    private const int Answer = 5;

    /// <summary>Folder, formats of the weights, precision of the activations, format of keys and values.</summary>
    public static TheoryData<string, string, ActivationPrecision, CacheFormat> Models
    {
        get
        {
            TheoryData<string, string, ActivationPrecision, CacheFormat> models = [];
            foreach (string folder in (string[])["arctic", "dbrx", "deepseek_v2_group", "deepseek_v3", "gpt_oss", "llama_moe", "minimax", "mixtral", "olmoe", "qwen2_moe", "qwen3_moe"])
            {
                models.Add("hf/" + folder, "native", ActivationPrecision.Int8, CacheFormat.Float32);
            }

            foreach (string folder in (string[])["deepseek", "deepseek_v2", "gpt_oss", "minimax"])
            {
                models.Add("hf/" + folder, "native", ActivationPrecision.Int8, CacheFormat.BFloat16);
            }

            foreach (WeightTarget weights in WeightTarget.All)
            {
                models.Add("hf/deepseek", weights.Name, ActivationPrecision.Int8, CacheFormat.Float32);
                models.Add("hf/deepseek", weights.Name, ActivationPrecision.Float32, CacheFormat.Float32);
                models.Add("hf/deepseek_v2", weights.Name, ActivationPrecision.Int8, CacheFormat.Float32);
            }

            models.Add("llamacpp/deepseek-q4_0/model.gguf", "native", ActivationPrecision.Int8, CacheFormat.Float32);
            models.Add("llamacpp/deepseek-q4_k_m/model.gguf", "native", ActivationPrecision.Int8, CacheFormat.Float32);
            models.Add("llamacpp/deepseek-q8_0/model.gguf", "native", ActivationPrecision.Int8, CacheFormat.Float32);
            return models;
        }
    }

    [Theory]
    [MemberData(nameof(Models))]
    public void Company_chunks_threads_and_the_cache_do_not_change_a_bit(string folder, string weights, ActivationPrecision activations, CacheFormat cache)
    {
        using LanguageModel model = Load(folder, weights);
        (model.Activations, model.CacheFormat) = (activations, cache);
        int[] prompt = Tokens(model, 1, PromptLength);
        float[][] alone = Run(model, prompt, neighbours: 0, chunk: 512, threads: 1, shares: false, out int[] written);
        float[][] together = Run(model, prompt, neighbours: 3, chunk: 17, threads: 2, shares: true, out _);
        float[][] crowded = Run(model, prompt, neighbours: 15, chunk: 200, threads: 2, shares: true, out _);
        float[][] recomputed = OnePass(model, [.. prompt, .. written]);
        for (int step = 0; step < Answer; step++)
        {
            Assert.True(alone[step].AsSpan().SequenceEqual(recomputed[step]), $"token {step} cached and recomputed: {Largest(alone[step], recomputed[step])}");
            Assert.True(alone[step].AsSpan().SequenceEqual(together[step]), $"token {step} alone and in chunks with 3 others: {Largest(alone[step], together[step])}");
            Assert.True(alone[step].AsSpan().SequenceEqual(crowded[step]), $"token {step} alone and with 15 others: {Largest(alone[step], crowded[step])}");
        }
    }

    private static float[][] Run(LanguageModel model, int[] prompt, int neighbours, int chunk, int threads, bool shares, out int[] written)
    {
        using WorkerPool workers = new(threads);
        List<float[]> logits = [];
        using EngineScheduler scheduler = new(model, workers, new EngineOptions { ChunkTokens = chunk, SharesPrefixes = shares })
        {
            OnLogits = (generation, values) =>
            {
                if (ReferenceEquals(generation.Request.Prompt, prompt))
                {
                    logits.Add(values.ToArray());
                }
            },
        };
        for (int n = 0; n < neighbours / 2; n++)
        {
            Add(scheduler, model, n % 2 == 0 ? [.. prompt[..70], .. Tokens(model, 50 + n, 3 + n)] : Tokens(model, 60 + n, 20 + n), 2 + (n % 5));
        }

        for (int step = 0; step < 7 && scheduler.HasWork; step++)
        {
            scheduler.Step();
        }

        Generation mine = Add(scheduler, model, prompt, Answer);
        for (int n = neighbours / 2; n < neighbours; n++)
        {
            Add(scheduler, model, n % 2 == 0 ? [.. prompt[..n]] : Tokens(model, 70 + n, 40 - n), 3);
        }

        while (scheduler.HasWork)
        {
            scheduler.Step();
        }

        List<int> ids = [];
        while (mine.TryRead(out int id))
        {
            ids.Add(id);
        }

        written = [.. ids];
        Assert.True(mine.Completion.IsCompletedSuccessfully, mine.Completion.Exception?.Message);
        return [.. logits];
    }

    private static float[][] OnePass(LanguageModel model, int[] tokens)
    {
        using WorkerPool workers = new(2);
        using ForwardContext context = new(workers);
        int vocab = model.Config.VocabSize;
        float[] logits = new float[tokens.Length * vocab];
        model.Logits(TokenBatch.FromSequences([tokens]), tokens.Length, logits, context);
        return [.. Enumerable.Range(PromptLength - 1, Answer).Select(row => logits.AsSpan(row * vocab, vocab).ToArray())];
    }

    private static Generation Add(EngineScheduler scheduler, LanguageModel model, int[] prompt, int maxTokens)
    {
        GenerationOptions options = new() { MaxTokens = maxTokens, Sampling = new SamplingOptions { Temperature = 0.7f, Seed = 3 } };
        Generation generation = new(new GenerationRequest(prompt, options), maxTokens, [], () => throw new InvalidOperationException("no text here"), TimeProvider.System);
        scheduler.Add(generation);
        return generation;
    }

    private static int[] Tokens(LanguageModel model, int seed, int count)
    {
        Random random = new(seed);
        return [.. Enumerable.Range(0, count).Select(_ => random.Next(model.Config.VocabSize))];
    }

    private static string Largest(float[] left, float[] right) => $"differ by {left.Zip(right, (a, b) => Math.Abs(a - b)).Max():g3}";

    private static LanguageModel Load(string folder, string weights)
    {
        string? fixtures = Environment.GetEnvironmentVariable("MOE_FIXTURES");
        if (fixtures is null)
        {
            Assert.Skip("MOE_FIXTURES is not set");
        }

        using ModelFiles files = ModelFiles.Open(Path.Combine(fixtures, folder));
        return files.Load(new LoadOptions { Weights = WeightTarget.Parse(weights), Threads = 2 }, TestContext.Current.CancellationToken);
    }
}
