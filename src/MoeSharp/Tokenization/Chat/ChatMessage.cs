using System.Text.Json;

namespace MoeSharp.Tokenization.Chat;

/// <summary>One message of a conversation.</summary>
/// <param name="Role">Who speaks: usually <c>system</c>, <c>user</c>, <c>assistant</c> or <c>tool</c>; the template decides what it accepts.</param>
/// <param name="Content">What is said; null for a message that only calls tools.</param>
public sealed record ChatMessage(string Role, string? Content)
{
    private JsonElement? _json;

    /// <summary>What the model thought before the answer; templates see it as <c>reasoning_content</c>. Null when there is none.</summary>
    public string? ReasoningContent { get; init; }

    /// <summary>Tools that the message calls; templates see them as <c>tool_calls</c>. Null when there are none.</summary>
    public IReadOnlyList<ChatToolCall>? ToolCalls { get; init; }

    /// <summary>The call that a <c>tool</c> message answers; null when the template needs none.</summary>
    public string? ToolCallId { get; init; }

    /// <summary>The tool or person that speaks; null when the template needs none.</summary>
    public string? Name { get; init; }

    /// <summary>
    /// Takes a message as JSON. The template sees every member of the object, known or not, in its order, so nothing a template asks for
    /// is lost on the way.
    /// </summary>
    /// <param name="message">An object with at least the text <c>role</c>.</param>
    /// <param name="source">What the JSON is, for messages: a file name or "message 3".</param>
    /// <returns>The message.</returns>
    /// <exception cref="ConfigurationException">It is no such object.</exception>
    public static ChatMessage FromJson(JsonElement message, string source)
    {
        try
        {
            if (message.ValueKind == JsonValueKind.Object && message.TryGetProperty("role", out JsonElement role) && role.ValueKind == JsonValueKind.String)
            {
                bool hasText = message.TryGetProperty("content", out JsonElement content) && content.ValueKind == JsonValueKind.String;
                return new ChatMessage(role.GetString()!, hasText ? content.GetString() : null) { _json = message.Clone() }; // Not null: the kind is checked.
            }
        }
        catch (InvalidOperationException exception)
        {
            throw new ConfigurationException($"{source} holds half of a surrogate pair, which is no text.", exception);
        }

        throw new ConfigurationException($"{source} is not an object with the text \"role\".");
    }

    /// <summary>Takes a list of messages as JSON.</summary>
    /// <param name="messages">A list of objects.</param>
    /// <param name="source">What the JSON is, for messages.</param>
    /// <returns>The messages.</returns>
    /// <exception cref="ConfigurationException">It is no such list.</exception>
    public static IReadOnlyList<ChatMessage> ListFromJson(JsonElement messages, string source)
    {
        if (messages.ValueKind != JsonValueKind.Array)
        {
            throw new ConfigurationException($"{source} is not a list of messages such as [{{\"role\": \"user\", \"content\": \"Hello\"}}].");
        }

        return [.. messages.EnumerateArray().Select((message, index) => FromJson(message, $"{source}: message {index}"))];
    }

    /// <summary>The message as templates see it.</summary>
    internal MapValue ToValue()
    {
        if (_json is JsonElement json)
        {
            return (MapValue)TemplateJson.Read(json)!; // Not null: the kind is checked.
        }

        MapValue map = new() { ["role"] = Role, ["content"] = Content };
        AddIfGiven(map, "reasoning_content", ReasoningContent);
        AddIfGiven(map, "tool_call_id", ToolCallId);
        AddIfGiven(map, "name", Name);
        if (ToolCalls is not null)
        {
            map["tool_calls"] = new ListValue([.. ToolCalls.Select(call => call.ToValue())]);
        }

        return map;
    }

    private static void AddIfGiven(MapValue map, string name, string? value)
    {
        if (value is not null)
        {
            map[name] = value;
        }
    }
}

/// <summary>A call of a tool inside a message of the model.</summary>
/// <param name="Name">The function.</param>
/// <param name="Arguments">Its arguments: an object, or a string that holds one, as the template expects.</param>
public sealed record ChatToolCall(string Name, JsonElement Arguments)
{
    /// <summary>What answers refer to; null when the template needs none.</summary>
    public string? Id { get; init; }

    /// <summary>The call as templates see it.</summary>
    internal MapValue ToValue()
    {
        MapValue call = [];
        if (Id is not null)
        {
            call["id"] = Id;
        }

        call["type"] = "function";
        call["function"] = new MapValue { ["name"] = Name, ["arguments"] = TemplateJson.Read(Arguments) };
        return call;
    }
}
