using MoeSharp.Data;
using MoeSharp.Execution;
using MoeSharp.Model;

namespace MoeSharp.Training;

/// <summary>Measures a model on what it is not trained on, without gradients.</summary>
public interface IHeldOut
{
    /// <summary>Measures the loss, and how far it is from the truth where that is known.</summary>
    /// <param name="maxTokens">Most targets to read; 0 for all.</param>
    /// <param name="step">Step to note in the result.</param>
    /// <param name="tokens">Training tokens to note in the result.</param>
    ValidationResult Measure(int maxTokens, long step, long tokens);
}

/// <summary>Measures a model on the validation split of a text.</summary>
public sealed class HeldOutText : IHeldOut
{
    private readonly TokenSplit _split;
    private readonly LanguageModel _model;
    private readonly ForwardContext _context;
    private readonly int _sequenceLength;
    private readonly int _sequencesPerPass;
    private readonly TokenBatch _batch = new();
    private readonly float[] _losses;
    private readonly LoadTable _load = new();

    /// <summary>Prepares to measure.</summary>
    /// <param name="split">Validation text; not owned.</param>
    /// <param name="model">Model; not owned.</param>
    /// <param name="batch">Sizes of a pass, as in training.</param>
    /// <param name="context">Context of the training step, whose memory is free between steps.</param>
    public HeldOutText(TokenSplit split, LanguageModel model, BatchConfig batch, ForwardContext context)
    {
        (_split, _model, _context) = (split, model, context);
        _sequenceLength = batch.SequenceLength;
        _sequencesPerPass = batch.TokensPerPass / batch.SequenceLength;
        _losses = new float[batch.TokensPerPass];
    }

    /// <inheritdoc/>
    /// <remarks>Fewer targets than all are evenly spread over the split.</remarks>
    public ValidationResult Measure(int maxTokens, long step, long tokens)
    {
        SequentialBatches batches = new(_split, _sequenceLength, _sequencesPerPass, maxTokens == 0 ? long.MaxValue : maxTokens);
        double nats = 0;
        _load.Clear();
        while (batches.Next(_batch))
        {
            nats += _model.Loss(_batch, _losses, _context);
            _load.Add(_context.Routing);
        }

        return new ValidationResult(step, tokens, nats / batches.NumTargets, nats / Math.Log(2) / batches.NumBytes, batches.NumTargets)
        {
            Load = LoadSummary.Of(_load, _model.Config.Moe?.TopK ?? 1),
        };
    }
}
