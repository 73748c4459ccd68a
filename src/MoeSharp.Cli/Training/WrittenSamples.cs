using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using MoeSharp.Data;
using MoeSharp.Inference;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Tokenization;
using MoeSharp.Training.Report;
using Spectre.Console;

namespace MoeSharp.Cli.Training;

/// <summary>What a trained model writes after some prompts; the same for the same model.</summary>
internal static class WrittenSamples
{
    private const int Tokens = 48;

    /// <summary>Lets the model continue each prompt; a prompt that fills the model's context is left out.</summary>
    /// <param name="model">Model.</param>
    /// <param name="tokenizer">Its tokenizer.</param>
    /// <param name="prompts">Texts to continue.</param>
    /// <param name="workers">Workers.</param>
    /// <param name="stop">Cancelled by Ctrl-C: prompts that are left are not continued.</param>
    public static IReadOnlyList<ReportSample> Write(LanguageModel model, Tokenizer tokenizer, IReadOnlyList<ExamplePrompt> prompts, WorkerPool workers, CancellationToken stop)
    {
        if (DecodingLimits.Refusal(model.Config) is { } refusal)
        {
            RunScreen.Warn([$"no sample is written: {refusal}"]);
            return [];
        }

        TextGenerator generator = new(model, tokenizer, workers);
        List<ReportSample> samples = [];
        foreach (ExamplePrompt prompt in prompts)
        {
            int[] ids = TaskTokens.Find(tokenizer, prompt.Domain) is { } task ? TaskTokens.Announce(task, prompt.Text, tokenizer) : generator.EncodePrompt(prompt.Text);
            int room = model.Config.MaxPositionEmbeddings - ids.Length;
            if (room > 0 && !stop.IsCancellationRequested)
            {
                GenerationOptions options = new() { MaxTokens = Math.Min(Tokens, room), Sampling = new SamplingOptions { Temperature = 0.6f, TopP = 0.95f, Seed = 1 } };
                samples.Add(new ReportSample(prompt.Domain, prompt.Text, generator.Generate(ids, options, _ => { }).Text));
            }
        }

        return samples;
    }

    /// <summary>Prints them.</summary>
    public static void Show(RunScreen screen, IReadOnlyList<ReportSample> samples)
    {
        if (samples.Count == 0)
        {
            return;
        }

        int width = samples.Max(sample => sample.Domain.Length);
        screen.Say("\n[bold]What it writes[/] (the prompt in grey)");
        foreach (ReportSample sample in samples)
        {
            string domain = width > 0 ? $"[deepskyblue3]{Markup.Escape(sample.Domain.PadRight(width))}[/]  " : "";
            screen.Say($"  {domain}[grey62]{Markup.Escape(OneLine(sample.Prompt))}[/]{Markup.Escape(OneLine(sample.Continuation))}");
        }
    }

    /// <summary>The array that <c>--json</c> prints.</summary>
    public static JsonArray ToJson(IReadOnlyList<ReportSample> samples) =>
        new([.. samples.Select(sample => new JsonObject { ["domain"] = sample.Domain, ["prompt"] = sample.Prompt, ["text"] = sample.Continuation })]);

    /// <summary>A text with its line breaks visible, and other control characters, which a terminal would obey.</summary>
    public static string OneLine(string text)
    {
        StringBuilder line = new(text.Length);
        foreach (char letter in text)
        {
            _ = letter switch
            {
                '\n' => line.Append("\\n"),
                '\r' => line.Append("\\r"),
                '\t' => line.Append("\\t"),
                _ when char.IsControl(letter) => line.Append(CultureInfo.InvariantCulture, $"\\x{(int)letter:x2}"),
                _ => line.Append(letter),
            };
        }

        return line.ToString();
    }
}
