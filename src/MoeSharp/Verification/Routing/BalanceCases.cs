using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Model.Routers;
using MoeSharp.Moe.Balance;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;

namespace MoeSharp.Verification.Routing;

/// <summary>Cases of the balance losses: value, and gradient by the logits.</summary>
internal static class BalanceCases
{
    /// <summary>The expert-level loss in every scope.</summary>
    public static void CheckExpertLevel(RoutingCase fixture, WorkerPool workers)
    {
        float alpha = (float)fixture.Number("aux_loss_alpha");
        BalanceScope scope = fixture.Text("scope") switch
        {
            "sequence" => BalanceScope.Sequence,
            "micro_batch" => BalanceScope.MicroBatch,
            _ => BalanceScope.GlobalBatch,
        };
        Check(fixture, workers, new BalanceConfig { ExpertAlpha = alpha, Scope = scope }, AuxiliaryLoss.ExpertLevel, alpha);
    }

    /// <summary>DeepSeek-V3's loss per sequence.</summary>
    public static void CheckSequenceWise(RoutingCase fixture, WorkerPool workers)
    {
        float alpha = (float)fixture.Number("aux_loss_alpha");
        Check(fixture, workers, new BalanceConfig { SequenceAlpha = alpha }, AuxiliaryLoss.SequenceWise, alpha);
    }

    /// <summary>The same over the batch.</summary>
    public static void CheckBatchWise(RoutingCase fixture, WorkerPool workers)
    {
        float alpha = (float)fixture.Number("aux_loss_alpha");
        Check(fixture, workers, new BalanceConfig { BatchAlpha = alpha }, AuxiliaryLoss.BatchWise, alpha);
    }

    /// <summary>The device-level loss.</summary>
    public static void CheckDeviceLevel(RoutingCase fixture, WorkerPool workers)
    {
        float alpha = (float)fixture.Number("aux_loss_alpha");
        Check(fixture, workers, new BalanceConfig { DeviceAlpha = alpha, ExpertDevices = Devices(fixture) }, AuxiliaryLoss.DeviceLevel, alpha);
    }

    /// <summary>The communication loss.</summary>
    public static void CheckCommunication(RoutingCase fixture, WorkerPool workers)
    {
        float alpha = (float)fixture.Number("aux_loss_alpha");
        BalanceConfig balance = new() { CommunicationAlpha = alpha, ExpertDevices = Devices(fixture), MaxDevicesPerToken = fixture.Int("topk_group") };
        Check(fixture, workers, balance, AuxiliaryLoss.Communication, alpha);
    }

    /// <summary>The loss over first choices.</summary>
    public static void CheckFirstChoice(RoutingCase fixture, WorkerPool workers)
    {
        float alpha = (float)fixture.Number("router_aux_loss_coef");
        int? size = fixture.OptionalInt("group_size");
        BalanceConfig balance = new() { FirstChoiceAlpha = alpha, Scope = size is null ? BalanceScope.MicroBatch : BalanceScope.Group, GroupTokens = size ?? 0 };
        using RouterProbe probe = Open(fixture, workers, balance, out Tensor logits);
        LayerRouting record = probe.Context.Routing.Next(0, logits.Columns);
        RoutingPlan plan = Router(new MoeConfig { NumExperts = logits.Columns, TopK = 1, IntermediateSize = 1 }, logits).Route(logits, probe.Context);
        new BalanceLosses().Record(plan, record, probe.Context);
        fixture.Compare("first_choice", plan.ExpertIds);
        List<double> density = [];
        GroupMeasure measure = new();
        TokenGroups groups = TokenGroups.Of(balance.Scope, probe.Context);
        for (int group = 0; group < groups.Count; group++)
        {
            measure.Take(groups.Range(group), plan.ExpertIds, 1, plan.Scores!.Value.Probs, false, probe.Context); // a router by scores has them
            density.AddRange(measure.Use(1).FirstLoads.ToArray().Select(load => load / logits.Columns));
        }

        fixture.Compare("first_choice_density", [.. density]);
        CompareLoss(fixture, probe, logits, alpha * record.Losses[AuxiliaryLoss.FirstChoice]);
    }

