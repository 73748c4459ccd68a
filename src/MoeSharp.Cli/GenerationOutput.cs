using MoeSharp.Inference;

namespace MoeSharp.Cli;

/// <summary>A continuation as one JSON line.</summary>
internal static class GenerationOutput
{
    /// <summary>Prints it on standard output.</summary>
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
}
