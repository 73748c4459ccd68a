using System.Text.Json;
using MoeSharp.Checkpoints;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Moe.Balance;
using MoeSharp.Training;

namespace MoeSharp.Verification;

/// <summary>Compares losses, gradients and optimiser steps. Changes the model's weights.</summary>
internal sealed class TrainingVerification(FixtureFiles fixture, FixtureTraining training, LanguageModel model, WorkerPool workers, VerificationResults results)
{
    private const double LossTolerance = 1e-5; // relative
    private const double GradientTolerance = 1e-4; // relative norm per tensor; float32 gives 1e-6 to 2e-6
    private const double CloseWeight = 5e-6; // absolute; all but a thousandth of the weights must be as close as this after the steps
    private const double FarShare = 1e-3;
    private const double BiasTolerance = 1e-7; // absolute; one rounding of a sum of two numbers below 1
    private const string AccuracyNote = "f32_vs_f64"; // how near float32 comes in the reference; nothing to compare
    private const double AnyWeight = 1e-3; // absolute; Adam divides by |g|, so a gradient near zero can move a weight by up to the learning rate

    /// <summary>Runs every comparison that the fixture has expectations for.</summary>
    /// <param name="balance">Auxiliary losses of the fixture.</param>
    /// <param name="dump">Receives gradients and updated weights.</param>
    public void Run(FixtureBalance balance, VerificationDump dump)
    {
        OptimizerConfig config = new() { DecayEveryTensor = true };
        if (training.Steps is { } steps)
        {
            FixtureAdamW adamW = steps.Adamw;
            config = config with { Beta1 = adamW.B1, Beta2 = adamW.B2, Epsilon = adamW.Eps, WeightDecay = adamW.Wd, ClipNorm = adamW.Clip };
        }

        using AdamWOptimizer optimizer = new(model.Parameters, config);
        using ForwardContext context = new(workers);
        Differentiate(fixture.Tokens.InputIds, balance.WithoutLosses, optimizer, context);
        CompareGradients(FixtureFiles.LossGradients, "gradients of cross-entropy", dump);
        CompareParts("", training.LossParts, Differentiate(fixture.Tokens.InputIds, balance, optimizer, context));
        CompareLoads(context.Routing);
        CompareGradients(FixtureFiles.Gradients, "gradients of total loss", dump);
        CompareBiases(balance.BiasUpdateSpeed, context.Routing);
        if (training.Steps is { } run)
        {
            CompareSteps(run, balance, optimizer, context, dump);
        }
    }

    private void CompareLoads(RoutingRecord record)
    {
        Dictionary<string, long[]> loads = record.Layers.ToDictionary(layer => $"expert_load.layer{layer.Layer}", layer => layer.TokensPerExpert, StringComparer.Ordinal);
        foreach ((string name, JsonElement value) in training.Others)
        {
            if (loads.TryGetValue(name, out long[]? load))
            {
                results.Checks.Add(Difference.Mismatches(name, [.. load.Select(count => (int)count)], [.. value.EnumerateArray().Select(count => count.GetInt64())]));
            }
            else if (!name.StartsWith(AccuracyNote, StringComparison.Ordinal))
            {
                results.AddUnknown($"train.{name}", "no comparison is known for this value");
            }
        }
    }

    // The move follows the loads of the last pass. Copies are moved: what comes after starts from the same model.
    private void CompareBiases(float speed, RoutingRecord record)
    {
        if (!fixture.Has(FixtureFiles.MovedBiases))
        {
            return;
        }

        using SafetensorsFile expected = SafetensorsFile.Open(fixture.PathOf(FixtureFiles.MovedBiases));
        ILookup<string, string> names = WeightNames.Of(model.Config).ToLookup(slice => slice.ParameterName, slice => slice.CheckpointName, StringComparer.Ordinal);
        HashSet<string> compared = [];
        foreach (LayerRouting layer in record.Layers)
        {
            if (model.SelectionBias(layer.Layer) is not { } bias)
            {
                continue;
            }

            float[] moved = bias.Value.ToArray();
            SelectionBias.Move(moved, layer.TokensPerExpert, speed);
            string name = names[bias.Name].Single();
            results.Checks.Add(Difference.MaxAbsolute($"bias after update, layer {layer.Layer}", moved, expected, name, BiasTolerance));
            compared.Add(name);
        }

        foreach (string name in expected.Names.Where(name => !compared.Contains(name)))
        {
            results.AddUnknown(name, "the model has no such bias");
        }
    }

    private void CompareSteps(FixtureSteps run, FixtureBalance balance, AdamWOptimizer optimizer, ForwardContext context, VerificationDump dump)
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
    private Dictionary<string, double> Differentiate(int[][] sequences, FixtureBalance balance, AdamWOptimizer optimizer, ForwardContext context)
    {
        TokenBatch batch = TokenBatch.FromSequences(sequences);
        optimizer.ClearGradients();
        int targets = batch.CountTargets();
        double loss = model.ForwardBackward(batch, balance.Config, 1f / targets, 1f, context) / targets;
        return balance.Parts(loss, context.Routing);
    }

    private void CompareParts(string prefix, Dictionary<string, double> expected, Dictionary<string, double> actual)
    {
        foreach ((string name, double value) in expected)
        {
            results.Checks.Add(actual.TryGetValue(name, out double computed)
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

        results.Checks.Add(new VerificationCheck(name, "relative norm", worst, GradientTolerance, $"{gradients.Count} tensors, worst {where}"));
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

        results.Checks.Add(new VerificationCheck("weights after steps", "max abs", worst, AnyWeight, $"{count} values, worst {where}"));
        results.Checks.Add(new VerificationCheck("weights after steps", Difference.Text($"share beyond {CloseWeight:G1}"), (double)far / count, FarShare, $"{far} of {count} values"));
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
