using MoeSharp.Execution;
using MoeSharp.Moe.Balance;
using MoeSharp.Tensors;

namespace MoeSharp.Model;

/// <summary>A decoder language model built from a <see cref="ModelConfig"/>.</summary>
public sealed class LanguageModel : IDisposable
{
    /// <summary>Builds the model with zero weights; see <c>WeightInit</c> and <c>Checkpoints</c> for filling them.</summary>
    public LanguageModel(ModelConfig config) => throw new NotImplementedException();

    /// <summary>The architecture.</summary>
    public ModelConfig Config => throw new NotImplementedException();

    /// <summary>All weights, in model order.</summary>
    public IReadOnlyList<Parameter> Parameters => throw new NotImplementedException();

    /// <summary>Forward and backward: adds to (or, where empty, sets) every parameter's gradient.</summary>
    /// <param name="batch">Rows with targets.</param>
    /// <param name="balance">Auxiliary losses.</param>
    /// <param name="tokenScale">Factor on each target's loss gradient: 1 / (targets in the whole optimiser step).</param>
    /// <param name="auxiliaryScale">Factor on the auxiliary losses' gradients: 1 / (micro-batches in the optimiser step).</param>
    /// <param name="context">Context; its routing record is filled.</param>
    /// <returns>Sum of the targets' cross-entropies, nats (no auxiliary loss, no scale).</returns>
    public double ForwardBackward(TokenBatch batch, BalanceConfig balance, float tokenScale, float auxiliaryScale, ForwardContext context) => throw new NotImplementedException();

    /// <summary>Cross-entropy of every row without gradients.</summary>
    /// <param name="batch">Rows with targets.</param>
    /// <param name="losses">= loss of each row in nats, 0 where there is no target, [rows].</param>
    /// <param name="context">Context.</param>
    /// <returns>Their sum.</returns>
    public double Loss(TokenBatch batch, Span<float> losses, ForwardContext context) => throw new NotImplementedException();

    /// <summary>Next-token logits.</summary>
    /// <param name="batch">Rows; with a cache in the context, its segment continues the cached sequence.</param>
    /// <param name="lastRows">Number of final rows wanted; <c>batch.Count</c> for all.</param>
    /// <param name="logits">= logits, [lastRows, vocab].</param>
    /// <param name="context">Context.</param>
    public void Logits(TokenBatch batch, int lastRows, Span<float> logits, ForwardContext context) => throw new NotImplementedException();

    /// <inheritdoc/>
    public void Dispose()
    {
    }
}
