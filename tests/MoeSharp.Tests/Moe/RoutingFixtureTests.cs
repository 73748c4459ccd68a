using System.Text.Json;
using MoeSharp.Execution;
using MoeSharp.Model;

namespace MoeSharp.Tests.Moe;

/// <summary>Cases of the shared routing fixtures that top-k routers and whole layers are in.</summary>
public sealed class RoutingFixtureTests
{
    [Fact]
    public void Routers_give_the_expected_choices_weights_and_gradients()
    {
        foreach (Case fixture in Cases("router", "router/top_k", "router/group_limited"))
        {
            (RoutedTokens routed, float[] gradient) = MoeBench.Route(fixture.Moe(), fixture.Input("logits"), fixture.Input("cotangent"), fixture.InputOrNull("e_score_correction_bias"));
            Assert.Equal(fixture.Expected("expert_ids").Select(id => (int)id), routed.ExpertIds);
            fixture.Close("routing_weights", routed.RoutingWeights);
            fixture.Close("grad_logits", gradient);
            if (fixture.Has("scores"))
            {
                fixture.Close("scores", routed.Scores);
            }
        }
    }

    [Fact]
    public void Layers_give_the_expected_outputs_and_gradients()
    {
        foreach (Case fixture in Cases("layer", "layer/moe").Where(fixture => fixture.Config("capacity_factor").ValueKind == JsonValueKind.Null))
        {
            int hidden = fixture.Config("hidden_size").GetInt32();
            int width = fixture.Config("moe_intermediate_size").GetInt32();
            using MoeBench bench = new(fixture.Moe() with { IntermediateSize = width }, hidden);
            Set(bench, "moe.router", fixture.Input("router_weight"));
            Set(bench, "moe.experts.gate_up_projection", Interleave(fixture.Input("gate_proj"), fixture.Input("up_proj"), width * hidden));
            Set(bench, "moe.experts.down_projection", fixture.Input("down_proj"));
            if (fixture.InputOrNull("shared_gate_proj") is { } sharedGate)
            {
                Set(bench, "moe.shared_experts.gate_up_projection", [.. sharedGate, .. fixture.Input("shared_up_proj")]);
                Set(bench, "moe.shared_experts.down_projection", fixture.Input("shared_down_proj"));
            }

            foreach ((string input, string name) in new[] { ("shared_expert_gate", "moe.shared_expert_gate"), ("e_score_correction_bias", "moe.selection_bias") })
            {
                if (fixture.InputOrNull(input) is { } values)
                {
                    Set(bench, name, values);
                }
            }

            (float[] output, float[] gradient) = bench.Differentiate(fixture.Input("hidden"), fixture.Input("cotangent"), new BalanceConfig());
            fixture.Close("output", output);
            fixture.Close("grad_hidden", gradient);
            Assert.Equal(fixture.Expected("expert_ids").Select(id => (int)id), bench.Routing.ExpertIds);
            fixture.Close("routing_weights", bench.Routing.RoutingWeights);
            fixture.Close("grad_router_weight", Gradient(bench, "moe.router"));
            float[] gateUp = Gradient(bench, "moe.experts.gate_up_projection");
            fixture.Close("grad_gate_proj", [.. gateUp.Chunk(width * hidden).Where((_, index) => index % 2 == 0).SelectMany(part => part)]);
            fixture.Close("grad_up_proj", [.. gateUp.Chunk(width * hidden).Where((_, index) => index % 2 == 1).SelectMany(part => part)]);
            fixture.Close("grad_down_proj", Gradient(bench, "moe.experts.down_projection"));
            if (fixture.Has("grad_shared_expert_gate"))
            {
                fixture.Close("grad_shared_expert_gate", Gradient(bench, "moe.shared_expert_gate"));
            }
        }
    }

    private static void Set(MoeBench bench, string name, float[] values) => values.CopyTo(bench.Parameter(name).Value);

    private static float[] Gradient(MoeBench bench, string name) => bench.Parameter(name).Gradient.ToArray();

    private static float[] Interleave(float[] gate, float[] up, int size) => [.. gate.Chunk(size).Zip(up.Chunk(size)).SelectMany(pair => pair.First.Concat(pair.Second))];

    private static List<Case> Cases(string folder, params string[] kinds)
    {
        string? root = Environment.GetEnvironmentVariable("MOE_FIXTURES");
        if (root is null)
        {
            Assert.Skip("MOE_FIXTURES is not set");
        }

        List<Case> cases = [.. Directory.GetFiles(Path.Combine(root, "routing", folder), "*.json").Order().Select(path => new Case(path)).Where(fixture => kinds.Contains(fixture.Kind))];
        Assert.NotEmpty(cases);
        return cases;
    }

    private sealed class Case(string path)
    {
        private readonly JsonElement _root = JsonDocument.Parse(File.ReadAllText(path)).RootElement;

        public string Kind => _root.GetProperty("kind").GetString()!;

        public JsonElement Config(string name) => _root.GetProperty("config").GetProperty(name);

        public bool Has(string name) => _root.GetProperty("expected").TryGetProperty(name, out _);

        public float[] Input(string name) => InputOrNull(name) ?? throw new KeyNotFoundException($"{path}: {name}");

        public float[]? InputOrNull(string name) =>
            _root.GetProperty("inputs").TryGetProperty(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? [.. Flatten(value).Select(number => (float)number)] : null;

        public double[] Expected(string name) => [.. Flatten(_root.GetProperty("expected").GetProperty(name))];

        public void Close(string name, float[] actual)
        {
            JsonElement tolerance = _root.GetProperty("tolerance").GetProperty(name);
            double[] expected = Expected(name);
            double allowed = tolerance.GetProperty("abs").GetDouble() + (tolerance.GetProperty("rel").GetDouble() * expected.Max(Math.Abs));
            Assert.Equal(expected.Length, actual.Length);
            for (int i = 0; i < expected.Length; i++)
            {
                Assert.True(Math.Abs(expected[i] - actual[i]) <= allowed, $"{Path.GetFileName(path)}: {name}[{i}] is {actual[i]}, expected {expected[i]}");
            }
        }

        public MoeConfig Moe() => new()
        {
            NumExperts = Config("num_experts").GetInt32(),
            TopK = Config("num_experts_per_tok").GetInt32(),
            IntermediateSize = 4,
            NormTopKProb = Config("norm_topk_prob").GetBoolean(),
            RoutedScalingFactor = Config("routed_scaling_factor").GetSingle(),
            NumSharedExperts = Optional("n_shared_experts")?.GetInt32() ?? 0,
            HasSharedExpertGate = Optional("shared_expert_gate")?.GetBoolean() ?? false,
            NumGroups = Optional("n_group")?.GetInt32() ?? 1,
            TopKGroups = Optional("topk_group")?.GetInt32() ?? 1,
            GroupScoring = Optional("topk_method")?.GetString() == "noaux_tc" ? GroupScoring.TopTwoSum : GroupScoring.Max,
            HasSelectionBias = InputOrNull("e_score_correction_bias") is not null,
            Scoring = Config("score_order").GetString() == "top_k_then_softmax" ? RouterScoring.SoftmaxOverChosen
                : Config("scoring_func").GetString() == "sigmoid" ? RouterScoring.Sigmoid : RouterScoring.Softmax,
        };

        private JsonElement? Optional(string name) => _root.GetProperty("config").TryGetProperty(name, out JsonElement value) ? value : null;

        private static IEnumerable<double> Flatten(JsonElement value) => value.ValueKind == JsonValueKind.Array ? value.EnumerateArray().SelectMany(Flatten) : [value.GetDouble()];
    }
}
