using System.Text.Json;

namespace MoeSharp.Tokenization.Chat;

/// <summary>What a chat template is rendered with.</summary>
public sealed record ChatTemplateInput
{
    /// <summary>The conversation, oldest first.</summary>
    public required IReadOnlyList<ChatMessage> Messages { get; init; }

    /// <summary>Tools that the model may call, as JSON in the form that the model was trained with; null when there are none.</summary>
    public IReadOnlyList<JsonElement>? Tools { get; init; }

    /// <summary>End with what begins the answer of the model.</summary>
    public bool AddGenerationPrompt { get; init; } = true;

    /// <summary>Text of the token that begins a text; null when the vocabulary has none.</summary>
    public string? BosToken { get; init; }

    /// <summary>Text of the token that ends a text; null when the vocabulary has none.</summary>
    public string? EosToken { get; init; }

    /// <summary>Variables that the template knows beyond the usual, for example <c>enable_thinking</c>.</summary>
    public IReadOnlyDictionary<string, JsonElement>? Variables { get; init; }

    /// <summary>The time for templates that print the date.</summary>
    public DateTimeOffset Now { get; init; } = DateTimeOffset.UnixEpoch;
}
