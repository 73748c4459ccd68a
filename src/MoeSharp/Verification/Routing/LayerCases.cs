using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Moe;
using MoeSharp.Tensors;

namespace MoeSharp.Verification.Routing;

/// <summary>Cases of a whole mixture of experts: choices, output and the gradient of every weight.</summary>
internal static class LayerCases
{
    private const string Path = "layers.0.moe";

    /// <summary>Runs the layer that a case describes.</summary>
    public static void Check(RoutingCase fixture, WorkerPool workers)
    {
        MoeConfig moe = ConfigOf(fixture);
        List<Parameter> parameters = [];
        MoeLayer layer = MoeAssembly.Build(new MoePlace(0, Path, fixture.Int("hidden_size"), parameters), moe);
        try
        {
            foreach (Parameter parameter in parameters)
            {
                SetValue(fixture, moe, parameter);
                parameter.AllocateGradient();
            }

            using RouterProbe probe = new(workers, fixture.Sizes("hidden")[0]);
            probe.Context.Routing.CaptureTokens = true;
            Tensor hidden = probe.Input(fixture.Floats("hidden"));
            Tensor output = layer.Forward(hidden, probe.Context);
            fixture.Compare("output", output.Data);
            CompareRouting(fixture, probe.Context.Routing.Layers[0], moe);
            probe.Backward(output, fixture.Floats("cotangent"));
            fixture.Compare("grad_hidden", RouterProbe.GradientOf(hidden));
            foreach (Parameter parameter in parameters)
            {
                CompareGradient(fixture, moe, parameter);
            }
        }
        finally
        {
            parameters.ForEach(parameter => parameter.Dispose());
        }
    }

    private static MoeConfig ConfigOf(RoutingCase fixture) => TopKCases.ConfigOf(fixture) with
    {
        NumSharedExperts = fixture.Int("n_shared_experts"),
        HasSharedExpertGate = fixture.Flag("shared_expert_gate"),
        Capacity = fixture.HasSetting("capacity_factor") ? CapacityCases.RuleOf(fixture) : null,
    };

    private static void CompareRouting(RoutingCase fixture, LayerRouting record, MoeConfig moe)
    {
        fixture.Compare("router_logits", record.RouterLogits);
        fixture.Compare("expert_ids_before_drop", moe.Capacity is null ? record.ExpertIds : record.RequestedExpertIds);
        fixture.Compare("expert_ids", record.ExpertIds);
        fixture.Compare("routing_weights", record.RoutingWeights);
        fixture.Compare("tokens_per_expert", [.. Enumerable.Range(0, moe.NumExperts).Select(expert => record.ExpertIds.Count(id => id == expert))]);
    }

    // Gate and up are one matrix here, gate rows first; of every expert.
    private static void SetValue(RoutingCase fixture, MoeConfig moe, Parameter parameter)
    {
        float[] value = parameter.Name[(Path.Length + 1)..] switch
        {
            "router" => fixture.Floats("router_weight"),
            "selection_bias" => fixture.Floats("e_score_correction_bias"),
            "experts.gate_up_projection" => Join(fixture.Floats("gate_proj"), fixture.Floats("up_proj"), moe.NumExperts),
            "experts.down_projection" => fixture.Floats("down_proj"),
            "shared_experts.gate_up_projection" => Join(fixture.Floats("shared_gate_proj"), fixture.Floats("shared_up_proj"), 1),
            "shared_experts.down_projection" => fixture.Floats("shared_down_proj"),
            "shared_expert_gate" => fixture.Floats("shared_expert_gate"),
            string other => throw new ConfigurationException($"the case has no value for {other}"),
        };
        value.CopyTo(parameter.Value);
    }

    private static void CompareGradient(RoutingCase fixture, MoeConfig moe, Parameter parameter)
    {
        float[] gradient = parameter.GradientIsEmpty ? new float[parameter.Shape.Length] : parameter.Gradient.ToArray();
        switch (parameter.Name[(Path.Length + 1)..])
        {
            case "router":
                fixture.Compare("grad_router_weight", gradient);
                break;
            case "experts.gate_up_projection":
                CompareHalves(fixture, "grad_gate_proj", "grad_up_proj", gradient, moe.NumExperts);
                break;
            case "experts.down_projection":
                fixture.Compare("grad_down_proj", gradient);
                break;
            case "shared_experts.gate_up_projection":
                CompareHalves(fixture, "grad_shared_gate_proj", "grad_shared_up_proj", gradient, 1);
                break;
            case "shared_experts.down_projection":
                fixture.Compare("grad_shared_down_proj", gradient);
                break;
            case "shared_expert_gate":
                fixture.Compare("grad_shared_expert_gate", gradient);
                break;
        }
    }

    private static float[] Join(float[] gate, float[] up, int experts)
    {
        int size = gate.Length / experts;
        return [.. gate.Chunk(size).Zip(up.Chunk(size)).SelectMany(pair => pair.First.Concat(pair.Second))];
    }

    private static void CompareHalves(RoutingCase fixture, string gate, string up, float[] gradient, int experts)
    {
        int size = gradient.Length / experts / 2;
        float[][] halves = [.. gradient.Chunk(size)];
        fixture.Compare(gate, [.. halves.Where((_, index) => index % 2 == 0).SelectMany(half => half).Select(value => (double)value)]);
        fixture.Compare(up, [.. halves.Where((_, index) => index % 2 == 1).SelectMany(half => half).Select(value => (double)value)]);
    }
}
