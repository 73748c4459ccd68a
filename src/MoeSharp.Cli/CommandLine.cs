using System.CommandLine;
using MoeSharp.Cli.Commands;

namespace MoeSharp.Cli;

/// <summary>The <c>moe</c> command: its verbs and the exit codes they share.</summary>
internal static class CommandLine
{
    /// <summary>Done.</summary>
    public const int Done = 0;

    /// <summary>Failed.</summary>
    public const int Failed = 1;

    /// <summary>The user's input is wrong.</summary>
    public const int WrongInput = 2;

    /// <summary>Interrupted by the user, after saving.</summary>
    public const int Interrupted = 130;

    private const string JsonOption = "--json";

    /// <summary>Parses the arguments, runs the verb and turns errors into one message and an exit code.</summary>
    public static int Run(string[] args)
    {
        RootCommand root = new("MoeSharp: Mixture-of-Experts language models for .NET.");
        foreach (Command command in Verbs())
        {
            root.Subcommands.Add(command);
        }

        ParseResult parsed = root.Parse(args);
        if (parsed.Errors.Count > 0)
        {
            foreach (System.CommandLine.Parsing.ParseError error in parsed.Errors)
            {
                Console.Error.WriteLine($"moe: {error.Message}");
            }

            Console.Error.WriteLine("Run 'moe --help', or 'moe VERB --help', for what there is.");
            return Failure(string.Join(' ', parsed.Errors.Select(error => error.Message)), WrongInput, args.Contains(JsonOption) && JsonOf(parsed) is not null);
        }

        bool isJson = JsonOf(parsed) is { } json && parsed.GetValue(json);
        try
        {
            return parsed.Invoke(new InvocationConfiguration { EnableDefaultExceptionHandler = false });
        }
        catch (OperationCanceledException)
        {
            return Failure("interrupted", Interrupted, isJson);
        }
        catch (Exception exception) when (exception is MoeSharpException or IOException or UnauthorizedAccessException)
        {
            Console.Error.WriteLine($"moe: {exception.Message}");
            return Failure(exception.Message, exception is ConfigurationException or FileFormatException ? WrongInput : Failed, isJson);
        }
    }

    private static Option<bool>? JsonOf(ParseResult parsed) => parsed.CommandResult.Command.Options.OfType<Option<bool>>().FirstOrDefault(option => option.Name == JsonOption);

    // A program that reads the output finds a document there in any case.
    private static int Failure(string message, int exitCode, bool isJson)
    {
        if (isJson)
        {
            try
            {
                JsonDocumentOutput.Write(json =>
                {
                    json.WriteStartObject();
                    json.WriteString("error", message);
                    json.WriteNumber("exit_code", exitCode);
                    json.WriteEndObject();
                });
            }
            catch (IOException)
            {
                // Nobody reads any more; the message stands on standard error.
            }
        }

        return exitCode;
    }

    private static IEnumerable<Command> Verbs()
    {
        yield return BenchCommand.Create();
        yield return GenerateCommand.Create();
        yield return ChatCommand.Create();
        yield return EvalCommand.Create();
        yield return StudyCommand.Create();
        yield return NeighboursCommand.Create();
        yield return LogitsCommand.Create();
        yield return VerifyCommand.Create();
        yield return QuickstartCommand.Create();
        yield return TrainCommand.Create();
        yield return CompareCommand.Create();
        yield return DoctorCommand.Create();
        yield return TokenizerCommand.Create();
        yield return DataCommand.Create();
        yield return InspectCommand.Create();
        yield return QuantizeCommand.Create();
        yield return ConvertCommand.Create();
        yield return ClassicCommand.Create();
    }
}
