using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Model.Routers;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;

namespace MoeSharp.Verification.Routing;

/// <summary>Cases of routers that choose once for a whole sequence.</summary>
internal static class TaskCases
{
    /// <summary>Logits, choice, weights and gradients per sequence; all its tokens must agree.</summary>
    public static void Check(RoutingCase fixture, WorkerPool workers)
    {
        int[] lengths = fixture.Ids("sequence_lengths");
        bool isPerSentence = fixture.Text("routing_level") == "sentence";
        using RouterProbe probe = new(workers, lengths.Sum());
        probe.SetRows(fixture);
        Tensor hidden = probe.Input(isPerSentence ? fixture.Floats("hidden") : new float[probe.Batch.Count]);
        List<Parameter> parameters = [];
        IRouter router = Build(fixture, isPerSentence, probe, parameters);
        RoutingPlan plan = router.Route(hidden, probe.Context);
        int[] begins = [.. Enumerable.Range(0, lengths.Length).Select(sequence => probe.Batch.Sequence(sequence).Begin)];
        fixture.Compare("logits", PerSequence(plan.Scores!.Value.Logits.Data.ToArray(), plan.NumExperts, begins, lengths)); // a router by scores has them
        fixture.Compare("expert_ids", PerSequence([.. plan.ExpertIds.ToArray().Select(expert => (float)expert)], plan.TopK, begins, lengths));
        fixture.Compare("routing_weights", PerSequence(plan.RoutingWeights.Data.ToArray(), plan.TopK, begins, lengths));
        float[] cotangent = new float[plan.NumTokens * plan.TopK]; // the first token of a sequence stands for it
        float[] given = fixture.Floats("cotangent");
        for (int sequence = 0; sequence < lengths.Length; sequence++)
        {
            given.AsSpan(sequence * plan.TopK, plan.TopK).CopyTo(cotangent.AsSpan(begins[sequence] * plan.TopK));
        }

        probe.Backward(plan.RoutingWeights, cotangent);
        fixture.Compare("grad_router_weight", parameters[0].Gradient);
        fixture.Compare(isPerSentence ? "grad_hidden" : "grad_task_embeddings", isPerSentence ? hidden.Gradient : parameters[1].Gradient);
    }

    private static IRouter Build(RoutingCase fixture, bool isPerSentence, RouterProbe probe, List<Parameter> parameters)
    {
        MoeConfig moe = TopKCases.ConfigOf(fixture);
        TaskLevelRouterConfig config = new() { IsPerSentence = isPerSentence, NumTasks = isPerSentence ? 1 : fixture.Sizes("task_embeddings")[0] };
        IRouter router = config.Build(new MoePlace(0, "moe", fixture.Int("hidden_size"), parameters), moe);
        fixture.Floats("router_weight").CopyTo(parameters[0].Value);
        if (!isPerSentence)
        {
            fixture.Floats("task_embeddings").CopyTo(parameters[1].Value);
            probe.Batch.SetTaskIds(fixture.Ids("task_ids"));
        }

        parameters.ForEach(parameter => parameter.AllocateGradient());
        return router;
    }

    // Values of each sequence's rows, once; NaN where its rows differ.
    private static double[] PerSequence(float[] values, int width, int[] begins, int[] lengths) =>
    [
        .. begins.Zip(lengths).SelectMany(rows => Enumerable.Range(0, width).Select(column =>
            Enumerable.Range(rows.First, rows.Second).Select(row => values[(row * width) + column]).Distinct().Count() == 1 ? values[(rows.First * width) + column] : double.NaN)),
    ];
}
