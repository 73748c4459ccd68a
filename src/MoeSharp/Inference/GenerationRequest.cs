namespace MoeSharp.Inference;

/// <summary>A text to be continued.</summary>
/// <param name="Prompt">Its tokens; not to be changed while the request lives.</param>
/// <param name="Options">When to stop and how to draw; the seed is the request's own.</param>
public sealed record GenerationRequest(IReadOnlyList<int> Prompt, GenerationOptions Options)
{
    /// <summary>Longest wait for its turn; a request that has not been begun by then fails with <see cref="EngineBusyException"/>. Null waits as long as it takes.</summary>
    /// <remarks>Looked at between two passes: a request may wait one pass longer, and zero begins at the next pass or not at all.</remarks>
    public TimeSpan? MaxWait { get; init; }
}

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
}
