using MoeSharp.Kernels;
using MoeSharp.Kernels.Quantized;
using MoeSharp.Tensors;

namespace MoeSharp.Execution;

/// <summary>What travels with a forward pass: workers, memory, the tape when training, the cached sequences when serving, the record of routing.</summary>
public sealed class ForwardContext : IDisposable
{
    private readonly Tape _tape = new();
    private Tensor? _rowLosses;

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

    /// <summary>Seed of what routers draw in a training pass; another one for every pass of a run, the same when the run is repeated.</summary>
    public ulong NoiseSeed { get; set; }

    /// <summary>Number of the pass within its optimiser step, from 0.</summary>
    public int MicroBatch { get; set; }

    /// <summary>Share of the training run that is done, 0 to 1: routers that change their ways during training go by it.</summary>
    public double Progress { get; set; }

    /// <summary>The sequence that each segment of the batch continues, or null for passes over whole sequences without a cache.</summary>
    public IReadOnlyList<CachedSequence>? Sequences { get; set; }

    /// <summary>What a cache keeps of keys and values; a pass without one rounds them alike.</summary>
    public CacheFormat CacheFormat { get; set; }

    /// <summary>Asked between layers and before the long operations within one; when it says so, the pass is given up. Null for passes that always run to their end.</summary>
    public Func<bool>? IsGivenUp { get; set; }

    /// <summary>How products with packed weights take their activations.</summary>
    public ActivationPrecision Activations { get; set; }

    /// <summary>Loads, auxiliary losses and choices of the feed-forward experts in the last pass.</summary>
    public RoutingRecord Routing { get; } = new();

    /// <summary>Loss of each row's target in nats, 0 where there is none; known while a training pass is walked back, empty before.</summary>
    /// <remarks>What a router was worth to a token is seen here: operations that learn from it read it in their backward.</remarks>
    public ReadOnlySpan<float> RowLosses => _rowLosses is { } losses ? losses.Data : [];

    /// <summary>The same of attention experts whose use is balanced.</summary>
    public RoutingRecord AttentionRouting { get; } = new();

    /// <summary>When not null, receives the embedding's output and every layer's, each [tokens, hidden]; the caller clears it.</summary>
    public List<float[]>? HiddenStates { get; set; }

    /// <summary>When not null, sees every row that meets a weight.</summary>
    public InputObserver? Observer { get; set; }

    /// <summary>When not null, changes the choices of passes without gradients; the caller clears it.</summary>
    public RoutingIntervention? Intervention { get; set; }

    /// <summary>When not null, sees what every MoE layer does; the caller clears it.</summary>
    public MoeObserver? MoeObserver { get; set; }

    /// <summary>When not null, sees what the routers of attention experts do; the caller clears it.</summary>
    public MoeObserver? AttentionObserver { get; set; }

    /// <summary>Time per part of a step.</summary>
    public PartTimer Timer { get; } = new();

    /// <summary>Starts a pass without gradients.</summary>
    public void BeginInference(TokenBatch batch)
    {
        Tape = null;
        Batch = batch;
        Routing.Reset();
        AttentionRouting.Reset();
        OpenSequences();
    }

    /// <summary>Starts a pass whose operations are recorded.</summary>
    public void BeginTraining(TokenBatch batch, BalanceConfig balance, float auxiliaryScale)
    {
        if (Intervention is not null)
        {
            throw new InvalidOperationException("an intervention changes trained models; training does not take one");
        }

        (Tape, Batch, Balance, AuxiliaryScale) = (_tape, batch, balance, auxiliaryScale);
        Routing.Reset();
        AttentionRouting.Reset();
    }

    /// <summary>Ends the pass: its tensors become invalid.</summary>
    public void EndPass()
    {
        _tape.Clear();
        (Tape, _rowLosses) = (null, null);
        Pool.EndPass();
        Indices.EndPass();
    }

    /// <summary>Leaves a pass that nobody wants any more.</summary>
    /// <exception cref="OperationCanceledException">The pass is given up.</exception>
    public void ThrowIfGivenUp()
    {
        if (IsGivenUp is { } isGivenUp && isGivenUp())
        {
            throw new OperationCanceledException();
        }
    }

    /// <summary>Pages of each segment's sequence, in passes with sequences.</summary>
    internal PageTable[] PageTables { get; private set; } = [];

    // The pages are there before the pass begins: a layer only writes into them.
    private void OpenSequences()
    {
        if (Sequences is not { } sequences)
        {
            return;
        }

        if (sequences.Count != Batch.NumSegments)
        {
            throw new InvalidOperationException($"{Batch.NumSegments} segments continue {sequences.Count} sequences");
        }

        if (PageTables.Length < sequences.Count)
        {
            PageTables = new PageTable[Math.Max(16, 2 * sequences.Count)];
        }

        for (int index = 0; index < sequences.Count; index++)
        {
            (CachedSequence sequence, AttentionSegment segment) = (sequences[index], Batch.Segments[index]);
            if (segment.KeyCount != sequence.Length + segment.QueryCount || segment.KeyCount > sequence.Capacity)
            {
                throw new InvalidOperationException($"segment {segment} does not continue a sequence of {sequence.Length} tokens with room for {sequence.Capacity}");
            }

            PageTables[index] = sequence.Table;
        }
    }

    /// <summary>Keeps the rows' losses until the pass ends.</summary>
    internal void KeepRowLosses(Tensor losses) => _rowLosses = losses;

    internal void CaptureHidden(Tensor hidden) => HiddenStates?.Add(hidden.Data.ToArray());

    /// <inheritdoc/>
    public void Dispose() => Pool.Dispose();
}
