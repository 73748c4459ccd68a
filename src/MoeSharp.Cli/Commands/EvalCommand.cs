using System.CommandLine;
using System.Globalization;
using System.Text;
using MoeSharp.Data;
using MoeSharp.Inference;
using MoeSharp.Model;
using MoeSharp.Tokenization;

namespace MoeSharp.Cli.Commands;

/// <summary><c>moe eval</c>: how well a model predicts given texts.</summary>
internal static class EvalCommand
{
    /// <summary>Builds the verb.</summary>
    public static Command Create()
    {
        ModelArguments model = new();
        Option<string[]> data = new("--data") { Description = "Files, folders or globs; .jsonl holds one text per line, anything else one per file.", Required = true, AllowMultipleArgumentsPerToken = true };
        Option<string> textField = new("--text-field") { Description = "Field of a .jsonl record that holds the text.", DefaultValueFactory = _ => "text" };
        Option<int?> context = new("--context") { Description = "Tokens of the window that slides over long documents; without it, the model's context." };
        Option<int?> stride = new("--stride") { Description = "Tokens that the window moves on; without it, half a window. Each token is scored once." };
        Option<bool> noEnd = new("--no-end-of-text") { Description = "Score the texts alone, not the token that ends each." };
        Option<bool> json = new("--json") { Description = "Print one JSON document: {loss, perplexity, bits_per_byte, standard_error, tokens, ...}." };
        TaskArgument task = new();
        Command command = new("eval", "Measures loss, perplexity and bits per byte on given texts.") { data, textField, context, stride, noEnd, json };
        model.AddTo(command);
        task.AddTo(command);
        command.SetAction(parsed =>
        {
            TextSources sources = TextSources.Expand(parsed.GetRequiredValue(data), parsed.GetRequiredValue(textField));
            EvaluationOptions options = new() { ContextLength = parsed.GetValue(context), Stride = parsed.GetValue(stride), ScoresEndOfText = !parsed.GetValue(noEnd) };
            using OpenedModel opened = model.Open(parsed);
            Tokenizer tokenizer = opened.LoadTokenizer();
            using Evaluator evaluator = new(opened.Model, tokenizer, options with { BeginToken = task.Token(parsed, tokenizer) }, opened.Workers);
            using Interruption interruption = new();
            Evaluation evaluation = Run(evaluator, sources, interruption.Token);
            foreach (string warning in (IEnumerable<string>)[.. sources.Warnings, .. DecodingLimits.LossWarnings(opened.Model.Config)])
            {
                Console.Error.WriteLine($"moe: {warning}");
            }

            if (parsed.GetValue(json))
            {
                WriteJson(evaluation, evaluator);
            }
            else
            {
                Print(evaluation, evaluator);
            }

            return CommandLine.Done;
        });
        return command;
    }

    private static Evaluation Run(Evaluator evaluator, TextSources sources, CancellationToken cancellation)
    {
        bool shows = !Console.IsErrorRedirected;
        long documents = 0;
        long bytes = 0;
        foreach (Document document in sources.ReadDocuments())
        {
            byte[] utf8 = Encoding.UTF8.GetBytes(document.Text);
            evaluator.Add(utf8, cancellation);
            documents++;
            bytes += utf8.Length;
            if (shows && documents % 16 == 0)
            {
                Console.Error.Write(string.Create(CultureInfo.InvariantCulture, $"\r{documents} documents, {bytes / 1e6:F1} MB "));
            }
        }

        Evaluation evaluation = evaluator.Finish(cancellation);
        if (shows && documents >= 16)
        {
            Console.Error.Write("\r" + new string(' ', 60) + "\r");
        }

        return evaluation;
    }

    private static void Print(Evaluation evaluation, Evaluator evaluator)
    {
        string unit = evaluation.ErrorUnit == ErrorUnit.Document ? "documents" : "windows";
        string error = double.IsNaN(evaluation.StandardError) ? "no standard error from one window" : string.Create(CultureInfo.InvariantCulture, $"standard error {evaluation.StandardError:F4} over {unit}");
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"loss           {evaluation.Loss:F4} nats per token, {error}"));
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"perplexity     {evaluation.Perplexity:F2}"));
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"bits per byte  {evaluation.BitsPerByte:F4}"));
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{evaluation.Tokens} tokens, {evaluation.Bytes} bytes, {evaluation.Documents} documents; window {evaluator.ContextLength}, stride {evaluator.Stride}"));
    }

    private static void WriteJson(Evaluation evaluation, Evaluator evaluator) => JsonDocumentOutput.Write(json =>
    {
        json.WriteStartObject();
        json.WriteNumber("loss", evaluation.Loss);
        json.WriteFinite("perplexity", evaluation.Perplexity);
        json.WriteFinite("bits_per_byte", evaluation.BitsPerByte);
        json.WriteFinite("standard_error", evaluation.StandardError);
        json.WriteString("standard_error_over", evaluation.ErrorUnit == ErrorUnit.Document ? "documents" : "windows");
        json.WriteNumber("tokens", evaluation.Tokens);
        json.WriteNumber("bytes", evaluation.Bytes);
        json.WriteNumber("documents", evaluation.Documents);
        json.WriteNumber("context_length", evaluator.ContextLength);
        json.WriteNumber("stride", evaluator.Stride);
        json.WriteEndObject();
    });
}
