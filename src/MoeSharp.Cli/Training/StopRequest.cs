using System.Runtime.InteropServices;

namespace MoeSharp.Cli.Training;

/// <summary>Ctrl-C and SIGTERM as a wish to stop after saving; a second one ends the process at once.</summary>
internal sealed class StopRequest : IDisposable
{
    private readonly CancellationTokenSource _source = new();
    private readonly PosixSignalRegistration[] _registrations;

    /// <summary>Starts listening.</summary>
    public StopRequest() => _registrations =
    [
        PosixSignalRegistration.Create(PosixSignal.SIGINT, Handle),
        PosixSignalRegistration.Create(PosixSignal.SIGTERM, Handle),
    ];

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
        Console.Error.WriteLine("moe: stopping after this step, then saving. Press Ctrl-C again to quit at once.");
        _source.Cancel();
    }
}
