using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Json;
using MoeSharp.Data;

namespace MoeSharp.Cli.Commands;

/// <summary><c>moe data generate|inspect</c>: writes the embedded corpus, and shows what a text holds before anything is trained on it.</summary>
internal static class DataCommand
{
    private const long DefaultBytes = 4_000_000;

    /// <summary>Builds the verb.</summary>
    public static Command Create()
    {
        Command command = new("data", "Writes the embedded corpus, or shows what texts hold.");
        command.Subcommands.Add(CreateGenerate());
        command.Subcommands.Add(CreateInspect());
        return command;
    }

    private static Command CreateGenerate()
    {
        Option<string> output = new("--out") { Description = "Folder for corpus.jsonl (text and domain per line) and facts.json.", Required = true };
        Option<long> bytes = new("--bytes") { Description = "Bytes of text.", DefaultValueFactory = _ => DefaultBytes };
        Option<ulong> seed = new("--seed") { Description = "Chooses the world and its documents.", DefaultValueFactory = _ => 1 };
        Option<int> entities = new("--entities") { Description = "Entities of each of the six kinds, 4 to 100.", DefaultValueFactory = _ => SyntheticCorpus.DefaultEntitiesPerKind };
        Command command = new("generate", "Writes the embedded corpus as JSON lines, with the table of its facts.") { output, bytes, seed, entities };
        command.SetAction(parsed =>
        {
            long wanted = parsed.GetValue(bytes);
            if (wanted < 1)
            {
                throw new ConfigurationException($"--bytes {wanted} must be at least 1");
            }

            SyntheticCorpus corpus = new(parsed.GetValue(seed), parsed.GetValue(entities));
            string folder = parsed.GetRequiredValue(output);
            Directory.CreateDirectory(folder);
            string path = Path.Combine(folder, "corpus.jsonl");
            (long count, long size) = CorpusFiles.WriteDocuments(corpus.Documents(wanted), path);
            CorpusFiles.WriteFacts(corpus, Path.Combine(folder, "facts.json"));
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{count} documents, {size} bytes of text: {path}"));
            Console.WriteLine($"{corpus.Facts.Facts.Count} facts of {corpus.Facts.Entities.Count} entities: {Path.Combine(folder, "facts.json")}");
        });
        return command;
    }

    private static Command CreateInspect()
    {
        Option<string[]> data = new("--data") { Description = "Files, folders or patterns: .txt and other text (one document per file), .jsonl (one per line).", Required = true, AllowMultipleArgumentsPerToken = true };
        Option<string> field = new("--text-field") { Description = "Field of a .jsonl record that holds the text.", DefaultValueFactory = _ => "text" };
        Option<string> separator = new("--separator") { Description = "A line between documents in text files, for example <|endoftext|>.", DefaultValueFactory = _ => "" };
        Option<string?> tokenizer = new("--tokenizer") { Description = "A tokenizer.json, or a folder with one, to count tokens with." };
        Option<double> fraction = new("--validation-fraction") { Description = "Share of the text for validation.", DefaultValueFactory = _ => new DatasetOptions().ValidationFraction };
        Option<bool> json = new("--json") { Description = "Print one JSON document." };
        Command command = new("inspect", "Shows documents, bytes, scripts, tokens, the split and the baselines of texts.") { data, field, separator, tokenizer, fraction, json };
        command.SetAction(parsed =>
        {
            TextSources sources = TextSources.Expand(parsed.GetRequiredValue(data), new TextSourceOptions { JsonField = parsed.GetRequiredValue(field), Separator = parsed.GetRequiredValue(separator) });
            TextSurvey survey = TextSurvey.Of(sources, parsed.GetValue(tokenizer), parsed.GetValue(fraction));
            WriteUtf8(parsed.GetValue(json) ? DataReport.AsJson(survey) : DataReport.AsTable(survey));
            foreach (string warning in survey.Warnings)
            {
                Console.Error.WriteLine($"moe: {warning}");
            }
        });
        return command;
    }

    // The console's writer would spell characters in the terminal's code page.
    private static void WriteUtf8(string text)
    {
        using Stream output = Console.OpenStandardOutput();
        output.Write(Encoding.UTF8.GetBytes(text));
    }
}

/// <summary>The files of <c>moe data generate</c>.</summary>
internal static class CorpusFiles
{
    /// <summary>Writes documents as JSON lines; returns their number and bytes of text.</summary>
    public static (long Count, long Bytes) WriteDocuments(IEnumerable<Document> documents, string path)
    {
        using FileStream stream = new(path, FileMode.Create, FileAccess.Write, FileShare.Read, bufferSize: 1 << 20);
        using Utf8JsonWriter json = new(stream, new JsonWriterOptions { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
        long count = 0;
        long bytes = 0;
        foreach (Document document in documents)
        {
            json.WriteStartObject();
            json.WriteString("text", document.Text);
            json.WriteString("domain", document.Domain);
            json.WriteEndObject();
            json.Flush();
            json.Reset();
            stream.WriteByte((byte)'\n');
            count++;
            bytes += Encoding.UTF8.GetByteCount(document.Text);
        }

        return (count, bytes);
    }

    /// <summary>Writes every fact with names, values and the prompt that asks for it, in both languages.</summary>
    public static void WriteFacts(SyntheticCorpus corpus, string path)
    {
        using FileStream stream = File.Create(path);
        using Utf8JsonWriter json = new(stream, new JsonWriterOptions { Indented = true, Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
        json.WriteStartObject();
        json.WriteNumber("seed", corpus.Seed);
        json.WriteStartArray("facts");
        foreach (Fact fact in corpus.Facts.Facts)
        {
            json.WriteStartObject();
            json.WriteString("kind", fact.Subject.Kind);
            json.WriteString("attribute", fact.Attribute);
            WriteBoth(json, "entity", fact.Subject.Name);
            WriteBoth(json, "value", fact.Value);
            WriteBoth(json, "prompt", fact.Prompt);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void WriteBoth(Utf8JsonWriter json, string name, Func<Language, string> text)
    {
        json.WriteString(name, text(Language.English));
        json.WriteString(name + "_zh", text(Language.Chinese));
    }
}
