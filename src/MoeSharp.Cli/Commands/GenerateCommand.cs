using System.CommandLine;
using System.Globalization;
using System.Text;
using MoeSharp.Data;
using MoeSharp.Inference;
using MoeSharp.Tokenization;

namespace MoeSharp.Cli.Commands;

/// <summary><c>moe generate</c>: continues a prompt, streaming the text to standard output and the rates to standard error.</summary>
internal static class GenerateCommand
{
    private const int DefaultMaxTokens = 256;

    /// <summary>Builds the verb.</summary>
    public static Command Create()
    {
        ModelArguments model = new();
        Option<string?> prompt = new("--prompt") { Description = "The text to continue. Without it, standard input is read; one line break at its end is dropped." };
        Option<string?> prompts = new("--prompts") { Description = "A file of prompts, one JSON line each: {\"prompt\": \"text\"}; they are continued side by side, and one JSON line is printed for each, in their order." };
        Option<int> parallel = new("--parallel") { Description = "Texts of --prompts that are written at the same time; what each one says does not depend on it.", DefaultValueFactory = _ => new EngineOptions().MaxSequences };
        Option<int?> maxTokens = new("--max-tokens") { Description = $"Most tokens to write; without it, {DefaultMaxTokens} or what the model's context has room for." };
        Option<string[]> stop = new("--stop") { Description = "Text that ends the answer; may be given several times.", DefaultValueFactory = _ => [] };
        Option<bool> json = new("--json") { Description = "Print one JSON document: {text, ids, finish_reason, usage, seed}." };
        TaskArgument task = new();
        SamplingArguments sampling = new();
        EngineArguments engine = new();
        Command command = new("generate", "Continues a text with a model.") { prompt, prompts, parallel, maxTokens, stop, json };
        model.AddTo(command);
        task.AddTo(command);
        engine.AddTo(command);
        sampling.AddTo(command);
        command.SetAction(parsed =>
        {
            sampling.Check(parsed);
            IReadOnlyList<string>? many = parsed.GetValue(prompts) is { } file ? PromptFile.Read(file) : null;
            CheckPrompts(parsed, prompt, many is not null, parallel);
            using OpenedModel opened = model.Open(parsed, engine.Context(parsed));
            Tokenizer tokenizer = opened.LoadTokenizer();
            int? taskToken = task.Token(parsed, tokenizer);
            SamplingOptions options = sampling.Read(parsed, opened.Folder);
            using Engine writer = engine.Start(parsed, opened, tokenizer, many is null ? 1 : parsed.GetValue(parallel));
            GenerationOptions generation = new() { Sampling = options, MaxTokens = parsed.GetValue(maxTokens), Stop = parsed.GetValue(stop) ?? [], EndTokens = opened.EndTokens };
            if (many is not null)
            {
                using Interruption interruption = new();
                int[][] encoded = [.. many.Select(Encode)];
                return PromptFile.Run(writer, encoded, generation, DefaultMaxTokens, parsed.GetValue(parallel), interruption.Token);
            }

            int[] ids = Encode(parsed.GetValue(prompt) ?? ReadStandardInput());
            int room = Math.Max(1, writer.ContextLength - ids.Length);
            GenerationRequest request = new(ids, generation with { MaxTokens = generation.MaxTokens ?? Math.Min(DefaultMaxTokens, room) });
            return Run(writer, request, parsed.GetValue(json));

            int[] Encode(string text) => taskToken is { } announced ? TaskTokens.Announce(announced, text, tokenizer) : TextGenerator.EncodePrompt(text, tokenizer, opened.Model.Config);
        });
        return command;
    }

    private static void CheckPrompts(ParseResult parsed, Option<string?> prompt, bool hasFile, Option<int> parallel)
    {
        if (hasFile && parsed.GetValue(prompt) is not null)
        {
            throw new ConfigurationException("--prompt and --prompts are both given. Give one of them.");
        }

        if (!hasFile && parsed.GetResult(parallel) is { Implicit: false })
        {
            throw new ConfigurationException("--parallel is for --prompts; a single text is written alone");
        }

        if (parsed.GetValue(parallel) is < 1 or > 1024)
        {
            throw new ConfigurationException($"--parallel {parsed.GetValue(parallel)} must be from 1 to 1024");
        }
    }

    private static int Run(Engine engine, GenerationRequest request, bool json)
    {
        using Interruption interruption = new();
        using Stream output = Console.OpenStandardOutput();
        Action<string> emit = json ? _ => { } : piece => output.Write(Encoding.UTF8.GetBytes(piece));
        try
        {
            GenerationResult result = engine.Submit(request, interruption.Token).ReadToEndAsync(emit).GetAwaiter().GetResult();
            if (json)
            {
                GenerationOutput.Write(result, request.Options.Sampling.Seed);
            }
            else
            {
                emit("\n");
                WriteRates(result, request.Options.Sampling);
            }

            return CommandLine.Done;
        }
        catch (OperationCanceledException) when (!json)
        {
            emit("\n");
            return CommandLine.Interrupted;
        }
    }

    private static void WriteRates(GenerationResult result, SamplingOptions sampling)
    {
        string seed = sampling.Temperature == 0 ? "greedy" : $"seed {sampling.Seed}";
        Console.Error.WriteLine($"{GenerationOutput.Rates(result)}; {seed}");
    }

    private static string ReadStandardInput()
    {
        if (!Console.IsInputRedirected)
        {
            Console.Error.WriteLine("moe: reading the prompt from standard input; end it with Ctrl-D");
        }

        string text = TextFile.ReadStandardInput();
        return text.EndsWith("\r\n", StringComparison.Ordinal) ? text[..^2] : text.EndsWith('\n') ? text[..^1] : text;
    }
}
