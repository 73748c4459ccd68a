namespace MoeSharp.Cli;

/// <summary>Turns the first Ctrl-C into a cancellation, so that work ends in order; a second one ends the process.</summary>
internal sealed class Interruption : IDisposable
{
    private readonly CancellationTokenSource _source = new();

    /// <summary>Starts listening.</summary>
    public Interruption() => Console.CancelKeyPress += OnInterrupt;

    /// <summary>Cancelled by Ctrl-C.</summary>
    public CancellationToken Token => _source.Token;

    /// <inheritdoc/>
    public void Dispose()
    {
        Console.CancelKeyPress -= OnInterrupt;
        _source.Dispose();
    }

    private void OnInterrupt(object? sender, ConsoleCancelEventArgs pressed)
    {
        pressed.Cancel = !_source.IsCancellationRequested;
        _source.Cancel();
    }
}
