using MoeSharp.Kernels;
using MoeSharp.Kernels.Quantized;
using MoeSharp.Tensors;

namespace MoeSharp.Execution;

/// <summary>What travels with a forward pass: workers, memory, the tape when training, the cache when serving, the record of routing.</summary>
public sealed class ForwardContext : IDisposable
{
    private readonly Tape _tape = new();

    /// <summary>Creates a context; it may be used for any number of passes, one at a time.</summary>
    /// <param name="workers">Workers; not owned.</param>
    public ForwardContext(WorkerPool workers) => Workers = workers;

    /// <summary>Workers that kernels run on.</summary>
    public WorkerPool Workers { get; }

    /// <summary>Memory of the pass.</summary>
    public TensorPool Pool { get; } = new();

    /// <summary>Integer arrays of the pass.</summary>
    public IndexPool Indices { get; } = new();

    /// <summary>The tape while training, else null.</summary>
    public Tape? Tape { get; private set; }

    /// <summary>The rows of the pass.</summary>
    public TokenBatch Batch { get; private set; } = new();

    /// <summary>Auxiliary losses of a training pass; what they would be is recorded in other passes as well.</summary>
    public BalanceConfig Balance { get; private set; } = new();

    /// <summary>Factor on the auxiliary losses' gradients.</summary>
    public float AuxiliaryScale { get; private set; } = 1f;

    /// <summary>Cache of the sequence being decoded, or null for passes over whole sequences.</summary>
    public KeyValueCache? Cache { get; set; }

    /// <summary>How products with packed weights take their activations.</summary>
    public ActivationPrecision Activations { get; set; }

    /// <summary>Loads, auxiliary losses and choices of the last pass.</summary>
    public RoutingRecord Routing { get; } = new();

    /// <summary>When not null, receives the embedding's output and every layer's, each [tokens, hidden]; the caller clears it.</summary>
    public List<float[]>? HiddenStates { get; set; }

    /// <summary>Time per part of a step.</summary>
    public PartTimer Timer { get; } = new();

    /// <summary>Starts a pass without gradients.</summary>
    public void BeginInference(TokenBatch batch)
    {
        Tape = null;
        Batch = batch;
        Routing.Reset();
    }

    /// <summary>Starts a pass whose operations are recorded.</summary>
    public void BeginTraining(TokenBatch batch, BalanceConfig balance, float auxiliaryScale)
    {
        (Tape, Batch, Balance, AuxiliaryScale) = (_tape, batch, balance, auxiliaryScale);
        Routing.Reset();
    }

    /// <summary>Ends the pass: its tensors become invalid.</summary>
    public void EndPass()
    {
        _tape.Clear();
        Tape = null;
        Pool.EndPass();
        Indices.EndPass();
    }

    internal void CaptureHidden(Tensor hidden) => HiddenStates?.Add(hidden.Data.ToArray());

    /// <inheritdoc/>
    public void Dispose() => Pool.Dispose();
}