    /// <summary>The z-loss.</summary>
    public static void CheckZLoss(RoutingCase fixture, WorkerPool workers)
    {
        float alpha = (float)fixture.Number("router_z_loss_coef");
        using RouterProbe probe = Open(fixture, workers, new BalanceConfig { ZLossAlpha = alpha }, out Tensor logits);
        LayerRouting record = probe.Context.Routing.Next(0, logits.Columns);
        RoutingPlan plan = Router(new MoeConfig { NumExperts = logits.Columns, TopK = 1, IntermediateSize = 1 }, logits).Route(logits, probe.Context);
        new BalanceLosses().Record(plan, record, probe.Context);
        CompareLoss(fixture, probe, logits, alpha * record.Losses[AuxiliaryLoss.ZLoss]);
    }

    /// <summary>The variation of importance.</summary>
    public static void CheckImportance(RoutingCase fixture, WorkerPool workers)
    {
        float alpha = (float)fixture.Number("importance_loss_coef");
        using RouterProbe probe = Open(fixture, workers, new BalanceConfig { ImportanceAlpha = alpha }, out Tensor logits);
        LayerRouting record = probe.Context.Routing.Next(0, logits.Columns);
        RoutingPlan plan = Router(TopKCases.ConfigOf(fixture), logits).Route(logits, probe.Context);
        new BalanceLosses().Record(plan, record, probe.Context);
        double[] importance = new double[logits.Columns];
        plan.SumImportance(probe.Batch.IsPadding, importance);
        fixture.Compare("importance", importance);
        CompareLoss(fixture, probe, logits, alpha * record.Losses[AuxiliaryLoss.Importance]);
    }

    /// <summary>The loss of Mixtral and its like over the tokens of all layers.</summary>
    public static void CheckAllLayers(RoutingCase fixture, WorkerPool workers)
    {
        int[] sizes = fixture.Sizes("logits"); // layers, tokens, experts
        MoeConfig moe = TopKCases.ConfigOf(fixture);
        float alpha = (float)fixture.Number("router_aux_loss_coef") * moe.TopK; // theirs does not divide loads by the experts per token
        using RouterProbe probe = new(workers, sizes[1], true, new BalanceConfig { ExpertAlpha = alpha, Scope = BalanceScope.AllLayers });
        probe.SetRows(fixture);
        List<Tensor> logits = [];
        List<int> expertIds = [];
        foreach (float[] values in fixture.Floats("logits").Chunk(sizes[1] * sizes[2]))
        {
            logits.Add(probe.Input(values));
            LayerRouting record = probe.Context.Routing.Next(logits.Count - 1, sizes[2]);
            RoutingPlan plan = Router(moe, logits[^1]).Route(logits[^1], probe.Context);
            new BalanceLosses().Record(plan, record, probe.Context);
            expertIds.AddRange(plan.ExpertIds);
        }

        fixture.Compare("expert_ids", [.. expertIds]);
        fixture.Compare("loss", alpha * JointExpertLoss.Measure(probe.Context.Routing));
        probe.Backward();
        fixture.Compare("grad_logits", [.. logits.SelectMany(RouterProbe.GradientOf)]);
    }

    /// <summary>Moves of selection biases by the loads of whole steps.</summary>
    public static void CheckBiasUpdate(RoutingCase fixture, WorkerPool workers)
    {
        int experts = fixture.Int("num_experts");
        using Parameter bias = new("selection_bias", new Shape(experts));
        fixture.Floats("e_score_correction_bias").CopyTo(bias.Value);
        (List<double> violations, List<float> biases, List<int> counts, List<int> expertIds) = ([], [], [], []);
        bool isRouted = fixture.HasInput("logits");
        string input = isRouted ? "logits" : "micro_batch_counts";
        int[] sizes = fixture.Sizes(input);
        foreach (double[] step in fixture.Doubles(input).Chunk(sizes[1] * sizes[2]))
        {
            long[] load = new long[experts];
            int[] chosen = isRouted ? Choose(fixture, [.. step.Select(value => (float)value)], sizes[1], bias, workers) : [];
            expertIds.AddRange(chosen);
            for (int index = 0; index < step.Length && !isRouted; index++)
            {
                load[index % experts] += (long)step[index];
            }

            Array.ForEach(chosen, expert => load[expert]++);
            counts.AddRange(load.Select(count => (int)count));
            SelectionBias.Move(bias.Value, load, (float)fixture.Number("bias_update_speed"));
            biases.AddRange(bias.Value);
            violations.Add(LoadImbalance.MaxViolation(load));
        }

        fixture.Compare("expert_counts", [.. counts]);
        fixture.Compare("bias_after_step", [.. biases]);
        fixture.Compare("max_violation", [.. violations]);
        if (isRouted)
        {
            fixture.Compare("expert_ids", [.. expertIds]);
        }
    }

