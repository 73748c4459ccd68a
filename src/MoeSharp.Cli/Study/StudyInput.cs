using System.CommandLine;
using System.Text.Json.Nodes;
using MoeSharp.Analysis.Study;
using MoeSharp.Data.Synthetic;
using MoeSharp.Inference;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Tokenization;
using MoeSharp.Training;
using MoeSharp.Training.Comparison;

namespace MoeSharp.Cli.Study;

/// <summary>The text of a study in a model's tokens.</summary>
/// <param name="Text">Text.</param>
/// <param name="Tokenizer">Tokenizer of the model; null for a generated language, whose tokens spell nothing.</param>
/// <param name="Floor">Loss of the truth, where it is known.</param>
internal sealed record StudyInput(StudyText Text, Tokenizer? Tokenizer, double? Floor)
{
    private const ulong LineSeed = 0x57D1; // arbitrary: other lines than those that a run is measured on

    /// <summary>Reads the text.</summary>
    /// <param name="source">What to read.</param>
    /// <param name="named">The model, as the user named it.</param>
    /// <param name="opened">The model.</param>
    /// <param name="windows">Window and stride.</param>
    public static StudyInput Read(StudySource source, string named, OpenedModel opened, EvaluationOptions windows) =>
        source.Ids is { } ids ? Take(ids, source.MostTokens, opened.Model.Config, windows)
        : source.Language is { } kind ? Generate(source, kind, named, opened.Model.Config)
        : Encode(source, opened, windows);

    private static StudyInput Take(string path, int mostTokens, ModelConfig config, EvaluationOptions windows)
    {
        int[][] sequences = TokenSequences.Read(path);
        TokenSequences.CheckVocabulary(sequences, config.VocabSize, path);
        List<StudyDocument> documents = [];
        long left = mostTokens;
        foreach (int[] ids in sequences.Where(ids => ids.Length > 1).TakeWhile(_ => left > 0))
        {
            documents.Add(StudyDocument.Of(ids.Length - 1 <= left ? ids : ids[..(int)(left + 1)], "", 0));
            left -= ids.Length - 1;
        }

        int longest = config.MaxPositionEmbeddings;
        int context = windows.ContextLength ?? longest;
        int stride = windows.Stride ?? Math.Max(1, context / 2);
        return context >= 1 && context <= longest && stride >= 1 && stride <= context
            ? new StudyInput(new StudyText(documents, context, stride, windows.RowsPerPass), null, null)
            : throw new ConfigurationException($"--context {context} must be from 1 to the model's {longest}, --stride {stride} from 1 to the context");
    }

    private static StudyInput Encode(StudySource source, OpenedModel opened, EvaluationOptions windows)
    {
        Tokenizer tokenizer = opened.LoadTokenizer();
        using WorkerPool none = new(1);
        using Evaluator evaluator = new(opened.Model, tokenizer, windows, none); // checks the window, and that model and tokenizer belong together
        return new StudyInput(new StudyText(source.Read(tokenizer), evaluator.ContextLength, evaluator.Stride, windows.RowsPerPass), tokenizer, null);
    }

    private static StudyInput Generate(StudySource source, string kind, string named, ModelConfig config)
    {
        KnownLanguage language = ComparisonConfigJson.Language(kind, SettingsOf(named, kind));
        int rows = language.LineTokens - 1;
        if (language.VocabSize > config.VocabSize || rows > config.MaxPositionEmbeddings)
        {
            throw new ConfigurationException($"--data {kind} has {language.VocabSize} tokens in lines of {language.LineTokens}; the model has a vocabulary of {config.VocabSize} and a context of {config.MaxPositionEmbeddings}. Give the folder of a run that was trained on it.");
        }

        HeldOutTruth truth = HeldOutTruth.Draw(language, Math.Max(1, source.MostTokens / language.TargetsPerLine), LineSeed);
        return new StudyInput(new StudyText(StudyDocument.Lines(truth), rows, rows, new EvaluationOptions().RowsPerPass), null, truth.Entropy);
    }

    // A run says which language it was trained on; its tables are drawn from these settings.
    private static JsonObject? SettingsOf(string named, string kind)
    {
        if (!File.Exists(Path.Combine(named, RunFolder.DescriptionFile)))
        {
            return null;
        }

        JsonObject? settings = RunFolder.Open(named).Description["text"]?["language"] as JsonObject;
        return settings is null || settings["kind"]?.GetValue<string>() == kind
            ? settings
            : throw new ConfigurationException($"{named} was trained on {settings["kind"]}, not on {kind}. Give --data {settings["kind"]}.");
    }
}
