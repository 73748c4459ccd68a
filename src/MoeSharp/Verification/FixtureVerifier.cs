using System.Text.Json;
using MoeSharp.Checkpoints;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Verification.Routing;

namespace MoeSharp.Verification;

/// <summary>Runs a folder that carries expected results and compares everything that it expects.</summary>
/// <remarks>
/// Five kinds of folders: a Hugging Face model with tokens.json, expected.json and, where present, expected_logits, intermediates, grads, grads_ce_only,
/// weights_after_steps and bias_after_update as safetensors; a model.gguf with tokens.json and logits.f32; two kinds of stored weights with the values they
/// decode to; and small numeric cases of routers, losses, capacity and layers. An expectation that is not understood is a failure, never silence.
/// </remarks>
public static class FixtureVerifier
{
    // A folder is of the first kind that knows it.
    private static readonly (Func<string, bool> Knows, Action<string, VerificationDump, WorkerPool, VerificationResults> Compare)[] s_kinds =
    [
        (Has(GgufVerification.ModelFile), (folder, dump, workers, results) => new GgufVerification(folder, workers, results).Run(dump)),
        (Has(DecodingVerification.BlocksFile), (folder, _, _, results) => DecodingVerification.CompareBlocks(folder, results)),
        (Has(DecodingVerification.IndexFile), (folder, _, _, results) => DecodingVerification.CompareRows(folder, results)),
        (Has(FixtureFiles.Expected), CompareModel),
        (RoutingVerification.IsIn, (folder, _, workers, results) => RoutingVerification.Compare(folder, workers, results)),
    ];

    /// <summary>The fixtures that a path names: the folder itself, or those below a folder that is none.</summary>
    /// <param name="path">Folder.</param>
    public static IReadOnlyList<string> Folders(string path)
    {
        if (!Directory.Exists(path) || IsFixture(path))
        {
            return [path];
        }

        string[] found = [.. Directory.EnumerateDirectories(path, "*", SearchOption.AllDirectories).Where(IsFixture).Order(StringComparer.Ordinal)];
        return found.Length > 0 ? found : [path];
    }

    /// <summary>Verifies one folder.</summary>
    /// <param name="folder">Fixture folder.</param>
    /// <param name="dumpFolder">Receives the computed tensors as safetensors files, under checkpoint names; null for none.</param>
    /// <param name="workers">Workers.</param>
    /// <exception cref="ConfigurationException">The folder, its tokens.json or its expectations are missing.</exception>
    /// <exception cref="FileFormatException">One of these is not what it should be.</exception>
    public static VerificationReport Verify(string folder, string? dumpFolder, WorkerPool workers)
    {
        int kind = Directory.Exists(folder) ? Array.FindIndex(s_kinds, candidate => candidate.Knows(folder)) : -1;
        if (kind < 0 || Has(FixtureFiles.Expected)(folder))
        {
            FixtureFiles.Load(folder); // says what is missing
        }

        VerificationResults results = new();
        try
        {
            s_kinds[kind].Compare(folder, new VerificationDump(dumpFolder), workers, results);
            return new VerificationReport(folder, results.Checks, results.Skipped, null);
        }
        catch (MoeSharpException exception)
        {
            return new VerificationReport(folder, results.Checks, results.Skipped, exception.Message);
        }
    }

    private static Func<string, bool> Has(string file) => folder => File.Exists(Path.Combine(folder, file));

    private static bool IsFixture(string folder) => Array.Exists(s_kinds, kind => kind.Knows(folder));

    private static void CompareModel(string folder, VerificationDump dump, WorkerPool workers, VerificationResults results)
    {
        FixtureFiles fixture = FixtureFiles.Load(folder);
        using LanguageModel model = ModelFolder.Load(folder);
        foreach (string file in fixture.Unknown())
        {
            results.AddUnknown(file, "no comparison is known for this file");
        }

        new ForwardVerification(fixture, model, workers, results.Checks).Run(dump);
        CompareStored(fixture, workers, results);
        IReadOnlyList<string> limits = TrainingLimits.Of(model.Config);
        if (limits.Count > 0)
        {
            results.Skipped.Add(new VerificationSkip("training", $"training of {model.Config.ModelType} is not supported because there is no backward pass for {string.Join(", ", limits)}"));
        }
        else if (fixture.Expectations.Train is { } training)
        {
            FixtureBalance balance = FixtureBalance.Read(training, model.Config, IsBalancePerSequence(fixture.PathOf(ModelFolder.ConfigFile)));
            new TrainingVerification(fixture, training, model, workers, results).Run(balance, dump);
        }
    }

    // The same logits from weights that are kept in the formats of the file, where these are others than float32.
    private static void CompareStored(FixtureFiles fixture, WorkerPool workers, VerificationResults results)
    {
        using ModelFiles files = ModelFiles.Open(fixture.Folder);
        if (files.Plan(WeightTarget.Native).Any(weight => weight.IsPacked))
        {
            using LanguageModel model = files.Load(new LoadOptions { Weights = WeightTarget.Native, Threads = workers.Workers });
            new ForwardVerification(fixture, model, workers, results.Checks).CompareLogits("logits, weights as stored");
        }
    }

    /// <summary>seq_aux of the released models' config.json: the balance loss per sequence, which is the default, or over the batch.</summary>
    private static bool IsBalancePerSequence(string path)
    {
        using JsonDocument config = JsonDocument.Parse(File.ReadAllText(path));
        return !config.RootElement.TryGetProperty("seq_aux", out JsonElement value) || value.ValueKind != JsonValueKind.False;
    }
}
