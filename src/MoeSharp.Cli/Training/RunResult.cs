using System.Text.Json;
using System.Text.Json.Nodes;
using MoeSharp.Data;
using MoeSharp.Training;
using MoeSharp.Training.Report;

namespace MoeSharp.Cli.Training;

/// <summary>What a training verb reports at its end.</summary>
/// <param name="Run">Run folder.</param>
/// <param name="State">How far the run came.</param>
/// <param name="Baselines">What a model must beat.</param>
internal sealed record RunResult(string Run, TrainingState State, NGramBaselines Baselines)
{
    private static readonly JsonSerializerOptions s_indented = new() { WriteIndented = true };

    /// <summary>What the model wrote; empty for a run that is not complete.</summary>
    public IReadOnlyList<ReportSample> Samples { get; init; } = [];

    /// <summary>What was said about collapsed experts during the run.</summary>
    public IReadOnlyList<string> Alarms { get; init; } = [];

    /// <summary>Whether the model can continue a text.</summary>
    public bool CanWrite { get; init; } = true;

    /// <summary>Tasks that texts can be of, where they are named.</summary>
    public IReadOnlyList<string> Tasks { get; init; } = [];

    /// <summary>What to try with the model: to let it write, or else to measure it.</summary>
    public string NextCommand => CanWrite ? GenerateCommand : TypedCommand.Of("eval", "--model", Run, "--data", "FILES");

    /// <summary>A command that lets the model write, after the first prompt that it was tried with and that is one line.</summary>
    public string GenerateCommand
    {
        get
        {
            ReportSample? sample = Samples.FirstOrDefault(sample => !sample.Prompt.Any(char.IsControl));
            string[] task = Tasks.Count == 0 ? [] : ["--task", sample?.Domain ?? Tasks[0]];
            return TypedCommand.Of(["generate", "--model", Run, .. task, "--prompt", sample?.Prompt ?? "Your text"]);
        }
    }

    /// <summary>Training tokens per second of training.</summary>
    public double TokensPerSecond => State.Seconds > 0 ? State.Tokens / State.Seconds : 0;

    /// <summary>The document that <c>--json</c> prints; others rely on these keys.</summary>
    public JsonObject ToJson() => new()
    {
        ["run"] = Run,
        ["steps"] = State.Step,
        ["tokens"] = State.Tokens,
        ["seconds"] = State.Seconds,
        ["tokens_per_second"] = TokensPerSecond,
        ["validation"] = State.Validation is { } validation
            ? new JsonObject { ["loss"] = validation.Loss, ["bits_per_byte"] = validation.BitsPerByte, ["tokens"] = validation.NumTokens }
            : null,
        ["baselines"] = new JsonObject
        {
            ["unigram_bits_per_byte"] = Baselines.UnigramBitsPerByte,
            ["bigram_bits_per_byte"] = Baselines.BigramBitsPerByte,
        },
        ["alarms"] = new JsonArray([.. Alarms.Select(alarm => (JsonNode)alarm)]),
        ["samples"] = WrittenSamples.ToJson(Samples),
    };

    /// <summary>Prints a JSON document.</summary>
    public static void Print(JsonObject json) => Console.Out.WriteLine(json.ToJsonString(s_indented));
}
