using System.Text.Json.Serialization;
using MoeSharp.Data;
using MoeSharp.Execution;
using MoeSharp.Model;
using MoeSharp.Model.Routers;
using MoeSharp.Tensors;

namespace MoeSharp.Training;

/// <summary>Everything that decides what a training run computes; see <see cref="TrainingConfigJson"/> for how it is read.</summary>
public sealed record TrainingConfig
{
    private const int MostLooks = 32; // shares of a run after which its choices are kept (arbitrary)
    private const int SmallestVocabulary = 258; // 256 bytes, begin of text, end of text

    /// <summary>The architecture; its vocabulary size is that of the tokenizer once that is known.</summary>
    [JsonIgnore]
    public ModelConfig? Model { get; init; }

    /// <summary>Texts and how they become sequences.</summary>
    public DatasetConfig Data { get; init; } = new();

    /// <summary>Sizes of a step.</summary>
    public BatchConfig Batch { get; init; } = new();

    /// <summary>When the run ends.</summary>
    public BudgetConfig Budget { get; init; } = new();

    /// <summary>AdamW and clipping.</summary>
    public OptimizerConfig Optimizer { get; init; } = new();

    /// <summary>Learning rate over the run.</summary>
    public ScheduleConfig Schedule { get; init; } = new();

    /// <summary>How the first weights are drawn: fan_in suits small models, normal (with the model's initializer_range) is the paper's.</summary>
    public WeightInitScheme InitScheme { get; init; } = WeightInitScheme.FanIn;

    /// <summary>Auxiliary losses of the router.</summary>
    public BalanceConfig Balance { get; init; } = new() { ExpertAlpha = 0.01f };

    /// <summary>How often held-out text is measured.</summary>
    public ValidationConfig Validation { get; init; } = new();

    /// <summary>How often the run is saved.</summary>
    public CheckpointConfig Checkpoint { get; init; } = new();

    /// <summary>Steps between two lines of metrics.jsonl.</summary>
    public int LogEverySteps { get; init; } = 10;

    /// <summary>Whether a step is written to the logs.</summary>
    /// <param name="step">Step, from 1.</param>
    public bool IsLogged(long step) => step == 1 || step % LogEverySteps == 0;

    /// <summary>Seed of the initial weights and of the order of the data.</summary>
    public ulong Seed { get; init; } = 1;

    /// <summary>Optimiser steps that the budget allows, or null when only time limits the run.</summary>
    [JsonIgnore]
    public long? TotalSteps
    {
        get
        {
            long? byTokens = Budget.Tokens is { } tokens ? (tokens + Batch.Tokens - 1) / Batch.Tokens : null;
            return (Budget.Steps, byTokens) switch
            {
                ({ } steps, { } other) => Math.Min(steps, other),
                var (steps, other) => steps ?? other,
            };
        }
    }

    /// <summary>The architecture, which a run must have.</summary>
    /// <exception cref="ConfigurationException">There is none.</exception>
    public ModelConfig RequireModel() =>
        Model ?? throw new ConfigurationException("the configuration names no model. Give --preset NAME, or a section model in --config FILE.");

