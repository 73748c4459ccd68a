using MoeSharp.Kernels;

namespace MoeSharp.Execution;

/// <summary>What travels with a forward pass: workers, memory, the tape when training, the cache when serving, the record of routing.</summary>
public sealed class ForwardContext : IDisposable
{
    /// <summary>Creates a context; it may be used for any number of passes, one at a time.</summary>
    /// <param name="workers">Workers; not owned.</param>
    public ForwardContext(WorkerPool workers) => Workers = workers;

    /// <summary>Workers that kernels run on.</summary>
    public WorkerPool Workers { get; }

    /// <summary>Cache of the sequence being decoded, or null for passes over whole sequences.</summary>
    public KeyValueCache? Cache { get; set; }

    /// <summary>Loads, auxiliary losses and choices of the last pass.</summary>
    public RoutingRecord Routing { get; } = new();

    /// <summary>Time per part of a step.</summary>
    public PartTimer Timer { get; } = new();

    /// <inheritdoc/>
    public void Dispose()
    {
    }
}
