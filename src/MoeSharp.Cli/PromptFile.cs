using System.Globalization;
using System.Text.Json;
using MoeSharp.Inference;

namespace MoeSharp.Cli;

/// <summary>Prompts from a file of JSON lines, each <c>"text"</c> or <c>{"prompt": "text"}</c>, continued side by side.</summary>
internal static class PromptFile
{
    // Enough behind the running ones that a finished text is followed at once, few enough that a long file does not fill the queue.
    private const int RequestsPerText = 2;

    private const string Advice = """Give one prompt per line: {"prompt": "text"}.""";

    /// <summary>Reads the prompts.</summary>
    /// <exception cref="ConfigurationException">The file is missing, empty, or a line is no prompt.</exception>
    public static IReadOnlyList<string> Read(string path)
    {
        List<string> prompts = [];
        int number = 0;
        foreach (string line in TextFile.Read(path, Advice).Split('\n'))
        {
            number++;
            if (!string.IsNullOrWhiteSpace(line))
            {
                prompts.Add(Parse(line, $"{path}:{number}"));
            }
        }

        return prompts.Count > 0 ? prompts : throw new ConfigurationException($"{path} holds no prompt. {Advice}");
    }

    /// <summary>Continues all prompts and prints one JSON line for each, in their order; text n takes seed + n. The rate goes to standard error.</summary>
    /// <returns>The exit code.</returns>
    public static int Run(Engine engine, IReadOnlyList<int[]> prompts, GenerationOptions options, int defaultMaxTokens, int parallel, CancellationToken cancellation)
    {
        RequireRoom(engine, prompts, options.MaxTokens ?? 1);
        Queue<(Generation Generation, ulong Seed)> open = new();
        long started = System.Diagnostics.Stopwatch.GetTimestamp();
        long tokens = 0;
        int next = 0;
        for (int done = 0; done < prompts.Count; done++)
        {
            for (; next < prompts.Count && open.Count < RequestsPerText * parallel; next++)
            {
                ulong seed = options.Sampling.Seed + (ulong)next;
                int room = Math.Max(1, engine.ContextLength - prompts[next].Length);
                GenerationOptions own = options with { MaxTokens = options.MaxTokens ?? Math.Min(defaultMaxTokens, room), Sampling = options.Sampling with { Seed = seed } };
                open.Enqueue((engine.Submit(new GenerationRequest(prompts[next], own), cancellation), seed));
            }

            (Generation generation, ulong ownSeed) = open.Dequeue();
            GenerationResult result = generation.ReadToEndAsync(CancellationToken.None).GetAwaiter().GetResult();
            tokens += result.Ids.Count;
            GenerationOutput.Write(result, ownSeed);
        }

        double seconds = System.Diagnostics.Stopwatch.GetElapsedTime(started).TotalSeconds;
        Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{prompts.Count} texts of {tokens} tokens in {seconds:F1} s, {tokens / seconds:F1} tokens/s, {parallel} at once"));
        return CommandLine.Done;
    }

    // Asked before the first text: a prompt that does not fit must not be found after hours of others.
    private static void RequireRoom(Engine engine, IReadOnlyList<int[]> prompts, int maxTokens)
    {
        for (int n = 0; n < prompts.Count; n++)
        {
            if (prompts[n].Length > engine.ContextLength - (long)maxTokens)
            {
                throw new ConfigurationException($"prompt {n + 1} of the file has {prompts[n].Length} tokens and is to be continued by {maxTokens} or more, but the context holds {engine.ContextLength}. Shorten it, or ask for fewer tokens.");
            }
        }
    }

    private static string Parse(string line, string place)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(line);
            JsonElement root = document.RootElement;
            JsonElement prompt = root.ValueKind == JsonValueKind.Object && root.TryGetProperty("prompt", out JsonElement field) ? field : root;
            return prompt.ValueKind == JsonValueKind.String
                ? prompt.GetString()! // a string has a value
                : throw new ConfigurationException($"{place} is neither a string nor an object with the text \"prompt\"");
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            throw new ConfigurationException($"{place} is not valid JSON: {exception.Message}", exception);
        }
    }
}
