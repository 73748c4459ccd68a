using System.CommandLine;
using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using MoeSharp.Analysis.Study;
using MoeSharp.Analysis.Study.Report;
using MoeSharp.Cli.Study;
using MoeSharp.Cli.Training;
using MoeSharp.Data;
using MoeSharp.Execution;
using MoeSharp.Model;
using MoeSharp.Training;

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
        IReadOnlyList<ExpertPlace> switchedOff = study.SwitchedOff(parsed);
        string folder = study.Folder(parsed);
        if (File.Exists(Path.Combine(folder, RunFolder.DescriptionFile)))
        {
            throw new ConfigurationException($"{folder} holds a run, whose {StudyReport.FileName} the study would replace. Give another folder with --out.");
        }

        using Interruption interruption = new();
        using OpenedModel opened = arguments.Open(parsed);
        string named = arguments.NameOf(parsed);
        StudyInput input = StudyInput.Read(source, named, opened, study.Windows(parsed));
        RunScreen.Warn(DecodingLimits.LossWarnings(opened.Model.Config));
        using OpenedModel? rival = study.Rival(parsed) is { } name ? arguments.OpenOther(parsed, name) : null;
        bool isSame = rival is null || input.Tokenizer is null || rival.LoadTokenizer().ContentHash == input.Tokenizer.ContentHash;
        StudyRequest request = new()
        {
            Plan = plan,
            SwitchedOff = switchedOff,
            Questions = Questions(study.Questions(parsed, source), source, input),
            Rival = rival is null ? null : new StudySubject(study.Rival(parsed)!, rival.Model), // named, because there is one
            RivalReadsSameTokens = isSame,
            RivalText = isSame ? null : StudyInput.Read(source, study.Rival(parsed)!, rival!, study.Windows(parsed)).Text, // another tokenizer is a rival's
            Progress = StudyProgressLine.Create(),
        };
        MakeFolder(folder); // before the passes, so that none of them is in vain
        StudyResult result = ModelStudy.Run(new StudySubject(named, opened.Model), input.Text, source.Name, new TokenNames(input.Tokenizer), request, opened.Workers, interruption.Token);
        result = result with { Floor = input.Floor, Saturation = RunSaturation.Measure(named, opened.Model, opened.Folder, input.Text, opened.Workers, interruption.Token) };
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

    private static IReadOnlyList<FactQuestion> Questions(int most, StudySource source, StudyInput input)
    {
        if (most == 0)
        {
            return [];
        }

        return input.Tokenizer is { } tokenizer
            ? FactQuestion.From(FactTable.Create(source.CorpusSeed, SyntheticCorpus.DefaultEntitiesPerKind), tokenizer, most)
            : throw new ConfigurationException($"--facts asks about the embedded corpus; a model of {source.Language} knows nothing of it. Leave it out.");
    }

    private static void MakeFolder(string folder)
    {
        try
        {
            Directory.CreateDirectory(folder);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new ConfigurationException($"the folder {folder} cannot be created: {error.Message} Give another one with --out.", error);
        }
    }

    // An older file is replaced at once, never by half a new one.
    private static void Write(StudyResult result, string folder)
    {
        string path = Path.Combine(folder, ResultFile);
        string temporary = path + ".tmp";
        try
        {
            using (FileStream file = new(temporary, FileMode.Create))
            {
                using Utf8JsonWriter json = new(file, new JsonWriterOptions { Indented = false, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
                StudyJson.Write(json, result);
            }

            File.Move(temporary, path, overwrite: true);
        }
        catch
        {
            File.Delete(temporary);
            throw;
        }
    }
}
