using System.Runtime.InteropServices;

namespace MoeSharp.Cli;

/// <summary>Turns the first Ctrl-C or SIGTERM into a cancellation, so that work ends in order; a second one ends the process.</summary>
internal sealed class Interruption : IDisposable
{
    private readonly CancellationTokenSource _source = new();
    private readonly PosixSignalRegistration[] _registrations;
    private readonly string _notice;

    /// <summary>Starts listening.</summary>
    /// <param name="notice">Said on standard error at the first signal, where ending in order takes a while; empty for nothing.</param>
    public Interruption(string notice = "")
    {
        _notice = notice;
        _registrations = [PosixSignalRegistration.Create(PosixSignal.SIGINT, Handle), PosixSignalRegistration.Create(PosixSignal.SIGTERM, Handle)];
    }

    /// <summary>Cancelled by the first signal.</summary>
    public CancellationToken Token => _source.Token;

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (PosixSignalRegistration registration in _registrations)
        {
            registration.Dispose();
        }

        _source.Dispose();
    }

    private void Handle(PosixSignalContext context)
    {
        if (_source.IsCancellationRequested)
        {
            Environment.Exit(CommandLine.Interrupted);
        }

        context.Cancel = true;
        if (_notice.Length > 0)
        {
            Console.Error.WriteLine($"moe: {_notice}");
        }

        _source.Cancel();
    }
}