    /// <summary>Checks every value and combination.</summary>
    /// <param name="source">Where the configuration comes from, for the message.</param>
    /// <exception cref="ConfigurationException">Lists all problems.</exception>
    public void Validate(string source)
    {
        List<string> problems = [];
        void Require(bool holds, string problem)
        {
            if (!holds)
            {
                problems.Add(problem);
            }
        }

        Require(Data.ValidationShare is > 0 and < 1, $"data.validation_share {Data.ValidationShare} must lie between 0 and 1, for example 0.05");
        Require(Data.VocabSize >= SmallestVocabulary, $"data.vocab_size {Data.VocabSize} is too small: 256 bytes and the begin and end of a text are always there. Use {SmallestVocabulary} or more");
        Require(Batch.SequenceLength >= 2, $"batch.sequence_length {Batch.SequenceLength} must be at least 2");
        Require(Batch.Tokens >= Batch.SequenceLength && Batch.Tokens % Math.Max(1, Batch.SequenceLength) == 0, $"batch.tokens {Batch.Tokens} must be a multiple of batch.sequence_length {Batch.SequenceLength}");
        Require(Batch.MicroBatchTokens >= 0 && Batch.TokensPerPass % Math.Max(1, Batch.SequenceLength) == 0, $"batch.micro_batch_tokens {Batch.MicroBatchTokens} must be a multiple of batch.sequence_length {Batch.SequenceLength} (0: no accumulation)");
        Require(Batch.MicroBatchTokens <= 0 || Batch.Tokens % Batch.MicroBatchTokens == 0, $"batch.micro_batch_tokens {Batch.MicroBatchTokens} must divide batch.tokens {Batch.Tokens}");
        Require(Budget.Steps is null or > 0, $"budget.steps {Budget.Steps} must be positive");
        Require(Budget.Tokens is null or > 0, $"budget.tokens {Budget.Tokens} must be positive");
        Require(Budget.Minutes is null or > 0, $"budget.minutes {Budget.Minutes} must be positive");
        Require(Budget.Steps is not null || Budget.Tokens is not null || Budget.Minutes is not null, "the run has no end: give --steps or --minutes, or set budget.tokens");
        Require(Optimizer.Beta1 is >= 0 and < 1, $"optimizer.beta1 {Optimizer.Beta1} must be at least 0 and below 1");
        Require(Optimizer.Beta2 is >= 0 and < 1, $"optimizer.beta2 {Optimizer.Beta2} must be at least 0 and below 1");
        Require(Optimizer.Epsilon > 0, $"optimizer.epsilon {Optimizer.Epsilon} must be positive");
        Require(Optimizer.WeightDecay >= 0, $"optimizer.weight_decay {Optimizer.WeightDecay} must not be negative");
        Require(Optimizer.ClipNorm >= 0, $"optimizer.clip_norm {Optimizer.ClipNorm} must not be negative (0: no clipping)");
        Require(Schedule.LearningRate > 0 && float.IsFinite(Schedule.LearningRate), $"schedule.learning_rate {Schedule.LearningRate} must be positive");
        Require(Schedule.WarmupSteps >= 0, $"schedule.warmup_steps {Schedule.WarmupSteps} must not be negative");
        Require(Schedule.FirstDropAt is >= 0 and <= 1 && Schedule.SecondDropAt >= Schedule.FirstDropAt, $"schedule.first_drop_at {Schedule.FirstDropAt} and second_drop_at {Schedule.SecondDropAt} must be shares of the run in this order");
        Require(Schedule.DropFactor is > 0 and <= 1, $"schedule.drop_factor {Schedule.DropFactor} must lie above 0 and not above 1");
        Require(Schedule.FinalShare is >= 0 and <= 1, $"schedule.final_share {Schedule.FinalShare} must lie between 0 and 1");
        RequireBalance(Require);
        Require(Model is null || Batch.SequenceLength <= Model.MaxPositionEmbeddings, $"batch.sequence_length {Batch.SequenceLength} is longer than the model's max_position_embeddings {Model?.MaxPositionEmbeddings}; shorten it, or set model.max_position_embeddings");
        Require(Model is null || TrainingLimits.Of(Model).Count == 0, $"model_type '{Model?.ModelType}' cannot be trained: there is no backward pass for {(Model is null ? "" : string.Join(", ", TrainingLimits.Of(Model)))}. Train an architecture without");
        Require(Validation.EverySteps >= 0 && Validation.Tokens >= 0, "validation.every_steps and validation.tokens must not be negative");
        Require(Validation.SaturationAt.Count <= MostLooks && Validation.SaturationAt.All(share => share is >= 0 and < 1), $"validation.saturation_at must be at most {MostLooks} shares of the run, at least 0 and below 1, for example [0.1, 0.5]");
        Require(Checkpoint.EverySteps >= 0, $"checkpoint.every_steps {Checkpoint.EverySteps} must not be negative");
        Require(Checkpoint.Keep >= 1, $"checkpoint.keep {Checkpoint.Keep} must be at least 1");
        Require(LogEverySteps >= 1, $"log_every_steps {LogEverySteps} must be at least 1");
        if (problems.Count > 0)
        {
            throw new ConfigurationException(string.Join(Environment.NewLine, problems.Select(problem => $"{source}: {problem}.")));
        }
    }

