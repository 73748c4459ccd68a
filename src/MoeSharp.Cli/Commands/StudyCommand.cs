using System.CommandLine;
using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using MoeSharp.Analysis.Study;
using MoeSharp.Analysis.Study.Report;
using MoeSharp.Cli.Study;
using MoeSharp.Data;
using MoeSharp.Inference;
using MoeSharp.Model;
using MoeSharp.Tokenization;

namespace MoeSharp.Cli.Commands;

/// <summary><c>moe study</c>: what a model's experts do, and what becomes of it without them.</summary>
internal static class StudyCommand
{
    private const string ResultFile = "study.json";

    /// <summary>Builds the verb.</summary>
    public static Command Create()
    {
        ModelArguments model = new(isArgument: true);
        StudyArguments arguments = new();
        Command command = new("study", "Shows what a model's experts do with a text, and what becomes of the loss when they are switched off.");
        model.AddTo(command);
        arguments.AddTo(command);
        command.SetAction(parsed => Run(parsed, model, arguments));
        return command;
    }

    private static int Run(ParseResult parsed, ModelArguments arguments, StudyArguments study)
    {
        StudySource source = study.Source(parsed);
        StudyPlan plan = study.Plan(parsed);
        string folder = study.Folder(parsed);
        using Interruption interruption = new();
        using OpenedModel opened = arguments.Open(parsed);
        Tokenizer tokenizer = opened.LoadTokenizer();
        StudyText text = Cut(source, opened.Model, tokenizer, study.Windows(parsed));
        using OpenedModel? rival = study.Rival(parsed) is { } name ? arguments.OpenOther(parsed, name) : null;
        Tokenizer? rivalTokenizer = rival?.LoadTokenizer();
        bool isSame = rivalTokenizer is null || rivalTokenizer.ContentHash == tokenizer.ContentHash;
        StudyRequest request = new()
        {
            Plan = plan,
            SwitchedOff = study.SwitchedOff(parsed),
            Questions = study.Questions(parsed, source) is > 0 and int most ? FactQuestion.From(FactTable.Create(source.CorpusSeed, SyntheticCorpus.DefaultEntitiesPerKind), tokenizer, most) : [],
            Rival = rival is null ? null : new StudySubject(study.Rival(parsed)!, rival.Model), // named, because there is one
            RivalReadsSameTokens = isSame,
            RivalText = isSame ? null : Cut(source, rival!.Model, rivalTokenizer!, study.Windows(parsed)), // another tokenizer is a rival's
            Progress = StudyProgressLine.Create(),
        };
        StudyResult result = ModelStudy.Run(new StudySubject(arguments.NameOf(parsed), opened.Model), text, source.Name, new TokenNames(tokenizer), request, opened.Workers, interruption.Token);
        result = result with { Saturation = RunSaturation.Measure(arguments.NameOf(parsed), opened.Model, opened.Folder, text, opened.Workers, interruption.Token) };
        StudyProgressLine.Clear();
        Write(result, folder);
        StudyReport.Write(folder, result);
        if (study.IsJson(parsed))
        {
            JsonDocumentOutput.Write(json => StudyJson.Write(json, result));
        }
        else
        {
            StudyScreen.Show(result, folder);
        }

        return CommandLine.Done;
    }

    private static StudyText Cut(StudySource source, LanguageModel model, Tokenizer tokenizer, EvaluationOptions options)
    {
        using Kernels.WorkerPool none = new(1);
        using Evaluator evaluator = new(model, tokenizer, options, none); // checks the window, and that model and tokenizer belong together
        return new StudyText(source.Read(tokenizer), evaluator.ContextLength, evaluator.Stride, options.RowsPerPass);
    }

    private static void Write(StudyResult result, string folder)
    {
        try
        {
            Directory.CreateDirectory(folder);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new ConfigurationException($"the folder {folder} cannot be created: {error.Message} Give another one with --out.", error);
        }

        using FileStream file = new(Path.Combine(folder, ResultFile), FileMode.Create);
        using Utf8JsonWriter json = new(file, new JsonWriterOptions { Indented = false, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
        StudyJson.Write(json, result);
    }
}
