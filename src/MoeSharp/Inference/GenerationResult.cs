namespace MoeSharp.Inference;

/// <summary>Why a continuation ended.</summary>
public enum FinishReason
{
    /// <summary>The model ended the text, or a stop string was met.</summary>
    Stop,

    /// <summary>The wanted number of tokens was written, or the context is full.</summary>
    Length,
}

/// <summary>A continuation.</summary>
/// <param name="Text">Its text, without the stop string that ended it.</param>
/// <param name="Ids">Tokens written, the end-of-text token excluded; with a stop string, also those that spelled it.</param>
/// <param name="FinishReason">Why it ended.</param>
/// <param name="PromptTokens">Tokens of the prompt.</param>
/// <param name="CachedTokens">Tokens of the prompt that were not computed again because another text began with them.</param>
/// <param name="PromptTime">Time from its start to the first token.</param>
/// <param name="CompletionTime">Time from then to the last token.</param>
public sealed record GenerationResult(string Text, IReadOnlyList<int> Ids, FinishReason FinishReason, int PromptTokens, int CachedTokens, TimeSpan PromptTime, TimeSpan CompletionTime);
