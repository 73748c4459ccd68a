using System.CommandLine;
using MoeSharp.Checkpoints;
using MoeSharp.Checkpoints.Export;
using MoeSharp.Cli.Training;
using MoeSharp.Inference;
using MoeSharp.Kernels;
using MoeSharp.Kernels.Quantized;
using MoeSharp.Model;
using MoeSharp.Tokenization;

namespace MoeSharp.Cli;

/// <summary>What <c>moe quantize</c> and <c>moe convert</c> share: both write a model in another form, with a receipt.</summary>
internal sealed class ExportArguments
{
    private const int DefaultCalibrationTokens = 8192;
    private const int DefaultCheckTokens = 512;

    private readonly Argument<string> _model = new("model") { Description = "A Hugging Face model folder, a .gguf file, a run folder or a checkpoint." };
    private readonly Option<string> _out = new("--out") { Description = "What to write: a name that ends in .gguf, or a new folder (f32 and bf16 only).", Required = true };
    private readonly Option<string?> _calibrate = new("--calibrate") { Description = "Text file; columns of the weights that it uses much keep more precision." };
    private readonly Option<int> _calibrateTokens = new("--calibrate-tokens") { Description = "Most tokens of it.", DefaultValueFactory = _ => DefaultCalibrationTokens };
    private readonly Option<string?> _check = new("--check") { Description = "Text file; the receipt compares the two models' logits on it." };
    private readonly Option<int> _checkTokens = new("--check-tokens") { Description = "Most tokens of it.", DefaultValueFactory = _ => DefaultCheckTokens };
    private readonly Option<int> _threads = RunOptions.Threads();
    private readonly Option<bool> _json = RunOptions.Json();

    /// <summary>Gives the options to a command.</summary>
    /// <param name="command">Command.</param>
    /// <param name="calibrates">Whether it takes calibration text.</param>
    public void AddTo(Command command, bool calibrates)
    {
        command.Arguments.Add(_model);
        command.Options.Add(_out);
        foreach (Option option in calibrates ? (Option[])[_calibrate, _calibrateTokens] : [])
        {
            command.Options.Add(option);
        }

        foreach (Option option in (Option[])[_check, _checkTokens, _threads, _json])
        {
            command.Options.Add(option);
        }
    }

    /// <summary>Writes the model and its receipt.</summary>
    /// <param name="parsed">Arguments.</param>
    /// <param name="weights">Formats.</param>
    /// <param name="calibrates">Whether the command takes calibration text.</param>
    public int Run(ParseResult parsed, WeightTarget weights, bool calibrates)
    {
        string path = ModelArguments.FindPath(parsed.GetRequiredValue(_model));
        string target = parsed.GetRequiredValue(_out);
        int threads = RunOptions.CheckThreads(parsed.GetValue(_threads));
        (string? text, string? check) = (calibrates ? parsed.GetValue(_calibrate) : null, parsed.GetValue(_check));
        (int textTokens, int checkTokens) = (calibrates ? Positive(parsed, _calibrateTokens) : 0, Positive(parsed, _checkTokens));
        ModelExport.CheckTarget(target, weights);
        RequireTokens(path, [.. new[] { text, check }.OfType<string>()]);
        using Interruption interruption = new();
        CalibrationResult calibration = text is null ? new CalibrationResult(null, 0) : Calibrate(path, text, textTokens, threads, interruption.Token);
        using ModelFiles files = ModelFiles.Open(path);
        LoadProgressLine progress = new("writing");
        ExportReport report = ModelExport.Write(files, target, new ExportOptions { Weights = weights, Importance = calibration.Importance, Threads = threads, Progress = progress.Show }, interruption.Token);
        progress.Finish();
        LogitDistance? distance = check is null ? null : Compare(path, target, check, checkTokens, threads, interruption.Token);
        ExportReceipt receipt = new(path, files.Config, weights, report, calibration.Tokens, distance);
        receipt.Save();
        parsed.InvocationConfiguration.Output.Write(parsed.GetValue(_json) ? receipt.ToJson() : receipt.ToText());
        return CommandLine.Done;
    }