    private void RequireBalance(Action<bool, string> require)
    {
        float[] factors =
        [
            Balance.ExpertAlpha, Balance.DeviceAlpha, Balance.CommunicationAlpha, Balance.FirstChoiceAlpha, Balance.SequenceAlpha, Balance.BatchAlpha,
            Balance.ImportanceAlpha, Balance.LoadAlpha, Balance.ZLossAlpha, Balance.BiasUpdateSpeed,
        ];
        require(Array.TrueForAll(factors, factor => factor >= 0), "the factors of balance (expert_alpha, device_alpha, communication_alpha, first_choice_alpha, sequence_alpha, batch_alpha, importance_alpha, load_alpha, z_loss_alpha, bias_update_speed) must not be negative");
        require(Balance.NumDeviceGroups >= 1, $"balance.num_device_groups {Balance.NumDeviceGroups} must be at least 1");
        require(Balance.MaxDevicesPerToken >= 1, $"balance.max_devices_per_token {Balance.MaxDevicesPerToken} must be at least 1");
        require(Balance.Scope != BalanceScope.Group || Balance.GroupTokens > 0, "balance.scope 'group' needs balance.group_tokens, the tokens of a group");
        require(Balance.Scope == BalanceScope.Group || Balance.GroupTokens == 0, $"balance.group_tokens {Balance.GroupTokens} is for balance.scope 'group'; set it to 0");
        if (Model?.Moe is not { } moe)
        {
            require(Balance.BiasUpdateSpeed == 0, "balance.bias_update_speed is for models with experts that have a selection bias; set it to 0");
            return;
        }

        RequireDevices(moe, require);
        require(Balance.Scope != BalanceScope.AllLayers || (Balance.DeviceAlpha == 0 && Balance.FirstChoiceAlpha == 0), "balance.scope 'all_layers' is for expert_alpha: device_alpha and first_choice_alpha are losses of one layer. Choose another scope, or set them to 0");
        require(Balance.BiasUpdateSpeed == 0 || moe.HasSelectionBias, "balance.bias_update_speed is for models with a selection bias (topk_method 'noaux_tc'); set it to 0");
        require(moe.TopK > 1 || moe.Router is not TopKRouterConfig || (!moe.NormTopKProb && moe.Scoring != RouterScoring.SoftmaxOverChosen), "num_experts_per_tok 1 with weights divided by their sum (norm_topk_prob, or score_order 'top_k_then_softmax') makes every weight 1, so that the router gets no gradient; set norm_topk_prob to false, or use more experts");
        require(moe.Router is not HashRouterConfig || !moe.NormTopKProb, "norm_topk_prob does nothing with router 'hash', which gives every expert the weight routed_scaling_factor; set it to false");
        require(moe.Router is not TaskLevelRouterConfig { TaskTokens.Count: 0 } || Data.TaskFrom != TaskNaming.None, "the router 'task_level' goes by tasks, and nothing tells the task of a text; set data.task_from to file, folder or field (what names the tasks of your texts), or model.moesharp.task_tokens to the tokens that announce them");
        require(moe.Router.HasScores || Model.AttentionExperts is { Kind: AttentionExpertsKind.Mixture } || !Balance.NeedsScores, $"the router '{moe.Router.Name}' scores nothing that a balance loss could act on; set balance.expert_alpha and the other factors to 0");
        require(moe.Router.HasChoiceChances || Balance.LoadAlpha == 0, $"balance.load_alpha is for routers whose choices carry noise (noisy_top_k); '{moe.Router.Name}' has none, so set it to 0");
        require(!moe.Router.HasChoiceChances || Balance.LoadAlpha == 0 || moe.TopK < moe.NumExperts, $"balance.load_alpha has nothing to act on: with num_experts_per_tok {moe.TopK} every token uses all {moe.NumExperts} experts; set it to 0, or use fewer experts per token");
        require(!moe.Router.HasScores || moe.Router.HasSoftmax(moe) || Balance.ZLossAlpha == 0, "balance.z_loss_alpha needs a softmax; this model's router scores with a sigmoid, so set it to 0");
    }

