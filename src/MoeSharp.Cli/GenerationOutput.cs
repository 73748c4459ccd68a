using System.Globalization;
using MoeSharp.Inference;

namespace MoeSharp.Cli;

/// <summary>What is told of a continuation: one JSON line, or its rates in words.</summary>
internal static class GenerationOutput
{
    /// <summary>Prints the JSON line on standard output.</summary>
    public static void Write(GenerationResult result, ulong seed) => JsonDocumentOutput.Write(json =>
    {
        json.WriteStartObject();
        json.WriteString("text", result.Text);
        json.WriteStartArray("ids");
        foreach (int id in result.Ids)
        {
            json.WriteNumberValue(id);
        }

        json.WriteEndArray();
        json.WriteString("finish_reason", result.FinishReason == FinishReason.Stop ? "stop" : "length");
        json.WriteStartObject("usage");
        json.WriteNumber("prompt_tokens", result.PromptTokens);
        json.WriteNumber("completion_tokens", result.Ids.Count);
        json.WriteEndObject();
        json.WriteNumber("seed", seed);
        json.WriteEndObject();
    });

    /// <summary>How fast the prompt was read and the text written.</summary>
    public static string Rates(GenerationResult result) => string.Create(CultureInfo.InvariantCulture,
        $"prompt {result.PromptTokens} tokens ({result.CachedTokens} of them known), {Rate(result.PromptTokens - result.CachedTokens, result.PromptTime):F1} tokens/s; answer {result.Ids.Count} tokens, {Rate(result.Ids.Count - 1, result.CompletionTime):F1} tokens/s");

    private static double Rate(int tokens, TimeSpan time) => Math.Max(0, tokens) / Math.Max(time.TotalSeconds, 1e-9);
}
