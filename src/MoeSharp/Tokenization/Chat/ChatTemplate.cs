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

    /// <summary>
    /// The template that came with a vocabulary: chat_template.jinja of its folder, else <c>chat_template</c> of tokenizer_config.json,
    /// else the one of the GGUF file. Of several, the one for tools when there are tools, else the one named default, else the only one.
    /// </summary>
    /// <param name="tokenizer">The vocabulary.</param>
    /// <param name="hasTools">The conversation has tools.</param>
    /// <returns>The template.</returns>
    /// <exception cref="ConfigurationException">There is none. No other is put in its place: a model answers badly to rules it was not trained with.</exception>
    /// <exception cref="FileFormatException">It is not a template, or asks for something that is not supported.</exception>
    public static ChatTemplate Find(Tokenizer tokenizer, bool hasTools)
    {
        IReadOnlyList<ChatTemplateText> known = tokenizer.ChatTemplates;
        ChatTemplateText? chosen = (hasTools ? known.FirstOrDefault(template => template.Name == ChatTemplateText.ToolName) : null)
            ?? known.FirstOrDefault(template => template.Name == ChatTemplateText.DefaultName)
            ?? (known.Count == 1 ? known[0] : null);
        return chosen is not null ? Parse(chosen.Source, chosen.Origin) : throw new ConfigurationException(known.Count == 0
            ? $"{tokenizer.Source} comes without a chat template, as base models do. Give the template of the model with --template FILE, or continue plain text instead."
            : $"{tokenizer.Source} comes with the chat templates {string.Join(", ", known.Select(template => template.Name))}, and none is the default. Give one with --template FILE.");
    }

    /// <summary>
    /// Writes a conversation as the model wants it and encodes it. Special tokens are recognised wherever the text holds them, so a
    /// message that spells one out becomes one, as in other tools that run these models; callers who take messages from strangers
    /// look for them first. No token is put around the text: the template has written its own.
    /// </summary>
    /// <param name="tokenizer">The vocabulary; its special tokens are the ones of the template unless <paramref name="input"/> names others.</param>
    /// <param name="input">The conversation.</param>
    /// <returns>Text and ids.</returns>
    /// <exception cref="ConfigurationException">The template refuses the conversation, or the two do not fit together.</exception>
    /// <exception cref="FileFormatException">The template exceeds the bounds on work or depth.</exception>
    public ChatPrompt Encode(Tokenizer tokenizer, ChatTemplateInput input)
    {
        string text = Render(input with
        {
            BosToken = input.BosToken ?? (tokenizer.BosTokenId is int bos ? tokenizer.TokenText(bos) : null),
            EosToken = input.EosToken ?? (tokenizer.EosTokenId is int eos ? tokenizer.TokenText(eos) : null),
        });
        return new ChatPrompt(text, tokenizer.Encode(text, addSpecialTokens: false));
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
            scope.Set("tools", null);
            scope.Set("documents", null);
            foreach ((string name, JsonElement value) in input.Variables ?? new Dictionary<string, JsonElement>())
            {
                scope.Set(name, TemplateJson.Read(value));
            }

            ListValue messages = new([.. input.Messages.Select(message => message.ToValue())]);
            ListValue? tools = input.Tools is null ? null : new ListValue([.. input.Tools.Select(TemplateJson.Read)]);
            scope.Set("messages", messages);
            if (tools is not null)
            {
                scope.Set("tools", tools);
            }

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

/// <summary>A conversation as the model wants it.</summary>
/// <param name="Text">The text, special tokens included.</param>
/// <param name="Ids">Its token ids.</param>
public sealed record ChatPrompt(string Text, IReadOnlyList<int> Ids);