    private void RequireDevices(MoeConfig moe, Action<bool, string> require)
    {
        bool usesDevices = Balance.DeviceAlpha != 0 || Balance.CommunicationAlpha != 0;
        bool hasList = Balance.ExpertDevices.Count > 0;
        int numGroups = hasList ? Balance.ExpertDevices.Max() + 1 : Balance.NumDeviceGroups;
        require(!usesDevices || numGroups > 1, "balance.device_alpha and communication_alpha need groups of experts: set balance.num_device_groups or expert_devices");
        require(usesDevices || numGroups <= 1, "balance.num_device_groups and expert_devices are for device_alpha and communication_alpha, which are 0; set one of them, or leave the groups out");
        require(!hasList || Balance.NumDeviceGroups == 1, $"balance.num_device_groups {Balance.NumDeviceGroups} and expert_devices both say how experts are spread; leave one of them out");
        require(!usesDevices || hasList || moe.NumExperts % Math.Max(1, Balance.NumDeviceGroups) == 0, $"balance.num_device_groups {Balance.NumDeviceGroups} must divide the {moe.NumExperts} routed experts of the model; or say in balance.expert_devices which device each expert is on");
        bool isWhole = Balance.ExpertDevices.Count == moe.NumExperts && Balance.ExpertDevices.Min() == 0 && Balance.ExpertDevices.Distinct().Count() == numGroups;
        require(!hasList || isWhole, $"balance.expert_devices must give a device for each of the {moe.NumExperts} routed experts, counted from 0 without gaps");
        require(Balance.MaxDevicesPerToken == 1 || Balance.CommunicationAlpha != 0, $"balance.max_devices_per_token {Balance.MaxDevicesPerToken} is for communication_alpha, which is 0; leave it out");
        require(Balance.CommunicationAlpha == 0 || Balance.MaxDevicesPerToken <= Math.Min(numGroups, moe.TopK), $"balance.max_devices_per_token {Balance.MaxDevicesPerToken} is more than a token can use: there are {numGroups} groups and {moe.TopK} experts per token");
    }
}

/// <summary>Texts and the tokenizer that is trained on them when none is given.</summary>
public sealed record DatasetConfig
{
    /// <summary>Share of the documents that is held out for validation.</summary>
    public double ValidationShare { get; init; } = 0.05;

    /// <summary>Tokens of the byte-level BPE that is trained when no tokenizer is given.</summary>
    public int VocabSize { get; init; } = 2048;

    /// <summary>Field of a .jsonl line that holds its text.</summary>
    public string TextField { get; init; } = "text";

    /// <summary>A line that ends one document and begins the next in plain text files; empty: each file is one document.</summary>
    public string Separator { get; init; } = "";

    /// <summary>What names the task of each text: its file, its folder, or the field domain of its .jsonl record. The texts then begin with a token of their task.</summary>
    public TaskNaming TaskFrom { get; init; }
}

/// <summary>Sizes of an optimiser step.</summary>
public sealed record BatchConfig
{
    /// <summary>Tokens per training sequence.</summary>
    public int SequenceLength { get; init; } = 256;

    /// <summary>Tokens per optimiser step; a multiple of the sequence length.</summary>
    public int Tokens { get; init; } = 4096;

    /// <summary>Tokens that go through the model at once; 0 for all of a step's. Smaller ones are accumulated.</summary>
    public int MicroBatchTokens { get; init; }

    /// <summary>Tokens per pass through the model.</summary>
    [JsonIgnore]
    public int TokensPerPass => MicroBatchTokens == 0 ? Tokens : MicroBatchTokens;

