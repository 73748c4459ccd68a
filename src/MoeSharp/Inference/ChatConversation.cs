using System.Text.Encodings.Web;
using System.Text.Json;
using MoeSharp.Tokenization;
using MoeSharp.Tokenization.Chat;

namespace MoeSharp.Inference;

/// <summary>A conversation of several turns with one model: its messages, and the tokens that ask for the next answer.</summary>
/// <remarks>
/// Every turn writes the whole conversation through the model's template again, so that what the model reads is what it was trained with; an
/// engine finds the pages of the turns before by their tokens and computes only what is new.
/// </remarks>
/// <param name="tokenizer">The vocabulary.</param>
/// <param name="template">How the model wants conversations written.</param>
/// <param name="time">For templates that name the date.</param>
public sealed class ChatConversation(Tokenizer tokenizer, ChatTemplate template, TimeProvider time)
{
    private const string SystemRole = "system";
    private const string UserRole = "user";
    private const string AssistantRole = "assistant";

    private readonly List<ChatMessage> _messages = [];

    /// <summary>What the model is told before the conversation, or null.</summary>
    public string? System { get; set; }

    /// <summary>The messages, oldest first, without <see cref="System"/>.</summary>
    public IReadOnlyList<ChatMessage> Messages => _messages;

    /// <summary>Whether the last message is a question that has no answer yet.</summary>
    public bool IsWaitingForAnswer => _messages.Count > 0 && _messages[^1].Role == UserRole;

    /// <summary>Whether the last message is the answer to a question.</summary>
    public bool IsAnswered => _messages is [.., { Role: UserRole }, { Role: AssistantRole }];

    /// <summary>Adds what the user says.</summary>
    public void AddUser(string text) => _messages.Add(new ChatMessage(UserRole, text));

    /// <summary>Adds what the model has answered.</summary>
    public void AddAnswer(string text) => _messages.Add(new ChatMessage(AssistantRole, text));

    /// <summary>Forgets the last message; the last answer is forgotten to be given again, the last question when it has no answer.</summary>
    public void RemoveLast()
    {
        if (_messages.Count > 0)
        {
            _messages.RemoveAt(_messages.Count - 1);
        }
    }

    /// <summary>Goes back to messages that the conversation had before.</summary>
    public void Restore(IReadOnlyList<ChatMessage> messages)
    {
        _messages.Clear();
        _messages.AddRange(messages);
    }

    /// <summary>Forgets all messages but what the model is told before them.</summary>
    public void Clear() => _messages.Clear();

    /// <summary>The tokens after which the model answers.</summary>
    /// <exception cref="ConfigurationException">The template refuses the conversation.</exception>
    /// <exception cref="FileFormatException">The template exceeds its bounds.</exception>
    public IReadOnlyList<int> EncodePrompt() =>
        template.Encode(tokenizer, new ChatTemplateInput { Messages = AllMessages(), Now = time.GetLocalNow() }).Ids;

    /// <summary>The conversation as JSON: a list of objects with role and content.</summary>
    public string ToJson()
    {
        using MemoryStream stream = new();
        using (Utf8JsonWriter json = new(stream, new JsonWriterOptions { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartArray();
            foreach (ChatMessage message in AllMessages())
            {
                json.WriteStartObject();
                json.WriteString("role", message.Role);
                json.WriteString("content", message.Content);
                json.WriteEndObject();
            }

            json.WriteEndArray();
        }

        return global::System.Text.Encoding.UTF8.GetString(stream.ToArray()) + "\n";
    }

    /// <summary>Takes over a conversation that <see cref="ToJson"/> has written; a system message may stand first.</summary>
    /// <param name="json">The list.</param>
    /// <param name="source">Where it comes from, for messages.</param>
    /// <exception cref="ConfigurationException">It is no such list; the conversation stays as it was.</exception>
    public void Load(string json, string source)
    {
        IReadOnlyList<ChatMessage> messages;
        try
        {
            using JsonDocument document = JsonDocument.Parse(json);
            messages = ChatMessage.ListFromJson(document.RootElement, source);
        }
        catch (JsonException exception)
        {
            throw new ConfigurationException($"{source} is not valid JSON: {exception.Message}", exception);
        }

        if (messages.Skip(1).Any(message => message.Role == SystemRole) || messages.Any(message => message.Content is null))
        {
            throw new ConfigurationException($"{source}: only the first message may be the system's, and every message needs a text \"content\".");
        }

        bool hasSystem = messages.Count > 0 && messages[0].Role == SystemRole;
        System = hasSystem ? messages[0].Content : null;
        _messages.Clear();
        _messages.AddRange(hasSystem ? messages.Skip(1) : messages);
    }

    private List<ChatMessage> AllMessages() => System is { } system ? [new ChatMessage(SystemRole, system), .. _messages] : [.. _messages];
}
