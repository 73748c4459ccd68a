using MoeSharp.Training;
using MoeSharp.Training.Comparison;

namespace MoeSharp.Tests.Training.Comparison;

/// <summary>A comparison of two tiny architectures on a tiny language.</summary>
internal sealed class TinyComparison : IDisposable
{
    public const string Json = """
        {
          "title": "Tiny & quick", "question": "Which?", "notes": ["A note."],
          "corpora": { "pair": { "kind": "pair", "factors": 1, "values": 3, "symbols": 6, "line_symbols": 4, "lines_per_step": 8, "validation_lines": 10 } },
          "steps": [6], "seeds": [2, 3], "reference": "two",
          "training": {
            "model": { "model_type": "deepseek", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 32, "max_position_embeddings": 64, "norm_topk_prob": true },
            "schedule": { "kind": "cosine", "learning_rate": 5e-3, "warmup_steps": 2 },
            "balance": { "expert_alpha": 0.01, "scope": "micro_batch" },
            "validation": { "every_steps": 2, "tokens": 0 }, "checkpoint": { "every_steps": 0, "keep": 1 }, "log_every_steps": 1,
          },
          "architectures": {
            "two": { "title": "Two of four", "model": { "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16 } },
            "one": { "title": "One of two", "model": { "n_routed_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 32, "norm_topk_prob": false } },
          },
        }
        """;

    private readonly List<ComparisonSources> _sources = [];

    public string Folder { get; } = Directory.CreateTempSubdirectory("moe-compare").FullName;

    public static ComparisonConfig Config(string json = Json) => ComparisonConfigJson.Parse(json, "tiny", "tiny.json");

    public ComparisonSources Sources(params string[] text)
    {
        ComparisonSources sources = new(Path.Combine(Folder, "tokens"), text, _ => { }, CancellationToken.None);
        _sources.Add(sources);
        return sources;
    }

    public ComparisonPlan Plan(string json = Json) => ComparisonPlan.Create(Config(json), Sources());

    public void Dispose()
    {
        _sources.ForEach(sources => sources.Dispose());
        Directory.Delete(Folder, recursive: true);
    }
}

/// <summary>Counts what happens; may stop after some steps.</summary>
internal sealed class CountingView(int stopAfter = int.MaxValue) : IComparisonView
{
    private readonly CancellationTokenSource _stop = new();
    private int _steps;

    public CancellationToken Stop => _stop.Token;

    public int Steps => _steps;

    public List<string> Events { get; } = [];

    public void Started(PlannedRun run, long step) => Add($"{run.FolderName} from {step}");

    public void Stepped(PlannedRun run, in StepMetrics metrics)
    {
        if (Interlocked.Increment(ref _steps) == stopAfter)
        {
            _stop.Cancel();
        }
    }

    public void Alarmed(PlannedRun run, RoutingAlarm alarm) => Add($"{run.FolderName} alarmed");

    public void Finished(RunOutcome outcome) => Add($"{outcome.Run.FolderName} finished");

    public void Failed(PlannedRun run, string reason) => Add($"{run.FolderName} failed: {reason}");

    private void Add(string line)
    {
        lock (Events)
        {
            Events.Add(line);
        }
    }
}
