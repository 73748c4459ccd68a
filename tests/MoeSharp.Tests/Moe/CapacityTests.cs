using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Moe.Dispatch;
using MoeSharp.Ops;
using MoeSharp.Tensors;
using MoeSharp.Tests.Kernels;
using MoeSharp.Tests.Reference;
using MoeSharp.Tests.Training;
using MoeSharp.Training;

namespace MoeSharp.Tests.Moe;

public sealed class CapacityTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Weights_that_are_kept_have_the_gradient_of_their_formula(bool isNormalized)
    {
        int[] ids = [2, -1, 0, 1, -1, -1];
        float[] weights = [0.5f, 0.25f, 0.125f, 0.75f, 0.3f, 0.1f];
        float[] cotangent = [1f, -2f, 3f, 0.5f, 4f, 5f];
        double[] Keep(double[] values)
        {
            double Sum(int token) => Enumerable.Range(2 * token, 2).Sum(slot => ids[slot] < 0 ? 0 : values[slot]) + 1e-9;
            return [.. values.Select((value, slot) => ids[slot] < 0 ? 0 : isNormalized ? value / Sum(slot / 2) : value)];
        }

        using WorkerPool workers = new(1);
        using ForwardContext context = new(workers);
        TokenBatch batch = new();
        batch.Resize(3, 3);
        context.BeginTraining(batch, new BalanceConfig(), 1f);
        Tensor input = context.Pool.Rent(new Shape(3, 2));
        weights.CopyTo(input.Data);
        Tensor output = Op.KeepSlots(input, ids, isNormalized, context);
        KernelCheck.Close(Keep(KernelCheck.Double(weights)), output.Data.ToArray(), 1e-6, 1e-6, "kept");
        cotangent.CopyTo(output.WriteGradient(out _));
        context.Tape!.Backward(context);
        KernelCheck.Close(RowReference.Gradient(Keep, KernelCheck.Double(weights), KernelCheck.Double(cotangent)), input.Gradient.ToArray(), 1e-5, 1e-5, "gradient");
        context.EndPass();
    }

    [Theory]
    [InlineData("\"capacity_factor\": 0.5")]
    [InlineData("\"capacity_factor\": 0.5, \"drop_policy\": \"probability\", \"renormalize_after_drop\": true")]
    [InlineData("\"capacity_factor\": 0.5, \"drop_policy\": \"batch_prioritized\", \"capacity_group_size\": 24")]
    [InlineData("\"capacity_factor\": 0.5, \"drop_policy\": \"reroute\"", 1)]
    [InlineData("\"capacity_factor\": 0.5, \"device_capacity_factor\": 0.75, \"num_devices\": 4")]
    public void A_steady_training_step_with_capacity_drops_slots_and_allocates_nothing(string section, int topK = 3)
    {
        using TinyRun run = new(2, $"model.moesharp={{ {section} }}", $"model.num_experts_per_tok={topK}");
        TrainingStep step = run.Step;
        for (int i = 0; i < 4; i++)
        {
            step.Run(0, 0);
        }

        long before = GC.GetAllocatedBytesForCurrentThread();
        StepMetrics metrics = step.Run(0, 0);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 0);
        Assert.InRange(metrics.DropRate, 0.2, 0.8);
        Assert.True(double.IsFinite(metrics.Loss));
    }

    [Fact]
    public void What_the_section_says_is_written_and_read_back()
    {
        CapacityRule rule = new()
        {
            TrainingFactor = 1.25,
            EvaluationFactor = 2,
            Minimum = 4,
            Multiple = 8,
            RoundsUp = false,
            CountsSlots = false,
            CountsPadding = true,
            Policy = DropPolicy.BatchPrioritized,
            GroupTokens = 1024,
            RenormalizesAfterDrop = true,
            NumDevices = 5,
            DeviceFactor = 1.5,
            ProtectedShare = 0.25,
        };
        ModelConfig config = ModelPresets.Get("nano");
        config = config with { Moe = config.Moe! with { Capacity = rule } };
        Assert.Equal(rule, ModelConfigJson.Parse(ModelConfigJson.Write(config), "test").Moe!.Capacity);
    }

    [Theory]
    [InlineData("capacity_factor", "-1", "must be positive")]
    [InlineData("min_expert_capacity", "4", "unknown key 'moesharp.min_expert_capacity'")] // without a factor it would do nothing
    [InlineData("device_capacity_factor", "1", "needs num_devices")]
    [InlineData("capacity_factor", "1, \"device_capacity_factor\": 1", "needs num_devices")]
    [InlineData("capacity_factor", "1, \"device_capacity_factor\": 1, \"num_devices\": -3", "needs num_devices of 1 or more, not -3")]
    [InlineData("capacity_factor", "0", "must be above 0")]
    [InlineData("max_rounds", "2", "unknown key 'moesharp.max_rounds'")]
    public void What_could_do_nothing_or_nonsense_is_refused(string key, string value, string says)
    {
        string json = ModelConfigJson.Write(ModelPresets.Get("nano"));
        json = json.Replace("\"model_type\"", $"\"moesharp\": {{ \"{key}\": {value} }}, \"model_type\"", StringComparison.Ordinal);
        Assert.Contains(says, Assert.Throws<ConfigurationException>(() => ModelConfigJson.Parse(json, "test")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Renormalising_one_expert_per_token_is_refused_because_its_router_could_not_learn()
    {
        string message = Assert.Throws<ConfigurationException>(() => TinyText.Config("model.moesharp={ \"capacity_factor\": 1, \"renormalize_after_drop\": true }", "model.num_experts_per_tok=1")).Message;
        Assert.Contains("the router got no gradient", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("\"renormalize_after_drop\": true", "would undo routed_scaling_factor 2", "model.routed_scaling_factor=2")]
    [InlineData("\"router\": \"gshard\", \"second_expert_policy\": \"none\", \"renormalize_after_drop\": true", "second_expert_policy 'none'", "model.num_experts_per_tok=2")]
    [InlineData("\"drop_policy\": \"reroute\"", "for num_experts_per_tok 1, not 3", "model.num_experts_per_tok=3")]
    [InlineData("\"drop_policy\": \"reroute\", \"device_capacity_factor\": 1, \"num_devices\": 2", "do not go together", "model.num_experts_per_tok=1")]
    [InlineData("\"drop_policy\": \"reroute\", \"selection_bias\": true", "by scores alone", "model.num_experts_per_tok=1")]
    [InlineData("\"drop_policy\": \"reroute\", \"score_order\": \"top_k_then_softmax\"", "by scores alone", "model.num_experts_per_tok=1")]
    [InlineData("\"drop_policy\": \"reroute\", \"router\": \"noisy_top_k\"", "by scores alone", "model.num_experts_per_tok=1")]
    public void What_would_undo_the_router_is_refused(string section, string says, string setting)
    {
        string message = Assert.Throws<ConfigurationException>(() => TinyText.Config($"model.moesharp={{ \"capacity_factor\": 1, {section} }}", setting)).Message;
        Assert.Contains(says, message, StringComparison.Ordinal);
    }

    [Fact]
    public void Rerouting_begins_with_what_the_router_chose_and_goes_on_by_scores()
    {
        // One place each. Token 0 was sent to its second best; token 1 loses that place and takes its own best of the others; token 2 asks for nothing; token 3 gets the last.
        float[] scores = [0.5f, 0.3f, 0.2f, 0.1f, 0.6f, 0.3f, 0.9f, 0.1f, 0f, 0.4f, 0.4f, 0.2f];
        TokenPlaces placed = new() { ExpertIds = new[] { 1, 1, -1, 1 }, Positions = new int[4], Rounds = new int[4] };
        SlotPlacement.Reroute(scores, 3, 1, 3, new RerouteScratch { Wanted = new int[4], Offered = new int[4], Taken = new int[3] }, placed);
        Assert.Equal([1, 2, -1, 0], placed.ExpertIds.ToArray());
        Assert.Equal([0, 1, -1, 1], placed.Rounds.ToArray());
        Assert.Equal([0, 0, -1, 0], placed.Positions.ToArray());
    }

    [Fact]
    public void Rerouting_offers_every_other_expert_once_and_ends()
    {
        float[] scores = [0.3f, 0.3f, 0.4f, float.NaN, float.NaN, float.NaN];
        TokenPlaces placed = new() { ExpertIds = new[] { 0, 0 }, Positions = new int[2], Rounds = new int[2] };
        SlotPlacement.Reroute(scores, 3, 0, 3, new RerouteScratch { Wanted = new int[2], Offered = new int[2], Taken = new int[3] }, placed);
        Assert.Equal([-1, -1], placed.ExpertIds.ToArray());
    }

    [Fact]
    public void What_a_router_with_its_own_places_turns_away_is_reported_and_still_counts_as_load()
    {
        using TinyRun run = new(1, "model.moesharp={ \"router\": \"gshard\", \"second_expert_policy\": \"all\", \"expert_capacity\": 8 }", "model.num_experts_per_tok=2");
        StepMetrics metrics = run.Step.Run(0, 0);
        Assert.InRange(metrics.DropRate, 0.75, 0.95); // 8 experts with 8 places each for 256 slots
        Assert.Equal(256, run.Step.Load.TokensPerExpert(0).ToArray().Sum());
    }

    [Fact]
    public void With_capacity_a_text_depends_on_its_neighbours_and_without_it_does_not()
    {
        Assert.NotEqual(LogitsAlone(2), LogitsBesideAnother(2));
        Assert.Equal(LogitsAlone(0), LogitsBesideAnother(0));
        Assert.Equal(LogitsAlone(0), LogitsAlone(1000)); // room for all is no limit
    }

    private static float[] LogitsAlone(double factor) => Logits(factor, s_text);

    private static float[] LogitsBesideAnother(double factor) => Logits(factor, s_neighbour, s_text);

    private static readonly int[] s_text = [5, 9, 2, 7, 7, 1, 3, 8];
    private static readonly int[] s_neighbour = [4, 4, 4, 4, 4, 4, 4, 4];

    // Of the last text's rows.
    private static float[] Logits(double factor, params int[][] texts)
    {
        using WorkerPool workers = new(2);
        using ForwardContext context = new(workers);
        ModelConfig config = ModelPresets.Get("nano");
        config = config with { VocabSize = 16, BosTokenId = null, EosTokenId = null, Moe = config.Moe! with { Capacity = factor == 0 ? null : new CapacityRule { EvaluationFactor = factor } } };
        using LanguageModel model = new(config);
        WeightInit.Initialize(model, 3, WeightInitScheme.FanIn, workers);
        float[] logits = new float[s_text.Length * config.VocabSize];
        model.Logits(TokenBatch.FromSequences(texts), s_text.Length, logits, context);
        return logits;
    }
}
