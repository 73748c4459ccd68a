namespace MoeSharp.Kernels;

/// <summary>Checks at the door of a kernel, after which the loops run on pointers unchecked.</summary>
internal static class Require
{
    /// <summary>The span holds at least <paramref name="needed"/> values.</summary>
    public static void Length(long actual, long needed, string operation, string argument)
    {
        if (actual < needed || needed < 0)
        {
            ShapeException.Throw(operation, argument, $"[at least {needed}]", $"[{actual}]");
        }
    }

    /// <summary>Every index lies in <paramref name="lowest"/> to <paramref name="end"/> - 1.</summary>
    public static void Indices(ReadOnlySpan<int> indices, int lowest, long end, string operation, string argument)
    {
        int smallest = int.MaxValue;
        int largest = int.MinValue;
        foreach (int index in indices)
        {
            smallest = Math.Min(smallest, index);
            largest = Math.Max(largest, index);
        }

        if (!indices.IsEmpty && (smallest < lowest || largest >= end))
        {
            ShapeException.Throw(operation, argument, $"values from {lowest} to {end - 1}", $"values from {smallest} to {largest}");
        }
    }
}
