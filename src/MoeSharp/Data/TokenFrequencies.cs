namespace MoeSharp.Data;

/// <summary>How often each token occurs in a text.</summary>
public static class TokenFrequencies
{
    private const int ChunkTokens = 1 << 16;

    /// <summary>Counts the tokens of a split.</summary>
    /// <param name="split">The split.</param>
    /// <returns>[vocabulary].</returns>
    public static long[] Count(TokenSplit split)
    {
        long[] counts = new long[split.VocabSize];
        TokenReader reader = new(split);
        int[] chunk = new int[ChunkTokens];
        for (long begin = 0; begin < split.NumTokens; begin += ChunkTokens)
        {
            Span<int> ids = chunk.AsSpan(0, (int)Math.Min(ChunkTokens, split.NumTokens - begin));
            reader.Read(begin, ids);
            foreach (int id in ids)
            {
                counts[id]++;
            }
        }

        return counts;
    }
}
