using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Kernels.Quantized;
using MoeSharp.Layers;
using MoeSharp.Model.Blocks;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Model;

/// <summary>A decoder language model built from a <see cref="ModelConfig"/>. The same forward pass trains and serves.</summary>
public sealed class LanguageModel : IDisposable
{
    private readonly List<Parameter> _parameters = [];
    private readonly Parameter _embedding; // [vocab, hidden]
    private readonly IDecoderBlock[] _blocks;
    private readonly INormLayer _finalNorm;
    private readonly bool _isTrainable;
    private readonly Parameter _head; // [vocab, hidden]; the embedding itself when tied

    /// <summary>Builds the model with zero weights; <see cref="WeightInit"/> or a checkpoint fills them.</summary>
    /// <param name="config">The architecture, already validated.</param>
    /// <param name="plan">Which weights are packed and how; null for all float32.</param>
    public LanguageModel(ModelConfig config, WeightPlan? plan = null)
    {
        Config = config;
        _embedding = new Parameter("embedding", new Shape(config.VocabSize, config.HiddenSize));
        _parameters.Add(_embedding);
        DecoderAssembly assembly = new(config, _parameters);
        _blocks = new IDecoderBlock[config.NumHiddenLayers];
        for (int layer = 0; layer < _blocks.Length; layer++)
        {
            _blocks[layer] = assembly.Block(layer);
        }

        _finalNorm = assembly.FinalNorm();
        _head = _embedding;
        if (!config.TieWordEmbeddings)
        {
            _parameters.Add(_head = new Parameter("head", new Shape(config.VocabSize, config.HiddenSize)));
        }

        _isTrainable = TrainingLimits.Of(config).Count == 0;
        plan?.Apply(_parameters);
    }

    /// <summary>The architecture.</summary>
    public ModelConfig Config { get; }

    /// <summary>All weights, in model order.</summary>
    public IReadOnlyList<Parameter> Parameters => _parameters;

    /// <summary>Precision of the activations that meet packed weights in every pass of this model; null leaves it to the context.</summary>
    public ActivationPrecision? Activations { get; set; }

    /// <summary>How keys and values are kept, and to what passes without a cache and without gradients round them, so that both give the same bits.</summary>
    public CacheFormat CacheFormat { get; set; }

    /// <summary>The selection bias of a layer's experts, or null where there is none.</summary>
    /// <param name="layer">Decoder layer.</param>
    public Parameter? SelectionBias(int layer)
    {
        foreach (Parameter parameter in _parameters)
        {
            if (Moe.Balance.SelectionBias.Is(parameter) && parameter.Name == Moe.Balance.SelectionBias.NameIn($"layers.{layer}.moe"))
            {
                return parameter;
            }
        }

        return null;
    }

    /// <summary>Forward and backward: adds to (or, where empty, sets) every parameter's gradient.</summary>
    /// <param name="batch">Rows with targets.</param>
    /// <param name="balance">Auxiliary losses.</param>
    /// <param name="tokenScale">Factor on each target's loss gradient: 1 / (targets in the whole optimiser step).</param>
    /// <param name="auxiliaryScale">Factor on the auxiliary losses' gradients: 1 / (micro-batches in the optimiser step).</param>
    /// <param name="context">Context; its routing record is filled.</param>
    /// <returns>Sum of the targets' cross-entropies, nats (no auxiliary loss, no scale).</returns>
    /// <exception cref="ConfigurationException">A part of the architecture has no backward pass; see <see cref="TrainingLimits"/>.</exception>
    public double ForwardBackward(TokenBatch batch, BalanceConfig balance, float tokenScale, float auxiliaryScale, ForwardContext context)
    {
        if (!_isTrainable)
        {
            TrainingLimits.Require(Config);
        }

        context.BeginTraining(batch, balance, auxiliaryScale);
        try
        {
            Tensor hidden = Forward(context); // [tokens, hidden]
            context.Timer.Switch(StepPart.HeadAndLoss);
            double loss = Op.CrossEntropyWithGradient(hidden, _head, Config.NumNextTokens, tokenScale, context);
            context.Tape!.Backward(context); // BeginTraining set the tape
            return loss;
        }
        finally
        {
            context.EndPass();
        }
    }