    /// <summary>Passes that one optimiser step accumulates.</summary>
    [JsonIgnore]
    public int NumMicroBatches => Tokens / TokensPerPass;
}

/// <summary>Limits of a run; the first one reached ends it.</summary>
public sealed record BudgetConfig
{
    /// <summary>Optimiser steps.</summary>
    public long? Steps { get; init; }

    /// <summary>Training tokens.</summary>
    public long? Tokens { get; init; }

    /// <summary>Minutes of training. What a time budget computes depends on the machine; give steps for a reproducible run.</summary>
    public double? Minutes { get; init; }
}

/// <summary>AdamW (arXiv 1711.05101) with clipping by the global norm.</summary>
public sealed record OptimizerConfig
{
    /// <summary>Decay of the first moment.</summary>
    public float Beta1 { get; init; } = 0.9f;

    /// <summary>Decay of the second moment.</summary>
    public float Beta2 { get; init; } = 0.95f;

    /// <summary>Added to the root of the second moment.</summary>
    public float Epsilon { get; init; } = 1e-8f;

    /// <summary>Decoupled weight decay.</summary>
    public float WeightDecay { get; init; } = 0.1f;

    /// <summary>Whether norms and biases decay too. Off: only matrices do, since a decaying norm gain works against the norm.</summary>
    public bool DecayEveryTensor { get; init; }

    /// <summary>Largest global gradient norm; 0 switches clipping off.</summary>
    public float ClipNorm { get; init; } = 1f;
}

/// <summary>Shape of the learning rate after its warm-up.</summary>
public enum ScheduleKind
{
    /// <summary>Constant, with two drops (DeepSeekMoE, arXiv 2401.06066, section 4.1.3).</summary>
    Steps,

    /// <summary>Half a cosine wave down to a final share.</summary>
    Cosine,

    /// <summary>Constant.</summary>
    Constant,
}

/// <summary>Learning rate over a run.</summary>
public sealed record ScheduleConfig
{
    /// <summary>Shape after the warm-up.</summary>
    public ScheduleKind Kind { get; init; } = ScheduleKind.Steps;

    /// <summary>Largest learning rate.</summary>
    public float LearningRate { get; init; } = 2e-3f;

    /// <summary>Steps over which the rate rises linearly from 0.</summary>
    public int WarmupSteps { get; init; } = 50;

    /// <summary>Share of the run after which the first drop comes (kind steps).</summary>
    public double FirstDropAt { get; init; } = 0.8;

    /// <summary>Share of the run after which the second drop comes (kind steps).</summary>
    public double SecondDropAt { get; init; } = 0.9;

    /// <summary>Factor of each drop (kind steps).</summary>
    public double DropFactor { get; init; } = 0.316;

    /// <summary>Share of the learning rate that is left at the end (kind cosine).</summary>
    public double FinalShare { get; init; } = 0.1;
}

/// <summary>Measurements on held-out text.</summary>
public sealed record ValidationConfig
{
    private readonly ValueList<double> _saturationAt = ValueList<double>.Empty;

    /// <summary>Steps between two measurements; 0 for one at the end only.</summary>
    public int EverySteps { get; init; } = 100;

    /// <summary>Most tokens that a measurement reads; 0 for all there are. The last measurement reads all.</summary>
    public int Tokens { get; init; } = 65536;

    /// <summary>Shares of the run after which the choices of the routers are kept, to say at its end how soon they were the final ones (router saturation); empty for never.</summary>
    public IReadOnlyList<double> SaturationAt
    {
        get => _saturationAt;
        init => _saturationAt = new ValueList<double>(value);
    }
}

/// <summary>Saving.</summary>
public sealed record CheckpointConfig
{
    /// <summary>Steps between two checkpoints; 0 for one at the end only.</summary>
    public int EverySteps { get; init; } = 500;

    /// <summary>Checkpoints kept; older ones are deleted.</summary>
    public int Keep { get; init; } = 2;
}
