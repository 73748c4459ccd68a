using MoeSharp.Checkpoints;
using MoeSharp.Execution;
using MoeSharp.Inference;
using MoeSharp.Kernels;
using MoeSharp.Kernels.Quantized;
using MoeSharp.Model;

namespace MoeSharp.Verification;

/// <summary>Compares what a forward pass gives: logits, hidden states, routing, the loss, the greedy continuation.</summary>
internal sealed class ForwardVerification(FixtureFiles fixture, LanguageModel model, WorkerPool workers, List<VerificationCheck> checks)
{
    private const double LogitTolerance = 1e-4; // a float32 pass differs by 1e-6 to 1e-5 from the float64 expectations
    private const double ScoreTolerance = 1e-5; // scores are at most 1
    private const double LossTolerance = 1e-5; // relative

    /// <summary>Runs every comparison that the fixture has expectations for.</summary>
    public void Run(VerificationDump dump)
    {
        using ForwardContext context = new(workers) { HiddenStates = [] };
        context.Routing.CaptureTokens = true;
        TokenBatch batch = TokenBatch.FromSequences(fixture.Tokens.InputIds);
        int vocab = model.Config.VocabSize;
        float[] logits = new float[batch.Count * vocab];
        model.Logits(batch, batch.Count, logits, context);
        dump.Write("logits.safetensors", [new NamedTensor("logits", [fixture.Tokens.InputIds.Length, batch.SequenceLength, vocab], logits)]);

        if (fixture.Has(FixtureFiles.Logits))
        {
            using SafetensorsFile expected = SafetensorsFile.Open(fixture.PathOf(FixtureFiles.Logits));
            checks.Add(Difference.MaxAbsolute("logits", logits, expected, "logits", LogitTolerance));
        }

        if (fixture.Has(FixtureFiles.Intermediates))
        {
            using SafetensorsFile expected = SafetensorsFile.Open(fixture.PathOf(FixtureFiles.Intermediates));
            CompareIntermediates(expected, context);
        }

        CompareLoss(batch);
        CompareGreedy();
    }

    /// <summary>Compares the logits alone; packed weights meet exact activations.</summary>
    /// <param name="name">Name of the comparison.</param>
    public void CompareLogits(string name)
    {
        if (!fixture.Has(FixtureFiles.Logits))
        {
            return;
        }

        using ForwardContext context = new(workers) { Activations = ActivationPrecision.Float32 };
        TokenBatch batch = TokenBatch.FromSequences(fixture.Tokens.InputIds);
        float[] logits = new float[batch.Count * model.Config.VocabSize];
        model.Logits(batch, batch.Count, logits, context);
        using SafetensorsFile expected = SafetensorsFile.Open(fixture.PathOf(FixtureFiles.Logits));
        checks.Add(Difference.MaxAbsolute(name, logits, expected, "logits", LogitTolerance));
    }

    private void CompareIntermediates(SafetensorsFile expected, ForwardContext context)
    {
        Dictionary<string, Func<string, VerificationCheck>> known = new(StringComparer.Ordinal);
        for (int index = 0; index < context.HiddenStates!.Count; index++) // set by Run
        {
            float[] hidden = context.HiddenStates[index];
            known[index == 0 ? "hidden.embed" : $"hidden.after_layer{index - 1}"] = name => Difference.MaxAbsolute(name, hidden, expected, name, LogitTolerance);
        }

        float weightScale = Math.Max(1f, model.Config.Moe?.RoutedScalingFactor ?? 1f); // weights are scores times this factor, and so is their error
        foreach (LayerRouting layer in context.Routing.Layers)
        {
            known[$"layer{layer.Layer}.router_logits"] = name => Difference.MaxAbsolute(name, layer.RouterLogits, expected, name, LogitTolerance);
            known[$"layer{layer.Layer}.router_scores"] = name => Difference.MaxAbsolute(name, layer.RouterProbs, expected, name, ScoreTolerance);
            known[$"layer{layer.Layer}.topk_index"] = name => Difference.Mismatches(name, layer.ExpertIds, Difference.ReadIntegers(expected, name));
            known[$"layer{layer.Layer}.topk_weight"] = name => Difference.MaxAbsolute(name, layer.RoutingWeights, expected, name, ScoreTolerance * weightScale);
        }

        foreach (string name in expected.Names)
        {
            checks.Add(known.TryGetValue(name, out Func<string, VerificationCheck>? compare)
                ? compare(name)
                : new VerificationCheck(name, "not computed", double.PositiveInfinity, 0, "the model has no such value"));
        }
    }

    private void CompareLoss(TokenBatch batch)
    {
        if (fixture.Expectations.NextTokenCeLoss is not { } expected)
        {
            return;
        }

        using ForwardContext context = new(workers);
        double loss = model.Loss(batch, new float[batch.Count], context) / batch.CountTargets();
        checks.Add(Difference.Relative("next_token_ce_loss", loss, expected, LossTolerance));
    }

    private void CompareGreedy()
    {
        if (fixture.Expectations is not { GreedyPrompt: { } prompt, GreedyContinuation: { } continuation })
        {
            return;
        }

        using DecodingSession session = new(model, prompt.Length + continuation.Length, prompt.Length, workers);
        Sampler sampler = new(new SamplingOptions { Temperature = 0 }, model.Config.VocabSize);
        SamplerScratch scratch = new(model.Config.VocabSize);
        session.Append(prompt);
        int[] ids = new int[continuation.Length];
        for (int i = 0; i < ids.Length; i++)
        {
            ids[i] = sampler.Sample(session.Logits, scratch);
            session.Append(ids[i]);
        }

        checks.Add(Difference.Mismatches("greedy_continuation", ids, [.. continuation.Select(id => (long)id)]));
    }
}
