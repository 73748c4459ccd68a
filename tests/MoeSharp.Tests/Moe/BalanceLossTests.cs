using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Model.Routers;
using MoeSharp.Moe;
using MoeSharp.Moe.Balance;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;
using MoeSharp.Tests.Kernels;
using MoeSharp.Tests.Reference;
using MoeSharp.Tests.Training;
using MoeSharp.Training;
using MoeSharp.Verification.Routing;

namespace MoeSharp.Tests.Moe;

public sealed class BalanceLossTests
{
    private const int Hidden = 6;
    private const int Experts = 4;
    private const int TopK = 2;
    private const int Tokens = 9;

    private static readonly MoeConfig s_moe = new() { NumExperts = Experts, TopK = TopK, IntermediateSize = 5 };

    [Fact]
    public void Communication_loss_counts_the_tokens_that_touch_a_group()
    {
        // Token 0 stays in group 0, token 1 uses both; M = 2: f'' = 2 / (2 * 2) * (2, 1).
        double[] slopes = new double[4];
        GroupUse use = new() { NumTokens = 2, TopK = 2, ExpertIds = [0, 1, 2, 0], Loads = [], FirstLoads = [], MeanScores = [0.4, 0.1, 0.3, 0.2] };
        double loss = CommunicationLoss.Measure(use, DeviceGroups.Contiguous(4, 2), 2, 10, slopes);
        Assert.Equal((1 * 0.5) + (0.5 * 0.5), loss, 12);
        Assert.Equal([10.0, 10.0, 5.0, 5.0], slopes);
    }

    [Fact]
    public void Balanced_communication_is_one()
    {
        GroupUse use = new() { NumTokens = 3, TopK = 2, ExpertIds = [0, 2, 1, 3, 3, 0], Loads = [], FirstLoads = [], MeanScores = [0.25, 0.25, 0.25, 0.25] };
        Assert.Equal(1.0, CommunicationLoss.Measure(use, DeviceGroups.Contiguous(4, 2), 2, 0, new double[4]), 12);
    }

    [Fact]
    public void A_selection_bias_falls_where_the_load_is_above_the_mean_and_rises_below()
    {
        float[] bias = [1f, 1f, 1f];
        SelectionBias.Move(bias, [4, 0, 2], 0.25f);
        Assert.Equal([0.75f, 1.25f, 1f], bias);
    }

    [Theory]
    [InlineData(0f, 0.7f)]
    [InlineData(0.3f, 0f)]
    [InlineData(0.3f, 0.7f)]
    public void Losses_over_two_layers_together_have_the_gradient_of_their_formula(float jointAlpha, float communicationAlpha)
    {
        using WorkerPool workers = new(2);
        using ForwardContext context = new(workers);
        context.Routing.CaptureTokens = true;
        List<Parameter> parameters = [];
        MoeLayer[] layers = [.. Enumerable.Range(0, 2).Select(layer => MoeAssembly.Build(new MoePlace(layer, $"layers.{layer}.moe", Hidden, parameters), s_moe))];
        parameters.ForEach(parameter => NormalFill.Fill(workers, (ulong)parameter.Name[^1] + (ulong)parameter.Name[7], 0.6f, parameter.Value));
        parameters.ForEach(parameter => parameter.AllocateGradient());
        float[] x = KernelCheck.Random(Tokens * Hidden, 5);
        BalanceConfig balance = new() { Scope = BalanceScope.AllLayers, ExpertAlpha = jointAlpha, CommunicationAlpha = communicationAlpha, NumDeviceGroups = 2, MaxDevicesPerToken = 2 };

        double loss = Differentiate(layers, x, balance, context);
        Parameter[] routers = [.. parameters.Where(parameter => parameter.Name.EndsWith("router", StringComparison.Ordinal))];
        int[][] chosen = [.. context.Routing.Layers.Select(layer => layer.ExpertIds)];
        double[][] weights = [.. routers.Select(router => KernelCheck.Double(router.Value.ToArray()))];
        double Loss(double[] first, double[] second) => Reference([first, second], chosen, KernelCheck.Double(x), jointAlpha, communicationAlpha);
        Assert.Equal(Loss(weights[0], weights[1]), loss, 1e-5);
        KernelCheck.Close(RowReference.Gradient(value => [Loss(value, weights[1])], weights[0], [1]), routers[0].Gradient.ToArray(), 1e-6, 1e-4, "first");
        KernelCheck.Close(RowReference.Gradient(value => [Loss(weights[0], value)], weights[1], [1]), routers[1].Gradient.ToArray(), 1e-6, 1e-4, "second");
        parameters.ForEach(parameter => parameter.Dispose());
    }

