using System.Globalization;
using System.Text;
using System.Text.Json;
using MoeSharp.Data;

namespace MoeSharp.Cli.Commands;

/// <summary>Prints a <see cref="TextSurvey"/> as a table or as JSON.</summary>
internal static class DataReport
{
    /// <summary>One JSON document.</summary>
    public static string AsJson(TextSurvey survey)
    {
        using MemoryStream stream = new();
        using (Utf8JsonWriter json = new(stream, new JsonWriterOptions { Indented = true }))
        {
            json.WriteStartObject();
            json.WriteNumber("documents", survey.NumDocuments);
            json.WriteNumber("bytes", survey.NumBytes);
            json.WriteNumber("characters", survey.NumCharacters);
            json.WriteNumber("longest_document_bytes", survey.LongestDocumentBytes);
            if (survey.NumTokens is { } tokens)
            {
                json.WriteNumber("tokens", tokens);
                json.WriteNumber("bytes_per_token", (double)survey.NumBytes / tokens);
            }

            WriteCounts(json, "domains", survey.Domains);
            WriteScripts(json, survey);
            json.WriteStartObject("split_bytes");
            json.WriteNumber("train", survey.TrainBytes);
            json.WriteNumber("validation", survey.ValidationBytes);
            json.WriteEndObject();
            WriteBaselines(json, survey.Baselines);
            json.WriteStartArray("warnings");
            foreach (string warning in survey.Warnings)
            {
                json.WriteStringValue(warning);
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(stream.ToArray()) + "\n";
    }

    /// <summary>Lines for people.</summary>
    public static string AsTable(TextSurvey survey)
    {
        StringBuilder text = new();
        CultureInfo culture = CultureInfo.InvariantCulture;
        text.Append(culture, $"documents        {survey.NumDocuments,14:N0}   longest {survey.LongestDocumentBytes:N0} bytes\n");
        text.Append(culture, $"bytes            {survey.NumBytes,14:N0}\n");
        text.Append(culture, $"characters       {survey.NumCharacters,14:N0}\n");
        if (survey.NumTokens is { } tokens)
        {
            text.Append(culture, $"tokens           {tokens,14:N0}   {(double)survey.NumBytes / tokens:F2} bytes per token\n");
        }

        text.Append(culture, $"training         {survey.TrainBytes,14:N0} bytes\n");
        text.Append(culture, $"validation       {survey.ValidationBytes,14:N0} bytes\n");
        text.Append(culture, $"unigram baseline {survey.Baselines.UnigramBitsPerByte,14:F3} bits per byte of validation\n");
        text.Append(culture, $"bigram baseline  {survey.Baselines.BigramBitsPerByte,14:F3} bits per byte of validation\n");
        if (survey.Domains.Count > 1 || !survey.Domains.ContainsKey(""))
        {
            text.Append("\ndomain                  documents          bytes\n");
            foreach ((string name, DomainCount count) in survey.Domains)
            {
                text.Append(culture, $"{(name.Length == 0 ? "(none)" : name),-20} {count.Documents,12:N0} {count.Bytes,14:N0}\n");
            }
        }

        text.Append("\ncharacters of            number    share\n");
        for (int script = 0; script < TextSurvey.Scripts.Count; script++)
        {
            if (survey.CharactersOf(script) > 0)
            {
                text.Append(culture, $"{TextSurvey.Scripts[script],-15} {survey.CharactersOf(script),15:N0} {(double)survey.CharactersOf(script) / survey.NumCharacters,8:P1}\n");
            }
        }

        return text.ToString();
    }

    private static void WriteScripts(Utf8JsonWriter json, TextSurvey survey)
    {
        json.WriteStartObject("characters_of");
        for (int script = 0; script < TextSurvey.Scripts.Count; script++)
        {
            json.WriteNumber(TextSurvey.Scripts[script], survey.CharactersOf(script));
        }

        json.WriteEndObject();
    }

    private static void WriteCounts(Utf8JsonWriter json, string name, IReadOnlyDictionary<string, DomainCount> counts)
    {
        json.WriteStartObject(name);
        foreach ((string key, DomainCount count) in counts)
        {
            json.WriteStartObject(key);
            json.WriteNumber("documents", count.Documents);
            json.WriteNumber("bytes", count.Bytes);
            json.WriteEndObject();
        }

        json.WriteEndObject();
    }

    private static void WriteBaselines(Utf8JsonWriter json, NGramBaselines baselines)
    {
        json.WriteStartObject("baselines_bits_per_byte");
        if (double.IsFinite(baselines.UnigramBitsPerByte))
        {
            json.WriteNumber("unigram", baselines.UnigramBitsPerByte);
            json.WriteNumber("bigram", baselines.BigramBitsPerByte);
        }

        json.WriteEndObject();
    }
}
