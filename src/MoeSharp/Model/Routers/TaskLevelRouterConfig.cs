using System.Text.Json;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;

namespace MoeSharp.Model.Routers;

/// <summary>The same experts for all tokens of a task (Kudugunta et al., arXiv 2110.03742).</summary>
public sealed record TaskLevelRouterConfig : RouterConfig
{
    internal const string Kind = "task_level";
    private const int MostTasks = 1 << 16; // far above the languages there are

    private readonly ValueList<int> _taskTokens = ValueList<int>.Empty;

    /// <inheritdoc/>
    public override string Name => Kind;

    /// <summary>Whether a choice is made per sentence, by the mean of its tokens, instead of per task (routing_level: sentence).</summary>
    public bool IsPerSentence { get; init; }

    /// <summary>Tasks (num_tasks).</summary>
    public int NumTasks { get; init; } = 1;

    /// <summary>Token that announces each task in a text (task_tokens); empty when the program that feeds the model says the tasks.</summary>
    public IReadOnlyList<int> TaskTokens
    {
        get => _taskTokens;
        init => _taskTokens = new ValueList<int>(value);
    }

    /// <inheritdoc/>
    public override string? DecodingRefusal => IsPerSentence ? "its router chooses by the mean of the whole text, which is not there yet"
        : TaskTokens.Count == 0 ? "its router goes by tasks, and no token announces them; set moesharp.task_tokens"
        : null;

    internal static RouterConfig ReadSettings(ConfigReader section)
    {
        bool isPerSentence = section.OneOf("routing_level", "task", "task", "sentence") == "sentence";
        IReadOnlyList<int> tokens = isPerSentence ? [] : section.Ints("task_tokens") ?? [];
        int tasks = isPerSentence ? 1 : section.Int("num_tasks", Math.Max(1, tokens.Count));
        return new TaskLevelRouterConfig { IsPerSentence = isPerSentence, NumTasks = tasks, TaskTokens = tokens };
    }

    internal override void Write(Utf8JsonWriter writer)
    {
        writer.WriteString("routing_level", IsPerSentence ? "sentence" : "task");
        if (IsPerSentence)
        {
            return;
        }

        writer.WriteNumber("num_tasks", NumTasks);
        writer.WriteStartArray("task_tokens");
        foreach (int token in TaskTokens)
        {
            writer.WriteNumberValue(token);
        }

        writer.WriteEndArray();
    }

    internal override IReadOnlyList<RouterWeight> Weights(ModelConfig config, MoeConfig moe)
    {
        RouterWeight router = new("router", "gate.weight", new Shape(moe.NumExperts, config.HiddenSize));
        return IsPerSentence ? [router] : [router, new("router_task_embedding", "gate.task_embedding.weight", new Shape(Math.Clamp(NumTasks, 1, MostTasks), config.HiddenSize)) { IsProduct = false }];
    }

    internal override void AddProblems(ModelConfig config, MoeConfig moe, List<string> problems)
    {
        if (IsPerSentence)
        {
            problems.Add("routing_level 'sentence' chooses a token's experts by the mean of its whole sentence, the tokens to be predicted included: no causal language model can be trained, scored or decoded with it; use 'task'");
        }

        if (NumTasks is < 1 or > MostTasks)
        {
            problems.Add($"num_tasks {NumTasks} is outside 1..{MostTasks}");
        }

        if (TaskTokens.Count > 0 && TaskTokens.Count != NumTasks)
        {
            problems.Add($"task_tokens names {TaskTokens.Count} tokens for num_tasks {NumTasks}; give one token per task");
        }

        if (TaskTokens.Distinct().Count() != TaskTokens.Count || TaskTokens.Any(token => token < 0 || token >= config.VocabSize))
        {
            problems.Add($"task_tokens must be different tokens of the vocabulary 0..{config.VocabSize - 1}");
        }

        if (moe.NormTopKProb && moe.TopK == 1)
        {
            problems.Add("norm_topk_prob divides a single weight by itself: it would always be 1 and the router would get no gradient; set it to false, or num_experts_per_tok to 2");
        }
    }

    internal override IRouter Build(MoePlace place, MoeConfig moe)
    {
        LinearRouterProjection linear = new($"{place.Name}.router", place.HiddenSize, moe.NumExperts, false, place.Parameters);
        IRouterProjection projection = IsPerSentence
            ? new SentenceProjection(linear)
            : new TaskProjection($"{place.Name}.router_task_embedding", place.HiddenSize, NumTasks, TaskTokens, linear, place.Parameters);
        return TopKRouterConfig.Over(projection, null, moe, moe.ScalingOf(place.Layer));
    }
}