    [Fact]
    public void A_training_step_moves_the_biases_by_the_load_of_all_its_passes()
    {
        const float Speed = 0.01f;
        TrainingConfig config = TinyText.Config("batch.micro_batch_tokens=32");
        MoeConfig moe = config.Model!.Moe! with { Scoring = RouterScoring.Sigmoid, HasSelectionBias = true };
        using TinyRun run = new(1, config with { Model = config.Model with { Moe = moe }, Balance = config.Balance with { BiasUpdateSpeed = Speed } });
        TrainingStep step = run.Step;

        step.Run(0, 0);

        for (int index = 0; index < step.Load.NumLayers; index++)
        {
            float[] expected = new float[moe.NumExperts];
            SelectionBias.Move(expected, step.Load.TokensPerExpert(index), Speed);
            Assert.Contains(expected, value => value != 0f);
            Assert.Equal(expected, run.Model.SelectionBias(step.Load.Layer(index))!.Value.ToArray());
        }
    }

    [Theory]
    [InlineData(BalanceScope.AllLayers)]
    [InlineData(BalanceScope.GlobalBatch)]
    public void A_steady_training_step_with_every_loss_allocates_nothing(BalanceScope scope)
    {
        TrainingConfig config = TinyText.Config();
        MoeConfig experts = config.Model!.Moe! with { NumGroups = 4, TopKGroups = 2, NormTopKProb = true, HasSelectionBias = true, HasSharedExpertGate = true, HasExpertBias = true };
        BalanceConfig balance = new()
        {
            Scope = scope,
            ExpertAlpha = 0.01f,
            DeviceAlpha = scope == BalanceScope.AllLayers ? 0 : 0.01f,
            FirstChoiceAlpha = scope == BalanceScope.AllLayers ? 0 : 0.01f,
            SequenceAlpha = 0.01f,
            BatchAlpha = 0.01f,
            ImportanceAlpha = 0.01f,
            CommunicationAlpha = 0.01f,
            NumDeviceGroups = 4,
            MaxDevicesPerToken = 2,
            ZLossAlpha = 0.01f,
            BiasUpdateSpeed = 0.01f,
        };
        using TinyRun run = new(1, config with { Model = config.Model with { Moe = experts }, Balance = balance });
        TrainingStep step = run.Step;
        for (int i = 0; i < 4; i++)
        {
            step.Run(0, 0);
        }

        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 3; i++)
        {
            Assert.True(double.IsFinite(step.Run(0, 0).Loss));
        }

        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 3 * 200); // the asserts' own
    }

    [Fact]
    public void Moving_biases_that_the_model_has_not_is_refused()
    {
        TrainingConfig config = TinyText.Config();
        Assert.Contains("bias_update_speed", Assert.Throws<ConfigurationException>(() => (config with { Balance = config.Balance with { BiasUpdateSpeed = 0.1f } }).Validate("test")).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("balance.scope=group", "group_tokens")]
    [InlineData("balance.group_tokens=8", "scope 'group'")]
    [InlineData("balance.device_alpha=0.1", "num_device_groups or expert_devices")]
    [InlineData("balance.load_alpha=0.1", "noisy_top_k")]
    [InlineData("balance.importance_alpha=-1", "must not be negative")]
    [InlineData("balance.expert_devices=[0]", "expert_devices must give a device")]
    [InlineData("balance.num_device_groups=2", "num_device_groups and expert_devices are for device_alpha")]
    [InlineData("balance.max_devices_per_token=2", "max_devices_per_token 2 is for communication_alpha")]
    public void A_setting_that_could_do_nothing_is_refused(string setting, string says) =>
        Assert.Contains(says, Assert.Throws<ConfigurationException>(() => TinyText.Config(setting).Validate("test")).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("balance.expert_devices=[0,0,1,1,3,3,0,1]", "without gaps")]
    [InlineData("balance.expert_devices=[0,0,1,1,0,0,0,1]", "both say how experts are spread", "balance.num_device_groups=2")]
    [InlineData("balance.scope=all_layers", "'all_layers' is for expert_alpha", "balance.num_device_groups=2")]
    public void Groups_that_contradict_are_refused(string setting, string says, string other = "balance.device_alpha=0.1") =>
        Assert.Contains(says, Assert.Throws<ConfigurationException>(() => TinyText.Config("balance.device_alpha=0.1", setting, other).Validate("test")).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("balance.max_devices_per_token=3")] // 2 groups
    [InlineData("balance.max_devices_per_token=2", "model.num_experts_per_tok=1")]
    public void More_devices_than_a_token_can_use_are_refused(string setting, string other = "balance.num_device_groups=2") =>
        Assert.Contains("more than a token can use", Assert.Throws<ConfigurationException>(() => TinyText.Config("balance.communication_alpha=0.1", "balance.num_device_groups=2", setting, other).Validate("test")).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("base", 1)]
    [InlineData("stablemoe", 1)]
    [InlineData("sinkhorn", 1)]
    [InlineData("top_k", 2, "model.moesharp.scoring_func=sigmoid")]
    public void A_z_loss_without_a_softmax_is_refused_before_the_run_begins(string router, int topK, string setting = "seed=1") =>
        Assert.Contains("needs a softmax", Assert.Throws<ConfigurationException>(() => TinyText.Config($"model.moesharp.router={router}", $"model.num_experts_per_tok={topK}", "balance.z_loss_alpha=0.001", setting)).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("switch", 1)]
    [InlineData("sinkhorn", 2)]
    [InlineData("reinforce", 1)]
    public void A_z_loss_over_a_softmax_is_taken(string router, int topK) =>
        Assert.Equal(0.001f, TinyText.Config($"model.moesharp.router={router}", $"model.num_experts_per_tok={topK}", "balance.z_loss_alpha=0.001").Balance.ZLossAlpha);

    [Fact]
    public void A_load_loss_where_every_token_uses_every_expert_is_refused() =>
        Assert.Contains("every token uses all 8 experts", Assert.Throws<ConfigurationException>(() => TinyText.Config("model.moesharp.router=noisy_top_k", "model.num_experts_per_tok=8", "balance.load_alpha=0.1")).Message, StringComparison.Ordinal);

    [Fact]
    public void Groups_larger_than_the_batch_are_the_batch()
    {
        LayerRouting Measure(BalanceConfig balance)
        {
            using MoeBench bench = new(s_moe, Hidden);
            bench.Fill(3, 0.6f);
            bench.Differentiate(KernelCheck.Random(Tokens * Hidden, 4), new float[Tokens * Hidden], balance);
            return bench.Routing;
        }

        double whole = Measure(new BalanceConfig { Scope = BalanceScope.MicroBatch, FirstChoiceAlpha = 1f }).Losses[AuxiliaryLoss.FirstChoice];
        Assert.InRange(whole, 0.5, 4);
        Assert.Equal(whole, Measure(new BalanceConfig { Scope = BalanceScope.Group, GroupTokens = int.MaxValue, FirstChoiceAlpha = 1f }).Losses[AuxiliaryLoss.FirstChoice]);
    }

    [Fact]
    public void Training_a_weight_that_is_always_one_is_refused() =>
        Assert.Contains("the router gets no gradient", Assert.Throws<ConfigurationException>(() => TinyText.Config("model.num_experts_per_tok=1", "model.norm_topk_prob=true").Validate("test")).Message, StringComparison.Ordinal);

    [Fact]
    public void The_loss_over_all_layers_is_reported_as_what_it_is()
    {
        using TinyRun run = new(1, "balance.scope=all_layers", "balance.expert_alpha=0.01");
        StepMetrics metrics = run.Step.Run(0, 0);
        IReadOnlyList<LayerRouting> layers = run.Step.Context.Routing.Layers;
        Assert.True(layers.Count > 1);
        double joint = 0;
        for (int expert = 0; expert < 8; expert++)
        {
            double slots = layers.Sum(layer => layer.TokensPerExpert[expert]) / (double)layers.Sum(layer => layer.TokensPerExpert.Sum());
            joint += 8 * slots * layers.Average(layer => layer.MeanScores[expert]);
        }

        Assert.Equal(joint, metrics.Losses[AuxiliaryLoss.ExpertLevel], 1e-9);
        Assert.NotEqual(layers.Average(layer => layer.Losses[AuxiliaryLoss.ExpertLevel]), metrics.Losses[AuxiliaryLoss.ExpertLevel], 1e-6);
    }

    [Theory]
    [InlineData(0f)]
    [InlineData(-60f)] // scores of 1e-26
    public void A_router_cannot_lower_its_loss_by_lowering_all_scores_alike(float shift)
    {
        float[] logits = [.. KernelCheck.Random(Tokens * Experts, 12).Select(value => value + shift)];
        using WorkerPool workers = new(1);
        using RouterProbe probe = new(workers, Tokens, isTraining: true, new BalanceConfig { ExpertAlpha = 1 });
        Tensor input = probe.Input(logits);
        LayerRouting record = probe.Context.Routing.Next(0, Experts);
        RoutingPlan plan = TopKRouterConfig.Over(new GivenLogits(input), null, s_moe with { Scoring = RouterScoring.Sigmoid }, 1f).Route(input, probe.Context);
        new BalanceLosses().Record(plan, record, probe.Context);

        double[][] scores = [.. KernelCheck.Double(logits).Chunk(Experts).Select(row => row.Select(z => 1 / (1 + Math.Exp(-z))).ToArray())];
        double expected = Enumerable.Range(0, Experts).Sum(e => (double)Experts / (Tokens * TopK) * plan.ExpertIds.ToArray().Count(id => id == e) * scores.Average(row => row[e] / row.Sum()));
        Assert.Equal(expected, record.Losses[AuxiliaryLoss.ExpertLevel], 1e-5);
        probe.Backward();
        double slope = input.Gradient.ToArray().Sum(value => (double)value); // of the loss, when all logits rise together
        double exact = Enumerable.Range(0, Tokens).Sum(token => Enumerable.Range(0, Experts).Sum(e => SlopeOf(scores[token], e) * plan.ExpertIds.ToArray().Count(id => id == e) * Experts / (double)(Tokens * TopK * Tokens)));
        Assert.Equal(exact, slope, 1e-6);
    }

    // d(s_e / sum s) when all logits rise together: s_e' = s_e (1 - s_e)
    private static double SlopeOf(double[] scores, int expert)
    {
        double sum = scores.Sum();
        return ((scores[expert] * (1 - scores[expert])) - (scores[expert] / sum * scores.Sum(s => s * (1 - s)))) / sum;
    }

    [Theory]
    [InlineData("sequence")]
    [InlineData("all_layers")]
    public void A_loss_is_reported_as_the_mean_over_the_layers_that_have_it(string scope)
    {
        using TinyRun run = new(
            1,
            "model.moesharp={ \"router\": \"stablemoe\", \"attention\": \"mixture\", \"num_attention_experts\": 4, \"attention_experts_per_tok\": 2 }",
            "model.num_experts_per_tok=1", "balance.expert_alpha=0.01", $"balance.scope={scope}");
        ForwardContext context = run.Step.Context;
        StepMetrics metrics = run.Step.Run(0, 0);
        IReadOnlyList<LayerRouting> layers = context.Routing.Layers;
        IReadOnlyList<LayerRouting> attention = context.AttentionRouting.Layers;
        Assert.True(layers.Count > 1 && attention.Count == layers.Count);
        Assert.All(layers, layer => Assert.NotEqual(0, layer.Losses[AuxiliaryLoss.Distillation]));

        Assert.Equal(layers.Average(layer => layer.Losses[AuxiliaryLoss.Distillation]), metrics.Losses[AuxiliaryLoss.Distillation], 1e-9); // attention has no light router
        double expected = scope == "sequence"
            ? layers.Concat(attention).Average(layer => layer.Losses[AuxiliaryLoss.ExpertLevel])
            : (JointExpertLoss.Measure(context.Routing) + JointExpertLoss.Measure(context.AttentionRouting)) / 2;
        Assert.Equal(expected, metrics.Losses[AuxiliaryLoss.ExpertLevel], 1e-9);
    }

    [Fact]
    public void A_new_step_forgets_the_loads_of_the_one_before_even_when_it_begins_with_padding()
    {
        using WorkerPool workers = new(1);
        using ForwardContext context = new(workers);
        List<Parameter> parameters = [];
        MoeLayer layer = MoeAssembly.Build(new MoePlace(0, "layers.0.moe", Hidden, parameters), s_moe);
        parameters.ForEach(parameter => NormalFill.Fill(workers, (ulong)parameter.Name.Length, 0.6f, parameter.Value));
        BalanceConfig balance = new() { Scope = BalanceScope.GlobalBatch, ExpertAlpha = 1f };
        float[] x = KernelCheck.Random(Tokens * Hidden, 4);
        double alone = Run(layer, x, balance, context).Losses[AuxiliaryLoss.ExpertLevel];
        Run(layer, KernelCheck.Random(Tokens * Hidden, 5), balance, context); // the step before
        Assert.Equal(0, Run(layer, x, balance, context, isPadding: true).Losses[AuxiliaryLoss.ExpertLevel]);
        context.MicroBatch = 1;
        Assert.Equal(alone, Run(layer, x, balance, context).Losses[AuxiliaryLoss.ExpertLevel]);
        parameters.ForEach(parameter => parameter.Dispose());
    }

    [Fact]
    public void Losses_of_a_router_without_scores_are_refused()
    {
        TrainingConfig config = TinyText.Config();
        config = config with { Model = config.Model! with { Moe = config.Model.Moe! with { Router = new HashRouterConfig() } } };
        Assert.Contains("'hash' scores nothing", Assert.Throws<ConfigurationException>(() => config.Validate("test")).Message, StringComparison.Ordinal);
        Assert.Contains("'hash' scores nothing", Assert.Throws<ConfigurationException>(() => (config with { Balance = new BalanceConfig { ImportanceAlpha = 0.1f } }).Validate("test")).Message, StringComparison.Ordinal);
        (config with { Balance = new BalanceConfig() }).Validate("test");
    }

    [Fact]
    public void Loads_of_the_global_batch_are_those_of_the_step_so_far()
    {
        using WorkerPool workers = new(1);
        using ForwardContext context = new(workers);
        List<Parameter> parameters = [];
        MoeLayer layer = MoeAssembly.Build(new MoePlace(0, "layers.0.moe", Hidden, parameters), s_moe);
        parameters.ForEach(parameter => NormalFill.Fill(workers, (ulong)parameter.Name.Length, 0.6f, parameter.Value));
        BalanceConfig balance = new() { Scope = BalanceScope.GlobalBatch, ExpertAlpha = 1f };
        context.Routing.CaptureTokens = true;
        double[] slots = new double[Experts];
        for (int step = 0; step < 2; step++)
        {
            Array.Clear(slots); // a new step begins anew
            for (int pass = 0; pass < 3; pass++)
            {
                context.MicroBatch = pass;
                LayerRouting record = Run(layer, KernelCheck.Random(Tokens * Hidden, (10 * step) + pass), balance, context);
                Array.ForEach(record.ExpertIds, expert => slots[expert]++);
                double expected = Enumerable.Range(0, Experts).Sum(expert => slots[expert] * Experts / ((pass + 1) * Tokens * TopK) * record.RouterProbs.Where((_, index) => index % Experts == expert).Average(value => (double)value));
                Assert.Equal(expected, record.Losses[AuxiliaryLoss.ExpertLevel], 1e-6);
            }
        }

        parameters.ForEach(parameter => parameter.Dispose());
    }

    private static LayerRouting Run(MoeLayer layer, float[] x, BalanceConfig balance, ForwardContext context, bool isPadding = false)
    {
        TokenBatch batch = new();
        batch.Resize(Tokens, Tokens);
        for (int row = 0; row < Tokens && isPadding; row++)
        {
            batch.MarkPadding(row);
        }

        context.BeginTraining(batch, balance, 1f);
        Tensor input = context.Pool.Rent(new Shape(Tokens, Hidden));
        x.CopyTo(input.Data);
        layer.Forward(input, context);
        context.EndPass();
        return context.Routing.Layers[0];
    }

    private static double Differentiate(MoeLayer[] layers, float[] x, BalanceConfig balance, ForwardContext context)
    {
        TokenBatch batch = new();
        batch.Resize(Tokens, Tokens);
        context.BeginTraining(batch, balance, 1f);
        Tensor input = context.Pool.Rent(new Shape(Tokens, Hidden));
        x.CopyTo(input.Data);
        foreach (MoeLayer layer in layers)
        {
            layer.Forward(input, context).WriteGradient(out _).Clear();
        }

        context.Tape!.Backward(context);
        double loss = (balance.ExpertAlpha * JointExpertLoss.Measure(context.Routing)) + (balance.CommunicationAlpha * context.Routing.Layers.Sum(layer => layer.Losses[AuxiliaryLoss.Communication]));
        context.EndPass();
        return loss;
    }

    // Choices are constants of the gradient.
    private static double Reference(double[][] routers, int[][] chosen, double[] x, double jointAlpha, double communicationAlpha)
    {
        double[][][] scores = [.. routers.Select(router => x.Chunk(Hidden).Select(row => Softmax([.. Enumerable.Range(0, Experts).Select(e => row.Select((value, h) => value * router[(e * Hidden) + h]).Sum())])).ToArray())];
        double loss = 0;
        for (int expert = 0; expert < Experts; expert++)
        {
            double load = (double)Experts * chosen.Sum(ids => ids.Count(id => id == expert)) / (2 * Tokens * TopK);
            loss += jointAlpha * load * scores.Average(layer => layer.Average(row => row[expert]));
        }

        for (int layer = 0; layer < 2; layer++)
        {
            for (int group = 0; group < 2; group++)
            {
                double load = 2.0 / (2 * Tokens) * chosen[layer].Chunk(TopK).Count(ids => ids.Any(id => id / 2 == group));
                loss += communicationAlpha * load * scores[layer].Average(row => row[2 * group] + row[(2 * group) + 1]);
            }
        }

        return loss;
    }

    private static double[] Softmax(double[] logits)
    {
        double[] exponentials = [.. logits.Select(Math.Exp)];
        return [.. exponentials.Select(value => value / exponentials.Sum())];
    }
}
