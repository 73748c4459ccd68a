using System.Text.Json;

namespace MoeSharp.Tests.Cli;

public sealed class NeighboursCommandTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("moe-neighbours").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void A_trained_model_with_experts_in_attention_too_depends_on_neighbours_with_capacity_alone()
    {
        File.WriteAllLines(Path.Combine(_folder, "text.jsonl"), Enumerable.Range(0, 60).Select(i => $"{{\"text\": \"Line {i} says that {i} and {i} make {i + i}.\"}}"));
        MoeOutcome trained = MoeProcess.Run(
            _folder, "train", "--data", "text.jsonl", "--out", "run", "--steps", "2", "--preset", "nano", "--threads", "1", "--vocab-size", "300", "--set", "batch.tokens=256", "--set", "batch.sequence_length=64",
            "--set", "model.moesharp={\"attention\": \"mixture\", \"num_attention_experts\": 4, \"attention_experts_per_tok\": 2}", "--json");
        Assert.True(trained.ExitCode == 0, trained.Error);
        Assert.Contains("attention_load_max_over_mean", File.ReadAllText(Path.Combine(_folder, "run/metrics.jsonl")), StringComparison.Ordinal);

        MoeOutcome outcome = MoeProcess.Run(_folder, "neighbours", "run", "--data", "text.jsonl", "--texts", "4", "--tokens", "12", "--capacity-factor", "0.5", "--threads", "1", "--json");
        Assert.True(outcome.ExitCode == 0, outcome.Error);
        using JsonDocument json = JsonDocument.Parse(outcome.Output);
        JsonElement[] rows = [.. json.RootElement.EnumerateArray()];
        Assert.Equal([0, 4], rows.Select(row => row.GetProperty("texts_changed").GetInt32()));
        Assert.Equal(JsonValueKind.Null, rows[0].GetProperty("capacity_factor").ValueKind);
        Assert.True(rows[1].GetProperty("drop_rate_together").GetDouble() > 0.3);

        MoeOutcome wrong = MoeProcess.Run(_folder, "neighbours", "run", "--data", "text.jsonl", "--capacity-factor", "1", "0");
        Assert.Equal(2, wrong.ExitCode);
        Assert.Contains("--capacity-factor 1 0: give positive numbers", wrong.Error, StringComparison.Ordinal);

        MoeOutcome refused = MoeProcess.Run(_folder, "neighbours", "run", "--data", "text.jsonl", "--texts", "400");
        Assert.Equal(2, refused.ExitCode);
        Assert.Contains("400 are wanted", refused.Error, StringComparison.Ordinal);
    }
}
