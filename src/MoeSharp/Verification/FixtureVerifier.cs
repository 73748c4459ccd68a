using System.Text.Json;
using MoeSharp.Checkpoints;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;

namespace MoeSharp.Verification;

/// <summary>Runs a model folder that carries expected results and compares everything that it expects.</summary>
/// <remarks>
/// Files: config.json and weights; tokens.json; expected.json; and, where present, expected_logits, intermediates, grads,
/// grads_ce_only and weights_after_steps as safetensors. An expectation that is not understood is a failure, never silence.
/// </remarks>
public static class FixtureVerifier
{
    /// <summary>Verifies one folder.</summary>
    /// <param name="folder">Fixture folder.</param>
    /// <param name="dumpFolder">Receives the computed tensors as safetensors files, under checkpoint names; null for none.</param>
    /// <param name="workers">Workers.</param>
    /// <exception cref="ConfigurationException">The folder, its tokens.json or its expected.json is missing.</exception>
    /// <exception cref="FileFormatException">One of these is not what it should be.</exception>
    public static VerificationReport Verify(string folder, string? dumpFolder, WorkerPool workers)
    {
        FixtureFiles fixture = FixtureFiles.Load(folder);
        List<VerificationCheck> checks = [];
        try
        {
            Compare(fixture, new VerificationDump(dumpFolder), workers, checks);
            return new VerificationReport(folder, checks, null);
        }
        catch (MoeSharpException exception)
        {
            return new VerificationReport(folder, checks, exception.Message);
        }
    }

    private static void Compare(FixtureFiles fixture, VerificationDump dump, WorkerPool workers, List<VerificationCheck> checks)
    {
        using LanguageModel model = ModelFolder.Load(fixture.Folder);
        foreach (string file in fixture.Unknown())
        {
            checks.Add(new VerificationCheck(file, "not understood", double.PositiveInfinity, 0, "no comparison is known for this file"));
        }

        new ForwardVerification(fixture, model, workers, checks).Run(dump);
        if (fixture.Expectations.Train is { } training)
        {
            BalanceConfig balance = training.Balance(IsBalancePerSequence(fixture.PathOf(ModelFolder.ConfigFile)));
            new TrainingVerification(fixture, training, model, workers, checks).Run(balance, dump);
        }
    }

    /// <summary>seq_aux of the released models' config.json: the balance loss per sequence, which is the default, or over the batch.</summary>
    private static bool IsBalancePerSequence(string path)
    {
        using JsonDocument config = JsonDocument.Parse(File.ReadAllText(path));
        return !config.RootElement.TryGetProperty("seq_aux", out JsonElement value) || value.ValueKind != JsonValueKind.False;
    }
}
