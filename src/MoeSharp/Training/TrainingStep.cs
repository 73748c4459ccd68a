using System.Diagnostics;
using MoeSharp.Data;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Model.Routers;
using MoeSharp.Moe.Balance;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;

namespace MoeSharp.Training;

/// <summary>One optimiser step: passes over the micro-batches, gradient norm, clipping, AdamW. It knows no files and no schedule.</summary>
/// <remarks>A steady step allocates nothing on the garbage-collected heap.</remarks>
public sealed class TrainingStep : IDisposable
{
    private static readonly AuxiliaryLoss[] s_overScores =
        [AuxiliaryLoss.ExpertLevel, AuxiliaryLoss.FirstChoice, AuxiliaryLoss.SequenceWise, AuxiliaryLoss.BatchWise, AuxiliaryLoss.Importance, AuxiliaryLoss.ZLoss];

    private readonly TrainingConfig _config;
    private readonly LanguageModel _model;
    private readonly ITrainingBatches _batches;
    private readonly TokenBatch _batch = new(); // one after another: how many targets a step has is known beforehand
    private readonly ForwardContext _context;
    private readonly TimeProvider _clock;
    private readonly double _flopsPerToken;
    private readonly double _flopsPerPair;
    private readonly Parameter?[] _selectionBiases; // by decoder layer
    private readonly RoutingGauges _gauges;
    private readonly MoeObserver _observer;
    private bool _isWindowLogged;
    private readonly Parameter[] _rewardBaselines;

    /// <summary>Allocates gradients and moments for the model.</summary>
    /// <param name="config">Configuration.</param>
    /// <param name="model">Model that is trained; not owned.</param>
    /// <param name="batches">Training sequences, as many per call as a micro-batch holds.</param>
    /// <param name="workers">Workers; not owned.</param>
    /// <param name="clock">Clock for the rates.</param>
    public TrainingStep(TrainingConfig config, LanguageModel model, ITrainingBatches batches, WorkerPool workers, TimeProvider clock)
    {
        (_config, _model, _batches, _clock) = (config, model, batches, clock);
        Optimizer = new AdamWOptimizer(model.Parameters, config.Optimizer);
        _context = new ForwardContext(workers);
        _selectionBiases = [.. Enumerable.Range(0, model.Config.NumHiddenLayers).Select(model.SelectionBias)];
        _gauges = new RoutingGauges(_selectionBiases);
        _observer = (in MoeView view) => _gauges.Add(view, _batch.Targets, _context.Workers);
        _rewardBaselines = [.. model.Parameters.Where(RunningBaseline.Is)];
        ModelSize size = ModelSize.Of(model.Config);
        (_flopsPerToken, _flopsPerPair) = (size.TrainingFlopsPerToken, size.TrainingFlopsPerAttentionPair);
    }

    /// <summary>Moments and updates made.</summary>
    public AdamWOptimizer Optimizer { get; }

    /// <summary>Loads of the experts in the last step.</summary>
    public LoadTable Load { get; } = new();

    /// <summary>Loads of the steps since the one that was logged before.</summary>
    public LoadTable Window { get; } = new();

    /// <summary>Loads of the attention experts in the last step; no layers where none are balanced.</summary>
    public LoadTable AttentionLoad { get; } = new();

    /// <summary>Memory, workers and time per part; free for other passes between steps.</summary>
    public ForwardContext Context => _context;

    /// <summary>Computes the gradient of the next batch and, when it is finite, updates the weights with it.</summary>
    /// <param name="progress">Share of the run that is done before this step.</param>
    /// <param name="tokensDone">Training tokens seen before this step.</param>
    /// <returns>The step's numbers; the weights are unchanged when they are not finite.</returns>
    public StepMetrics Run(double progress, long tokensDone)
    {
        long begin = _clock.GetTimestamp();
        long step = Optimizer.StepsDone + 1;
        float learningRate = LearningRateSchedule.At(_config.Schedule, step, progress);
        int numTokens = _config.Batch.Tokens;
        int numPasses = _config.Batch.NumMicroBatches;
        _context.Progress = progress;
        int numTargets = numPasses * _batches.TargetsPerBatch;
        bool isLogged = _config.IsLogged(step);
        _context.MoeObserver = isLogged ? _observer : null;
        Sums sums = Accumulate(numPasses, 1f / numTargets, 1f / numPasses);
        _context.MoeObserver = null;
        AddToWindow(isLogged);
        _context.Timer.Switch(StepPart.Optimizer);
        double norm = Optimizer.GradientNorm(_context.Workers);
        if (double.IsFinite(sums.Loss) && double.IsFinite(norm))
        {
            Optimizer.Step(learningRate, norm, _context.Workers);
            MoveSelectionBiases();
            MoveRewardBaselines(-sums.Loss / numTargets);
        }

        _context.Timer.Switch(StepPart.Other);
        double seconds = Math.Max(1e-9, _clock.GetElapsedTime(begin).TotalSeconds);
        return new StepMetrics
        {
            Step = step,
            Tokens = tokensDone + numTokens,
            Loss = sums.Loss / numTargets,
            Losses = Reported(sums, numPasses),
            DropRate = sums.AskedSlots == 0 ? 0 : (double)sums.DroppedSlots / sums.AskedSlots,
            GradientNorm = norm,
            LearningRate = learningRate,
            LoadMaxOverMean = Load.MaxOverMean(),
            NumDeadExperts = Load.NumDead(),
            AttentionLoadMaxOverMean = AttentionLoad.MaxOverMean(),
            NumDeadAttentionExperts = AttentionLoad.NumDead(),
            Routing = isLogged ? _gauges.Take(Window) : RoutingBrief.Empty,
            Seconds = seconds,
            TokensPerSecond = numTokens / seconds,
            Gflops = ((_flopsPerToken * numTokens) + (_flopsPerPair * sums.AttentionPairs)) / seconds / 1e9,
        };
    }

