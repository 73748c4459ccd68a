using MoeSharp.Checkpoints;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Training;

namespace MoeSharp.Verification;

/// <summary>Compares losses, gradients and optimiser steps. Changes the model's weights.</summary>
internal sealed class TrainingVerification(FixtureFiles fixture, FixtureTraining training, LanguageModel model, WorkerPool workers, List<VerificationCheck> checks)
{
    private const double LossTolerance = 1e-5; // relative
    private const double GradientTolerance = 1e-4; // relative norm per tensor; float32 gives 1e-6 to 2e-6
    private const double CloseWeight = 5e-6; // absolute; all but a thousandth of the weights must be as close as this after the steps
    private const double FarShare = 1e-3;
    private const double AnyWeight = 1e-3; // absolute; Adam divides by |g|, so a gradient near zero can move a weight by up to the learning rate

    /// <summary>Runs every comparison that the fixture has expectations for.</summary>
    /// <param name="balance">Auxiliary losses of the fixture.</param>
    /// <param name="dump">Receives gradients and updated weights.</param>
    public void Run(BalanceConfig balance, VerificationDump dump)
    {
        OptimizerConfig config = new() { DecayEveryTensor = true };
        if (training.Steps is { } steps)
        {
            FixtureAdamW adamW = steps.Adamw;
            config = config with { Beta1 = adamW.B1, Beta2 = adamW.B2, Epsilon = adamW.Eps, WeightDecay = adamW.Wd, ClipNorm = adamW.Clip };
        }

        using AdamWOptimizer optimizer = new(model.Parameters, config);
        using ForwardContext context = new(workers);
        Differentiate(fixture.Tokens.InputIds, new BalanceConfig(), optimizer, context);
        CompareGradients(FixtureFiles.LossGradients, "gradients of cross-entropy", dump);
        CompareParts("", training.LossParts, Differentiate(fixture.Tokens.InputIds, balance, optimizer, context));
        CompareGradients(FixtureFiles.Gradients, "gradients of total loss", dump);
        if (training.Steps is { } run)
        {
            CompareSteps(run, balance, optimizer, context, dump);
        }
    }

    private void CompareSteps(FixtureSteps run, BalanceConfig balance, AdamWOptimizer optimizer, ForwardContext context, VerificationDump dump)
    {
        if (fixture.Tokens.TrainBatches.Length < run.Count || run.Log.Count > run.Count)
        {
            throw new FileFormatException($"{fixture.Folder}: {run.Count} optimiser steps are expected, tokens.json has {fixture.Tokens.TrainBatches.Length} train_batches and the log {run.Log.Count} entries");
        }

        for (int step = 0; step < run.Count; step++)
        {
            Dictionary<string, double> parts = Differentiate(fixture.Tokens.TrainBatches[step], balance, optimizer, context);
            double norm = optimizer.GradientNorm(workers);
            parts["grad_norm"] = norm;
            if (step < run.Log.Count)
            {
                CompareParts($"step {step + 1}: ", run.Log[step], parts);
            }

            optimizer.Step(run.Adamw.Lr, norm, workers);
        }

        CompareWeights(dump);
    }

    /// <summary>One forward and backward pass.</summary>
    /// <returns>The loss's parts without their factors, and the total.</returns>
    private Dictionary<string, double> Differentiate(int[][] sequences, BalanceConfig balance, AdamWOptimizer optimizer, ForwardContext context)
    {
        TokenBatch batch = TokenBatch.FromSequences(sequences);
        optimizer.ClearGradients();
        int targets = batch.CountTargets();
        double loss = model.ForwardBackward(batch, balance, 1f / targets, 1f, context) / targets;
        Dictionary<string, double> parts = new(StringComparer.Ordinal) { ["ce"] = loss };
        double total = loss;
        foreach (LayerRouting layer in context.Routing.Layers)
        {
            parts[$"expert_balance.layer{layer.Layer}"] = layer.ExpertLoss;
            parts[$"device_balance.layer{layer.Layer}"] = layer.DeviceLoss;
            total += (balance.ExpertAlpha * (double)layer.ExpertLoss) + (balance.DeviceAlpha * (double)layer.DeviceLoss);
        }

        parts["total"] = total;
        return parts;
    }

    private void CompareParts(string prefix, Dictionary<string, double> expected, Dictionary<string, double> actual)
    {
        foreach ((string name, double value) in expected)
        {
            checks.Add(actual.TryGetValue(name, out double computed)
                ? Difference.Relative(prefix + name, computed, value, LossTolerance)
                : new VerificationCheck(prefix + name, "not computed", double.PositiveInfinity, 0, "the model has no such loss"));
        }
    }

    private void CompareGradients(string file, string name, VerificationDump dump)
    {
        List<NamedTensor> gradients = NamedWeights.Gradients(model);
        dump.Write(file, gradients);
        if (!fixture.Has(file))
        {
            return;
        }

        using SafetensorsFile expected = SafetensorsFile.Open(fixture.PathOf(file));
        CheckNames(expected, gradients);
        (double worst, string where) = (0, gradients[0].Name);
        foreach (NamedTensor gradient in gradients)
        {
            double difference = Difference.RelativeNorm(gradient.Values.Span, Difference.Read(expected, gradient.Name));
            if (difference > worst)
            {
                (worst, where) = (difference, gradient.Name);
            }
        }

        checks.Add(new VerificationCheck(name, "relative norm", worst, GradientTolerance, $"{gradients.Count} tensors, worst {where}"));
    }

    private void CompareWeights(VerificationDump dump)
    {
        List<NamedTensor> weights = NamedWeights.Values(model);
        dump.Write(FixtureFiles.UpdatedWeights, weights);
        if (!fixture.Has(FixtureFiles.UpdatedWeights))
        {
            return;
        }

        using SafetensorsFile expected = SafetensorsFile.Open(fixture.PathOf(FixtureFiles.UpdatedWeights));
        CheckNames(expected, weights);
        (long count, long far, double worst, string where) = (0, 0, 0, weights[0].Name);
        foreach (NamedTensor weight in weights)
        {
            float[] wanted = Difference.Read(expected, weight.Name);
            ReadOnlySpan<float> actual = weight.Values.Span;
            for (int i = 0; i < wanted.Length; i++)
            {
                double difference = Math.Abs(actual[i] - (double)wanted[i]);
                far += difference <= CloseWeight ? 0 : 1;
                if (!(difference <= worst))
                {
                    (worst, where) = (double.IsNaN(difference) ? double.PositiveInfinity : difference, weight.Name);
                }
            }

            count += wanted.Length;
        }

        checks.Add(new VerificationCheck("weights after steps", "max abs", worst, AnyWeight, $"{count} values, worst {where}"));
        checks.Add(new VerificationCheck("weights after steps", Difference.Text($"share beyond {CloseWeight:G1}"), (double)far / count, FarShare, $"{far} of {count} values"));
    }

    private static void CheckNames(SafetensorsFile expected, List<NamedTensor> actual)
    {
        string? difference = expected.Names.Except(actual.Select(tensor => tensor.Name), StringComparer.Ordinal).FirstOrDefault();
        if (difference is not null)
        {
            throw new FileFormatException($"{expected.Path}: the model has no tensor {difference}");
        }

        foreach (NamedTensor tensor in actual)
        {
            if (!expected.Tensor(tensor.Name).Shape.SequenceEqual(tensor.Shape.Select(dimension => (long)dimension)))
            {
                throw new FileFormatException($"{expected.Path}: tensor {tensor.Name} has another shape than the model's [{string.Join(", ", tensor.Shape)}]");
            }
        }
    }
}
