using System.Text.Json;
using MoeSharp.Checkpoints;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Kernels.Quantized;
using MoeSharp.Model;

namespace MoeSharp.Verification;

/// <summary>Compares the logits of a GGUF model, its weights used in the formats of the file.</summary>
/// <remarks>
/// <c>logits.f32</c> holds what the decoded weights give in exact arithmetic: float32 activations must come near it. <c>logits_llamacpp_quant.f32</c> is what another
/// program gives that rounds activations to 8 bits: with 8-bit activations this one must be no farther from the exact logits.
/// </remarks>
internal sealed class GgufVerification(string folder, WorkerPool workers, VerificationResults results)
{
    public const string ModelFile = "model.gguf";

    private const string TokensFile = "tokens.json";
    private const string ExactFile = "logits.f32";
    private const string RoundedFile = "logits_llamacpp_quant.f32";
    private const double LogitTolerance = 5e-5; // logits have deviation 1; float32 passes differ from each other by 2e-6

    public void Run(VerificationDump dump)
    {
        int[] tokens = ReadTokens();
        using ModelFiles files = ModelFiles.Open(Path.Combine(folder, ModelFile));
        using LanguageModel model = files.Load(new LoadOptions { Weights = WeightTarget.Native, Threads = workers.Workers });
        int vocab = model.Config.VocabSize;
        float[] expected = ReadLogits(ExactFile, tokens.Length, vocab);
        float[] exact = Logits(model, tokens, ActivationPrecision.Float32);
        dump.Write("logits.safetensors", [new NamedTensor("logits", [tokens.Length, vocab], exact)]);
        LogitDistance found = LogitDistance.Of(exact, expected, vocab);
        AddLargest("logits", found, LogitTolerance, exact, expected);
        results.Checks.Add(new VerificationCheck("logits", "other choices", found.NumOtherChoices, 0, Difference.Text($"largest logit of {found.NumRows} rows; mean KL {found.MeanDivergence:G3}")));
        if (File.Exists(Path.Combine(folder, RoundedFile)))
        {
            float[] rounded = Logits(model, tokens, ActivationPrecision.Int8);
            dump.Write("logits_int8.safetensors", [new NamedTensor("logits", [tokens.Length, vocab], rounded)]);
            CompareRounded(rounded, ReadLogits(RoundedFile, tokens.Length, vocab), expected, vocab);
        }
    }

    // No farther from the exact logits than the other program. Where the two largest are nearer to each other than its own error, either is a fair choice.
    private void CompareRounded(float[] rounded, float[] theirs, float[] expected, int vocab)
    {
        const string Name = "logits, 8-bit activations";
        LogitDistance found = LogitDistance.Of(rounded, expected, vocab);
        LogitDistance limit = LogitDistance.Of(theirs, expected, vocab);
        AddLargest(Name, found, limit.MaxAbsolute, rounded, expected);
        results.Checks.Add(new VerificationCheck(Name, "root mean square", found.RootMeanSquare, limit.RootMeanSquare, Difference.Text($"{expected.Length} values")));
        results.Checks.Add(new VerificationCheck(Name, "mean KL", found.MeanDivergence, limit.MeanDivergence, Difference.Text($"{found.NumRows} rows")));
        string same = Difference.Text($"{found.NumRows - found.NumOtherChoices} of {found.NumRows} rows have the same largest logit, {limit.NumRows - limit.NumOtherChoices} of the other program's");
        results.Checks.Add(new VerificationCheck(Name, "choice falls short", found.LargestShortfall, limit.MaxAbsolute, same));
    }

    private void AddLargest(string name, LogitDistance found, double tolerance, float[] actual, float[] expected) => results.Checks.Add(new VerificationCheck(
        name, "max abs", found.MaxAbsolute, tolerance, Difference.Text($"{expected.Length} values, worst at {found.At}: {actual[found.At]:G7} for {expected[found.At]:G7}")));

    private float[] Logits(LanguageModel model, int[] tokens, ActivationPrecision precision)
    {
        using ForwardContext context = new(workers) { Activations = precision };
        float[] logits = new float[tokens.Length * model.Config.VocabSize];
        model.Logits(TokenBatch.FromSequences([tokens]), tokens.Length, logits, context);
        return logits;
    }

    private int[] ReadTokens()
    {
        string path = Path.Combine(folder, TokensFile);
        if (!File.Exists(path))
        {
            throw new ConfigurationException($"{path}: no such file. A folder with {ModelFile} has {TokensFile} and {ExactFile} beside it.");
        }

        try
        {
            return JsonSerializer.Deserialize(File.ReadAllText(path), FixtureJson.Default.Int32Array) is { Length: > 0 } tokens
                ? tokens
                : throw new FileFormatException($"{path}: there is no token");
        }
        catch (JsonException exception)
        {
            throw new FileFormatException($"{path}: {exception.Message}", exception);
        }
    }

    private float[] ReadLogits(string file, int rows, int vocab)
    {
        string path = Path.Combine(folder, file);
        if (!File.Exists(path))
        {
            throw new ConfigurationException($"{path}: no such file. A folder with {ModelFile} has {TokensFile} and {ExactFile} beside it.");
        }

        byte[] bytes = File.ReadAllBytes(path);
        if (bytes.LongLength != (long)rows * vocab * sizeof(float))
        {
            throw new FileFormatException($"{path}: {bytes.LongLength} bytes; {rows} tokens times {vocab} logits are {(long)rows * vocab * sizeof(float)}");
        }

        float[] logits = new float[rows * vocab];
        NumberFormats.ReadFloat32(bytes, logits);
        return logits;
    }
}
