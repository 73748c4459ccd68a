using System.Text.Json;

namespace MoeSharp.Tokenization.Chat;

/// <summary>
/// The rules by which a model wants conversations written: a template in the part of Jinja that published models use. Rendering reads
/// what it is given and writes text, nothing else, within bounds on work, depth and size. Immutable; may be used by many threads.
/// </summary>
public sealed class ChatTemplate
{
    // Published templates stay under 64 Ki characters.
    private const int LongestTemplate = 1 << 20;

    private readonly Statement[] _statements;

    private ChatTemplate(string source, string origin, Statement[] statements)
    {
        Source = source;
        Origin = origin;
        _statements = statements;
    }

    /// <summary>The template as written.</summary>
    public string Source { get; }

    /// <summary>Where it comes from.</summary>
    public string Origin { get; }

    /// <summary>Reads a template.</summary>
    /// <param name="source">The template.</param>
    /// <param name="origin">Where it comes from, for messages: a file name.</param>
    /// <returns>The template.</returns>
    /// <exception cref="FileFormatException">It is not a template, or asks for something that is not supported; the message names the line.</exception>
    public static ChatTemplate Parse(string source, string origin)
    {
        if (source.Length > LongestTemplate)
        {
            throw new FileFormatException($"{origin}: the chat template is longer than {LongestTemplate} characters.");
        }

        return new ChatTemplate(source, origin, TemplateParser.Parse(source, origin));
    }

    /// <summary>Writes a conversation as the model wants it.</summary>
    /// <param name="input">The conversation.</param>
    /// <returns>The text; it already holds the special tokens that the template writes, so encode it without adding any.</returns>
    /// <exception cref="ConfigurationException">The template refuses the conversation, or the two do not fit together.</exception>
    /// <exception cref="FileFormatException">The template exceeds the bounds on work or depth.</exception>
    public string Render(ChatTemplateInput input)
    {
        Scope scope = new(null);
        RenderRun run = new(Origin, SetVariables(scope, input), input.Now);
        Statement.ExecuteAll(_statements, run, scope);
        return run.Output.ToString();
    }

    /// <summary>Sets what the template may read; returns how large it is.</summary>
    private static long SetVariables(Scope scope, ChatTemplateInput input)
    {
        try
        {
            foreach ((string name, JsonElement value) in input.Variables ?? new Dictionary<string, JsonElement>())
            {
                scope.Set(name, TemplateJson.Read(value));
            }

            ListValue messages = new([.. input.Messages.Select(message => message.ToValue())]);
            ListValue? tools = input.Tools is null ? null : new ListValue([.. input.Tools.Select(TemplateJson.Read)]);
            scope.Set("messages", messages);
            scope.Set("tools", tools);
            scope.Set("documents", null);
            scope.Set("add_generation_prompt", input.AddGenerationPrompt);
            SetIfGiven(scope, "bos_token", input.BosToken);
            SetIfGiven(scope, "eos_token", input.EosToken);
            return SizeOf(messages) + SizeOf(tools);
        }
        catch (InvalidOperationException exception)
        {
            throw new ConfigurationException("A message or tool holds half of a surrogate pair, which is no text.", exception);
        }
    }

    private static void SetIfGiven(Scope scope, string name, string? value)
    {
        if (value is not null)
        {
            scope.Set(name, value);
        }
    }

    private static long SizeOf(object? value) => value switch
    {
        string text => text.Length,
        ListValue list => 1 + list.Items.Sum(SizeOf),
        MapValue map => 1 + map.Sum(entry => entry.Key.Length + SizeOf(entry.Value)),
        _ => 1,
    };
}
