namespace MoeSharp.Model;

/// <summary>Finds the known word that a mistyped one most likely meant.</summary>
public static class SpellingSuggestion
{
    /// <summary>The nearest of <paramref name="known"/> by edit distance, or null when none is near enough to be helpful.</summary>
    public static string? Nearest(string word, IEnumerable<string> known)
    {
        int limit = Math.Max(2, word.Length / 3); // arbitrary: a third of the letters may be wrong
        return known
            .Select(candidate => (Candidate: candidate, Distance: EditDistance(word.ToLowerInvariant(), candidate.ToLowerInvariant())))
            .Where(pair => pair.Distance <= limit)
            .OrderBy(pair => pair.Distance)
            .ThenBy(pair => pair.Candidate, StringComparer.Ordinal)
            .Select(pair => pair.Candidate)
            .FirstOrDefault();
    }

    /// <summary>A ready sentence part, " (did you mean 'x'?)", or the empty string.</summary>
    public static string Hint(string word, IEnumerable<string> known) =>
        Nearest(word, known) is { } nearest ? $" (did you mean '{nearest}'?)" : "";

    // Levenshtein distance, one row at a time.
    private static int EditDistance(string left, string right)
    {
        int[] row = Enumerable.Range(0, right.Length + 1).ToArray();
        for (int i = 1; i <= left.Length; i++)
        {
            int diagonal = row[0];
            row[0] = i;
            for (int j = 1; j <= right.Length; j++)
            {
                int substituted = diagonal + (left[i - 1] == right[j - 1] ? 0 : 1);
                diagonal = row[j];
                row[j] = Math.Min(substituted, Math.Min(row[j], row[j - 1]) + 1);
            }
        }

        return row[right.Length];
    }
}
