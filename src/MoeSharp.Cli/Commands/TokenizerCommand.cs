using System.CommandLine;
using System.Text.Json;
using MoeSharp.Checkpoints;
using MoeSharp.Data;
using MoeSharp.Tokenization;
using MoeSharp.Tokenization.Chat;

namespace MoeSharp.Cli.Commands;

/// <summary><c>moe tokenizer train|encode|decode|chat</c>: learns a vocabulary, and shows what one makes of a text or a conversation.</summary>
internal static class TokenizerCommand
{
    /// <summary>Builds the verb.</summary>
    public static Command Create()
    {
        Command command = new("tokenizer", "Trains a byte-level BPE tokenizer; encodes, decodes and renders conversations with any.");
        command.Subcommands.Add(CreateTrain());
        command.Subcommands.Add(CreateEncode());
        command.Subcommands.Add(CreateDecode());
        command.Subcommands.Add(CreateChat());
        return command;
    }

    private static Command CreateTrain()
    {
        Option<string[]> data = new("--data") { Description = "Files, folders or patterns: .txt and other text, .jsonl.", Required = true, AllowMultipleArgumentsPerToken = true };
        Option<string> field = new("--text-field") { Description = "Field of a .jsonl record that holds the text.", DefaultValueFactory = _ => "text" };
        Option<int> vocabSize = new("--vocab-size") { Description = "Number of ids: special tokens, 256 bytes and merges.", Required = true };
        Option<string> output = new("--out") { Description = "Folder for tokenizer.json and tokenizer_config.json.", Required = true };
        Command command = new("train", "Learns a vocabulary from text files.") { data, field, vocabSize, output };
        command.SetAction(parsed =>
        {
            TextSources sources = TextSources.Expand(parsed.GetRequiredValue(data), parsed.GetRequiredValue(field));
            int wanted = parsed.GetRequiredValue(vocabSize);
            Tokenizer tokenizer = BpeTrainer.Train(sources.ReadPassages().Select(passage => passage.Utf8), new BpeTrainerOptions { VocabSize = wanted });
            tokenizer.Save(parsed.GetRequiredValue(output));
            foreach (string warning in sources.Warnings)
            {
                parsed.InvocationConfiguration.Error.WriteLine($"moe: {warning}");
            }

            if (tokenizer.VocabSize < wanted)
            {
                parsed.InvocationConfiguration.Error.WriteLine($"moe: the text holds no more repeated pairs, so there are fewer than {wanted} ids.");
            }

            parsed.InvocationConfiguration.Output.WriteLine($"{tokenizer.VocabSize} ids, saved in {parsed.GetRequiredValue(output)}");
        });
        return command;
    }

    private static Command CreateEncode()
    {
        Option<string> tokenizer = TokenizerOption();
        Option<string?> text = new("--text") { Description = "The text." };
        Option<string?> textFile = new("--text-file") { Description = "A UTF-8 file with the text. Without text or file, standard input is read." };
        Option<bool> noSpecial = new("--no-special") { Description = "Add no special tokens around the text." };
        Option<bool> json = new("--json") { Description = "Print one JSON document: {\"ids\": [...]}." };
        Command command = new("encode", "Prints the ids of a text.") { tokenizer, text, textFile, noSpecial, json };
        command.SetAction(parsed =>
        {
            Tokenizer vocabulary = GgufTokenizer.LoadAny(parsed.GetRequiredValue(tokenizer));
            string content = ReadText(parsed.GetValue(text), parsed.GetValue(textFile));
            int[] ids = vocabulary.Encode(content, !parsed.GetValue(noSpecial));
            parsed.InvocationConfiguration.Output.WriteLine(parsed.GetValue(json) ? $"{{\"ids\":[{string.Join(',', ids)}]}}" : string.Join(' ', ids));
        });
        return command;
    }

    private static Command CreateDecode()
    {
        Option<string> tokenizer = TokenizerOption();
        Argument<int[]> ids = new("ids") { Description = "Token ids.", Arity = ArgumentArity.ZeroOrMore };
        Option<bool> json = new("--json") { Description = "Print one JSON document: {\"text\": \"...\"}." };
        Command command = new("decode", "Prints the text of ids.") { tokenizer, ids, json };
        command.SetAction(parsed =>
        {
            Tokenizer vocabulary = GgufTokenizer.LoadAny(parsed.GetRequiredValue(tokenizer));
            int[] given = parsed.GetValue(ids) ?? [];
            foreach (int id in given)
            {
                if (!vocabulary.HasToken(id))
                {
                    throw new ConfigurationException($"There is no token with id {id}; ids go from 0 to {vocabulary.VocabSize - 1}.");
                }
            }

            string text = vocabulary.Decode(given, skipSpecialTokens: false);
            parsed.InvocationConfiguration.Output.WriteLine(
                parsed.GetValue(json) ? $"{{\"text\":{JsonSerializer.Serialize(text, TokenizerJsonContext.Default.String)}}}" : text);
        });
        return command;
    }

