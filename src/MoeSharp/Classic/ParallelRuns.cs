using System.Runtime.ExceptionServices;

namespace MoeSharp.Classic;

/// <summary>Independent runs on all threads.</summary>
internal static class ParallelRuns
{
    /// <summary>Calls <paramref name="run"/> for 0 to <paramref name="count"/> - 1, in any order.</summary>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public static void For(int count, CancellationToken cancellation, Action<int> run)
    {
        try
        {
            Parallel.For(0, count, new ParallelOptions { CancellationToken = cancellation }, run);
        }
        catch (AggregateException exception) when (exception.InnerExceptions.Count > 0)
        {
            ExceptionDispatchInfo.Throw(exception.InnerExceptions[0]); // the first run that failed tells why
        }
    }
}