    private static int[] Choose(RoutingCase fixture, float[] values, int tokens, Parameter bias, WorkerPool workers)
    {
        using RouterProbe probe = new(workers, tokens);
        Tensor logits = probe.Input(values);
        MoeConfig moe = TopKCases.ConfigOf(fixture) with { Scoring = RouterScoring.Sigmoid };
        return TopKRouterConfig.Over(new GivenLogits(logits), bias, moe, 1f).Route(logits, probe.Context).ExpertIds.ToArray();
    }

    // Micro-batches are passes of their own, as in a training step; elsewhere all tokens are one pass.
    private static void Check(RoutingCase fixture, WorkerPool workers, BalanceConfig balance, AuxiliaryLoss kind, float alpha)
    {
        MoeConfig moe = TopKCases.ConfigOf(fixture);
        float[] logits = fixture.Floats("logits");
        int[] mask = fixture.Ids("padding_mask");
        int[] lengths = fixture.Ids("sequence_lengths");
        int[] sequences = fixture.HasInput("micro_batch_sequences") ? fixture.Ids("micro_batch_sequences") : [lengths.Length];
        (List<int> expertIds, List<float> gradients, double loss, int row, int sequence) = ([], [], 0, 0, 0);
        foreach (int count in sequences)
        {
            int[] own = lengths[sequence..(sequence + count)];
            int rows = own.Sum();
            using RouterProbe probe = new(workers, rows, true, balance);
            probe.Context.BeginTraining(probe.Batch, balance, 1f / sequences.Length);
            probe.Batch.SetSequences(own);
            for (int index = 0; index < rows; index++)
            {
                if (mask[row + index] == 0)
                {
                    probe.Batch.MarkPadding(index);
                }
            }

            Tensor input = probe.Input(logits.AsSpan(row * moe.NumExperts, rows * moe.NumExperts));
            LayerRouting record = probe.Context.Routing.Next(0, moe.NumExperts);
            RoutingPlan plan = Router(moe, input).Route(input, probe.Context);
            new BalanceLosses().Record(plan, record, probe.Context);
            expertIds.AddRange(plan.ExpertIds);
            loss += alpha * record.Losses[kind] / sequences.Length;
            probe.Backward();
            gradients.AddRange(RouterProbe.GradientOf(input));
            (row, sequence) = (row + rows, sequence + count);
        }

        fixture.Compare("expert_ids", [.. expertIds]);
        fixture.Compare("loss", loss);
        fixture.Compare("grad_logits", [.. gradients]);
    }

    private static RouterProbe Open(RoutingCase fixture, WorkerPool workers, BalanceConfig balance, out Tensor logits)
    {
        RouterProbe probe = new(workers, fixture.Sizes("logits")[0], true, balance);
        probe.SetRows(fixture);
        logits = probe.Input(fixture.Floats("logits"));
        return probe;
    }

    private static void CompareLoss(RoutingCase fixture, RouterProbe probe, Tensor logits, double loss)
    {
        fixture.Compare("loss", loss);
        probe.Backward();
        fixture.Compare("grad_logits", RouterProbe.GradientOf(logits));
    }

    private static IRouter Router(MoeConfig moe, Tensor logits) => TopKRouterConfig.Over(new GivenLogits(logits), null, moe, 1f);

    private static int[] Devices(RoutingCase fixture)
    {
        int[] devices = new int[fixture.Int("num_experts")];
        int[][] groups = fixture.Lists("device_groups");
        for (int device = 0; device < groups.Length; device++)
        {
            Array.ForEach(groups[device], expert => devices[expert] = device);
        }

        return devices;
    }
}
