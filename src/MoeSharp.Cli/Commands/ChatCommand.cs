using System.CommandLine;
using MoeSharp.Inference;
using MoeSharp.Tokenization;
using MoeSharp.Tokenization.Chat;

namespace MoeSharp.Cli.Commands;

/// <summary><c>moe chat</c>: a conversation with a model, in a terminal or line by line from standard input.</summary>
internal static class ChatCommand
{
    private const int DefaultMaxTokens = 2048;

    /// <summary>Builds the verb.</summary>
    public static Command Create()
    {
        ModelArguments model = new();
        EngineArguments engine = new();
        SamplingArguments sampling = new();
        Option<string?> system = new("--system") { Description = "What the model is told before the conversation." };
        Option<string?> template = new("--template") { Description = "A file with the chat template, in place of the model's own." };
        Option<string?> load = new("--load") { Description = "A conversation to go on with, as /save writes it." };
        Option<int?> maxTokens = new("--max-tokens") { Description = $"Most tokens of an answer; without it, {DefaultMaxTokens} or what the model's context has room for." };
        Option<bool> json = new("--json") { Description = "Print one JSON document per answer: {role, content, finish_reason, usage, seed}." };
        Command command = new("chat", "Talks with a model.") { system, template, load, maxTokens, json };
        model.AddTo(command);
        engine.AddTo(command);
        sampling.AddTo(command);
        command.SetAction(parsed =>
        {
            sampling.Check(parsed);
            string? file = parsed.GetValue(template);
            string? own = file is null ? null : TextFile.Read(file);
            using OpenedModel opened = model.Open(parsed, engine.Context(parsed));
            Tokenizer tokenizer = opened.LoadTokenizer();
            ChatTemplate rules = own is null ? ChatTemplate.Find(tokenizer, hasTools: false) : ChatTemplate.Parse(own, file!); // own is what file holds
            ChatConversation conversation = new(tokenizer, rules, TimeProvider.System);
            if (parsed.GetValue(load) is { } saved)
            {
                conversation.Load(TextFile.Read(saved), saved);
            }

            conversation.System = parsed.GetValue(system) ?? conversation.System;
            using Engine writer = engine.Start(parsed, opened, tokenizer);
            GenerationOptions generation = new() { Sampling = sampling.Read(parsed, opened.Folder), MaxTokens = parsed.GetValue(maxTokens), EndTokens = opened.EndTokens };
            using ChatView view = ChatView.Open(parsed.GetValue(json));
            return new ChatLoop(writer, conversation, generation, DefaultMaxTokens, view).Run();
        });
        return command;
    }
}