    /// <summary>Cross-entropy of every row without gradients.</summary>
    /// <param name="batch">Rows with targets.</param>
    /// <param name="losses">= loss of each row in nats, 0 where there is no target, [rows].</param>
    /// <param name="context">Context.</param>
    /// <returns>Their sum.</returns>
    public double Loss(TokenBatch batch, Span<float> losses, ForwardContext context)
    {
        context.BeginInference(batch);
        try
        {
            return Op.CrossEntropyOfRows(Forward(context), _head, losses, new LogitRule(Config.LogitCap, Config.NumNextTokens), context);
        }
        finally
        {
            context.EndPass();
        }
    }

    /// <summary>Next-token logits.</summary>
    /// <param name="batch">Rows; with sequences in the context, each segment continues one.</param>
    /// <param name="lastRows">Number of final rows wanted; <c>batch.Count</c> for all.</param>
    /// <param name="logits">= logits, [lastRows, vocab].</param>
    /// <param name="context">Context.</param>
    public void Logits(TokenBatch batch, int lastRows, Span<float> logits, ForwardContext context)
    {
        context.BeginInference(batch);
        try
        {
            Op.Logits(Forward(context), _head, lastRows, logits, new LogitRule(Config.LogitCap, Config.NumNextTokens), context);
        }
        finally
        {
            context.EndPass();
        }
    }

    /// <summary>Next-token logits of some rows, as a batch of several sequences wants them.</summary>
    /// <param name="batch">Rows; with sequences in the context, each segment continues one.</param>
    /// <param name="rows">Rows whose logits are wanted; may be none.</param>
    /// <param name="logits">= logits, [rows, vocab].</param>
    /// <param name="context">Context.</param>
    public void LogitsOf(TokenBatch batch, ReadOnlySpan<int> rows, Span<float> logits, ForwardContext context)
    {
        context.BeginInference(batch);
        try
        {
            Tensor hidden = Forward(context); // [tokens, hidden]
            if (rows.Length > 0)
            {
                Op.Logits(Op.SelectRows(hidden, rows, context), _head, rows.Length, logits, new LogitRule(Config.LogitCap, Config.NumNextTokens), context);
            }
        }
        finally
        {
            context.EndPass();
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (Parameter parameter in _parameters)
        {
            parameter.Dispose();
        }
    }

    private Tensor Forward(ForwardContext context)
    {
        context.Activations = Activations ?? context.Activations;
        context.CacheFormat = CacheFormat;
        CheckTokens(context.Batch);
        context.Timer.Switch(StepPart.Other);
        Tensor x = Op.Embed(_embedding, context); // [tokens, hidden]
        if (Config.EmbeddingScale != 1f)
        {
            Op.ScaleInPlace(x, Config.EmbeddingScale, context);
        }

        context.CaptureHidden(x);
        foreach (IDecoderBlock block in _blocks)
        {
            context.ThrowIfGivenUp();
            x = block.Forward(x, context); // [tokens, hidden]
            context.CaptureHidden(x);
        }

        Tensor hidden = _finalNorm.Forward(x, context); // [tokens, hidden]
        return Config.LogitScale == 1f ? hidden : Op.ScaleInPlace(hidden, Config.LogitScale, context); // the head is linear: its input takes the factor
    }

    private void CheckTokens(TokenBatch batch)
    {
        for (int row = 0; row < batch.Count; row++)
        {
            if ((uint)batch.TokenIds[row] >= (uint)Config.VocabSize)
            {
                throw new ConfigurationException($"token {batch.TokenIds[row]} at row {row} is outside the model's vocabulary of {Config.VocabSize}. Use the model's own tokenizer.");
            }

            if (batch.Targets[row] >= Config.VocabSize)
            {
                throw new ConfigurationException($"target {batch.Targets[row]} at row {row} is outside the model's vocabulary of {Config.VocabSize}. Use the model's own tokenizer.");
            }
        }
    }
}
