namespace MoeSharp.Inference;

/// <summary>How a text is continued, beyond the draw of each token.</summary>
public sealed record GenerationOptions
{
    /// <summary>How tokens are drawn.</summary>
    public SamplingOptions Sampling { get; init; } = new();

    /// <summary>Most tokens to write; null writes until the model's context is full.</summary>
    public int? MaxTokens { get; init; }

    /// <summary>Texts that end the continuation; they are not part of it.</summary>
    public IReadOnlyList<string> Stop { get; init; } = [];

    /// <summary>Whether end-of-text tokens end the continuation.</summary>
    public bool StopsAtEndOfText { get; init; } = true;

    /// <summary>Further tokens that end a text, beside those of tokenizer and model; a generation_config.json may list several.</summary>
    public IReadOnlyList<int> EndTokens { get; init; } = [];

    /// <summary>Tokens of the prompt that go through the model at once.</summary>
    public int PrefillChunkSize { get; init; } = 512;
}

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
/// <param name="PromptTokens">Tokens read.</param>
/// <param name="PromptTime">Time to read them.</param>
/// <param name="CompletionTime">Time to write the tokens.</param>
public sealed record GenerationResult(string Text, IReadOnlyList<int> Ids, FinishReason FinishReason, int PromptTokens, TimeSpan PromptTime, TimeSpan CompletionTime);