    // Asked before hours of work, after which the new file would be there and its receipt would not.
    private static void RequireTokens(string model, IReadOnlyList<string> texts)
    {
        string[] contents = [.. texts.Select(text => TextFile.Read(text))];
        Tokenizer? tokenizer = texts.Count == 0 ? null : GgufTokenizer.LoadAny(model);
        for (int index = 0; index < contents.Length; index++)
        {
            _ = Tokens(tokenizer!, contents[index], texts[index]); // there is one where there are texts
        }
    }

    private static int Positive(ParseResult parsed, Option<int> option) =>
        parsed.GetValue(option) is > 0 and var value ? value : throw new ConfigurationException($"{option.Name} must be at least 1");

    private static CalibrationResult Calibrate(string path, string text, int most, int threads, CancellationToken cancel)
    {
        using OpenedModel opened = ModelArguments.Open(path, WeightTarget.Native, ActivationPrecision.Float32, threads);
        int[] tokens = Tokens(opened, text, most);
        bool shows = !Console.IsErrorRedirected;
        ColumnImportance importance = Calibration.Collect(opened.Model, tokens, opened.Workers, shows ? done => Console.Error.Write($"\rmoe: calibrating, {done} of {tokens.Length} tokens ") : null, cancel);
        Console.Error.Write(shows ? "\n" : "");
        return new CalibrationResult(importance, tokens.Length);
    }

    // Both models in turn, so that one is in memory at a time.
    private static LogitDistance Compare(string source, string target, string text, int most, int threads, CancellationToken cancel)
    {
        string folder = Directory.CreateTempSubdirectory("moesharp-").FullName;
        try
        {
            (string first, string second) = (Path.Combine(folder, "first"), Path.Combine(folder, "second"));
            int vocab;
            int[][] windows;
            using (OpenedModel opened = ModelArguments.Open(source, WeightTarget.Native, ActivationPrecision.Float32, threads))
            {
                windows = [.. Tokens(opened, text, most).Chunk(Calibration.WindowLength)];
                vocab = opened.Model.Config.VocabSize;
                LogitsFile.Write(opened.Model, windows, first, opened.Workers, cancel);
            }

            using (OpenedModel opened = ModelArguments.Open(target, WeightTarget.Native, ActivationPrecision.Float32, threads))
            {
                LogitsFile.Write(opened.Model, windows, second, opened.Workers, cancel);
            }

            return Compare(first, second, vocab);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static LogitDistance Compare(string first, string second, int vocab)
    {
        LogitDistance distance = new();
        using FileStream left = File.OpenRead(first);
        using FileStream right = File.OpenRead(second);
        byte[] bytes = new byte[vocab * sizeof(float)];
        (float[] reference, float[] other) = (new float[vocab], new float[vocab]);
        while (left.Position < left.Length)
        {
            left.ReadExactly(bytes);
            NumberFormats.ReadFloat32(bytes, reference);
            right.ReadExactly(bytes);
            NumberFormats.ReadFloat32(bytes, other);
            distance.Add(reference, other, vocab);
        }

        return distance;
    }

    private static int[] Tokens(OpenedModel opened, string path, int most)
    {
        int[] tokens = Tokens(opened.LoadTokenizer(), TextFile.Read(path), path);
        return tokens[..Math.Min(most, tokens.Length)];
    }

    private static int[] Tokens(Tokenizer tokenizer, string text, string path)
    {
        int[] tokens = tokenizer.Encode(text, addSpecialTokens: true);
        return text.Length > 0 && tokens.Length > 0 ? tokens : throw new ConfigurationException($"{path} has no text. Give some of the kind that the model is for.");
    }

    private readonly record struct CalibrationResult(ColumnImportance? Importance, int Tokens);
}
