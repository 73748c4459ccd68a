using System.IO.Enumeration;

namespace MoeSharp.Checkpoints;

/// <summary>Compares a table of names with the tensors that a checkpoint has, before a size from the file decides an allocation.</summary>
internal static class WeightMatch
{
    private const int MostProblems = 1000; // a hostile configuration describes billions of tensors that are not there
    private const int MostShown = 8;

    /// <summary>Checks that every tensor of the table is there in its shape, and every tensor that is there is in the table or ignored.</summary>
    /// <param name="source">Checkpoint.</param>
    /// <param name="description">What describes the architecture, for messages.</param>
    /// <param name="table">Slices, possibly endless.</param>
    /// <param name="ignored">Patterns of names without use.</param>
    /// <returns>The table.</returns>
    /// <exception cref="FileFormatException">Tensors are missing, misshapen or unknown; the message lists them.</exception>
    public static IReadOnlyList<WeightSlice> Check(IWeightSource source, string description, IEnumerable<WeightSlice> table, IReadOnlyList<string> ignored)
    {
        List<WeightSlice> slices = [];
        List<string> missing = [], misshapen = [];
        Dictionary<string, bool> fits = new(StringComparer.Ordinal);
        int unfit = 0;
        foreach (WeightSlice slice in table)
        {
            slices.Add(slice);
            if (!fits.TryGetValue(slice.CheckpointName, out bool isFit))
            {
                fits[slice.CheckpointName] = isFit = Fits(slice, source.Find(slice.CheckpointName), missing, misshapen);
            }

            unfit += isFit ? 0 : 1;
            if (unfit > MostProblems)
            {
                break;
            }
        }

        List<string> unknown = unfit > MostProblems ? [] : [.. source.Names.Where(name => !fits.ContainsKey(name) && !IsIgnored(name, ignored)).Select(SafetensorsHeader.Shown)];
        return missing.Count + misshapen.Count + unknown.Count == 0
            ? slices
            : throw new FileFormatException($"{source.Description}: the weights do not fit {description}: {string.Join("; ", Listed("missing", missing).Concat(Listed("wrong shape", misshapen)).Concat(Listed("unknown", unknown)))}");
    }

    /// <summary>Whether a name matches a pattern in which one or more * stand for any text.</summary>
    public static bool IsIgnored(string name, IReadOnlyList<string> patterns) => patterns.Any(pattern => FileSystemName.MatchesSimpleExpression(pattern, name, ignoreCase: false));

    private static bool Fits(WeightSlice slice, WeightTensor? tensor, List<string> missing, List<string> misshapen)
    {
        if (tensor is null)
        {
            missing.Add(slice.CheckpointName);
            return false;
        }

        if (!tensor.Shape.SequenceEqual(slice.CheckpointShape))
        {
            misshapen.Add($"{slice.CheckpointName} is [{string.Join(", ", tensor.Shape)}], not [{string.Join(", ", slice.CheckpointShape)}]");
            return false;
        }

        return true;
    }

    private static IEnumerable<string> Listed(string what, List<string> items) =>
        items.Count == 0 ? [] : [$"{items.Count} {what}: {string.Join(", ", items.Take(MostShown))}{(items.Count > MostShown ? ", ..." : "")}"];
}