    /// <summary>The parameter with the largest gradient of the last step.</summary>
    public NamedNorm LargestGradient() => Optimizer.LargestGradient(_context.Workers);

    /// <inheritdoc/>
    public void Dispose()
    {
        Optimizer.Dispose();
        _context.Dispose();
    }

    // Means over the layers that have a loss: those over scores are of every router with scores, in attention and in feed-forward, the others of feed-forward alone.
    // Device-level and z-loss are measured where they could be on; they are shown where they are.
    private AuxiliaryLosses Reported(in Sums sums, int numPasses)
    {
        int scored = (_model.Config.Moe is { Router.HasScores: true } ? Load.NumLayers : 0) + AttentionLoad.NumLayers;
        AuxiliaryLosses losses = default;
        losses.Add(sums.Losses, 1.0 / Math.Max(1, Load.NumLayers * numPasses));
        foreach (AuxiliaryLoss kind in s_overScores)
        {
            losses[kind] = (sums.Losses[kind] + sums.AttentionLosses[kind]) / Math.Max(1, scored * numPasses);
        }

        losses[AuxiliaryLoss.DeviceLevel] = _config.Balance.DeviceAlpha > 0 ? losses[AuxiliaryLoss.DeviceLevel] : 0;
        losses[AuxiliaryLoss.ZLoss] = _config.Balance.ZLossAlpha > 0 ? losses[AuxiliaryLoss.ZLoss] : 0;
        return losses;
    }

    private void AddToWindow(bool isLogged)
    {
        if (_isWindowLogged)
        {
            Window.Clear();
        }

        Window.Add(Load);
        _isWindowLogged = isLogged;
    }

    private void MoveSelectionBiases()
    {
        for (int index = 0; index < Load.NumLayers && _config.Balance.BiasUpdateSpeed > 0; index++)
        {
            if (_selectionBiases[Load.Layer(index)] is { } bias)
            {
                SelectionBias.Move(bias.Value, Load.TokensPerExpert(index), _config.Balance.BiasUpdateSpeed);
            }
        }
    }

    private void MoveRewardBaselines(double meanReward)
    {
        foreach (Parameter baseline in _rewardBaselines)
        {
            RunningBaseline.Move(baseline.Value, meanReward, _model.Config.Moe is { Router: ReinforceRouterConfig router } ? router.BaselineDecay : 1f);
        }
    }

    private Sums Accumulate(int numPasses, float tokenScale, float auxiliaryScale)
    {
        Optimizer.ClearGradients();
        Load.Clear();
        AttentionLoad.Clear();
        Sums sums = default;
        for (int pass = 0; pass < numPasses; pass++)
        {
            _context.MicroBatch = pass;
            _context.NoiseSeed = new SplitMix64(_config.Seed, (ulong)(((Optimizer.StepsDone + 1) * numPasses) + pass)).Next();
            _batches.Next(_batch);
            _gauges.BeginPass();
            Debug.Assert(_batch.Count == _config.Batch.TokensPerPass && _batch.CountTargets() == _batches.TargetsPerBatch, "the scale counts the targets beforehand");
            sums.AttentionPairs += _batch.CountAttentionPairs();
            sums.Loss += _model.ForwardBackward(_batch, _config.Balance, tokenScale, auxiliaryScale, _context);
            IReadOnlyList<LayerRouting> layers = _context.Routing.Layers;
            sums.Losses.Add(Losses(_context.Routing), 1);
            sums.AttentionLosses.Add(Losses(_context.AttentionRouting), 1);
            for (int index = 0; index < layers.Count; index++)
            {
                sums.AskedSlots += layers[index].AskedSlots;
                sums.DroppedSlots += layers[index].DroppedSlots;
            }

            Load.Add(_context.Routing);
            AttentionLoad.Add(_context.AttentionRouting);
        }

        return sums;
    }

    // Summed over layers; the expert-level loss over all layers together counts once for each of them.
    private AuxiliaryLosses Losses(RoutingRecord pass)
    {
        IReadOnlyList<LayerRouting> layers = pass.Layers;
        AuxiliaryLosses losses = default;
        for (int index = 0; index < layers.Count; index++)
        {
            losses.Add(layers[index].Losses, 1);
        }

        if (_config.Balance.Scope == BalanceScope.AllLayers)
        {
            losses[AuxiliaryLoss.ExpertLevel] = JointExpertLoss.Measure(pass) * layers.Count;
        }

        return losses;
    }

    private struct Sums
    {
        public long AttentionPairs;
        public double Loss;
        public AuxiliaryLosses Losses; // of the feed-forward experts
        public AuxiliaryLosses AttentionLosses;
        public long AskedSlots;
        public long DroppedSlots;
    }
}
