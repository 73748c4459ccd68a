using MoeSharp.Checkpoints;

namespace MoeSharp.Cli;

/// <summary>One line on standard error that shows how far loading or writing is; silent when nobody looks, and for models that are done at once.</summary>
/// <param name="action">What is done, such as "loading".</param>
internal sealed class LoadProgressLine(string action)
{
    private const int Delay = 500; // ms before the first line
    private const int Step = 200; // ms between lines

    private readonly object _one = new();
    private readonly bool _isShown = !Console.IsErrorRedirected;
    private long _next = Environment.TickCount64 + Delay;
    private bool _hasLine;

    /// <summary>Shows progress, from any thread.</summary>
    public void Show(LoadProgress progress)
    {
        if (!_isShown || Environment.TickCount64 < Volatile.Read(ref _next))
        {
            return;
        }

        lock (_one)
        {
            if (Environment.TickCount64 >= _next)
            {
                _next = Environment.TickCount64 + Step;
                _hasLine = true;
                Console.Error.Write($"\rmoe: {action} {MemoryNotice.Gigabytes(progress.BytesDone)} of {MemoryNotice.Gigabytes(progress.BytesTotal)}, {MemoryNotice.Gigabytes((long)progress.Rate)}/s   ");
            }
        }
    }

    /// <summary>Removes the line.</summary>
    public void Finish()
    {
        if (_hasLine)
        {
            Console.Error.Write("\r" + new string(' ', 60) + "\r");
        }
    }
}