    private static Command CreateChat()
    {
        Option<string> tokenizer = TokenizerOption();
        Option<string> messages = new("--messages") { Description = "A JSON file: [{\"role\": \"user\", \"content\": \"...\"}, ...], or an object with \"messages\" and perhaps \"tools\".", Required = true };
        Option<string?> template = new("--template") { Description = "A file with the chat template, in place of the model's own." };
        Option<bool> noPrompt = new("--no-generation-prompt") { Description = "Do not end with what begins the answer." };
        Option<bool> json = new("--json") { Description = "Print one JSON document: {\"text\": \"...\", \"ids\": [...]}." };
        Command command = new("chat", "Prints a conversation as the model wants it written, and its ids.") { tokenizer, messages, template, noPrompt, json };
        command.SetAction(parsed =>
        {
            Tokenizer vocabulary = GgufTokenizer.LoadAny(parsed.GetRequiredValue(tokenizer));
            ChatTemplateInput input = ReadConversation(parsed.GetRequiredValue(messages)) with { AddGenerationPrompt = !parsed.GetValue(noPrompt) };
            ChatTemplate rules = parsed.GetValue(template) is string file
                ? ChatTemplate.Parse(TextFile.Read(file), file)
                : ChatTemplate.Find(vocabulary, hasTools: input.Tools is not null);
            ChatPrompt prompt = rules.Encode(vocabulary, input);
            TextWriter output = parsed.InvocationConfiguration.Output;
            string ids = string.Join(parsed.GetValue(json) ? ',' : ' ', prompt.Ids);
            output.WriteLine(parsed.GetValue(json) ? $"{{\"text\":{JsonSerializer.Serialize(prompt.Text, TokenizerJsonContext.Default.String)},\"ids\":[{ids}]}}" : $"{prompt.Text}\n\n{ids}");
        });
        return command;
    }

    private static ChatTemplateInput ReadConversation(string file)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(TextFile.Read(file));
            JsonElement root = document.RootElement;
            bool isObject = root.ValueKind == JsonValueKind.Object;
            JsonElement messages = isObject && root.TryGetProperty("messages", out JsonElement list) ? list : root;
            JsonElement tools = isObject && root.TryGetProperty("tools", out JsonElement given) ? given : default;
            if (tools.ValueKind is not (JsonValueKind.Array or JsonValueKind.Null or JsonValueKind.Undefined))
            {
                throw new ConfigurationException($"{file}: \"tools\" is not a list of tools such as [{{\"type\": \"function\", \"function\": {{\"name\": \"weather\"}}}}]. Put what there is into [ ], or leave it out.");
            }

            return new ChatTemplateInput
            {
                Messages = ChatMessage.ListFromJson(messages, file),
                Tools = tools.ValueKind == JsonValueKind.Array ? [.. tools.EnumerateArray().Select(tool => tool.Clone())] : null,
                Now = TimeProvider.System.GetLocalNow(),
            };
        }
        catch (JsonException exception)
        {
            throw new ConfigurationException($"{file} is not valid JSON: {exception.Message}", exception);
        }
    }

    private static Option<string> TokenizerOption() =>
        new("--tokenizer") { Description = "A tokenizer.json, a tokenizer.model, a GGUF file, or the folder of a model.", Required = true };

    private static string ReadText(string? text, string? textFile)
    {
        if (text is not null && textFile is not null)
        {
            throw new ConfigurationException("Both --text and --text-file are given. Give one of them.");
        }

        return text ?? (textFile is not null ? TextFile.Read(textFile) : TextFile.ReadStandardInput());
    }
}

/// <summary>JSON of strings without reflection.</summary>
[System.Text.Json.Serialization.JsonSerializable(typeof(string))]
internal sealed partial class TokenizerJsonContext : System.Text.Json.Serialization.JsonSerializerContext;
