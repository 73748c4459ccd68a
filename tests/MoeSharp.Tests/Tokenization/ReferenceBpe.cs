using MoeSharp.Tokenization;

namespace MoeSharp.Tests.Tokenization;

/// <summary>Byte-pair encoding the slow, obvious way, over strings.</summary>
internal static class ReferenceBpe
{
    /// <summary>Learns tokens from words of single-byte letters, recounting all pairs after every merge.</summary>
    public static List<string> LearnTokens(string[] words, int count)
    {
        List<List<string>> pieces = [.. words.Select(word => word.Select(letter => letter.ToString()).ToList())];
        List<string> learned = [];
        List<string> order = [.. Enumerable.Range(0, 256).Select(value => ((char)value).ToString())];
        while (learned.Count < count)
        {
            Dictionary<(string, string), int> pairs = [];
            foreach (List<string> piece in pieces)
            {
                for (int index = 0; index + 1 < piece.Count; index++)
                {
                    pairs[(piece[index], piece[index + 1])] = pairs.GetValueOrDefault((piece[index], piece[index + 1])) + 1;
                }
            }

            (string left, string right) = pairs.OrderByDescending(pair => pair.Value)
                .ThenBy(pair => order.IndexOf(pair.Key.Item1)).ThenBy(pair => order.IndexOf(pair.Key.Item2)).First().Key;
            string merged = left + right;
            if (!order.Contains(merged))
            {
                order.Add(merged);
                learned.Add(merged);
            }

            pieces.ForEach(piece => MergePair(piece, left, right));
        }

        return learned;
    }

    /// <summary>Merges one piece: while any pair has a rank, the one of lowest rank, leftmost.</summary>
    public static List<string> Merge(List<string> symbols, IReadOnlyList<(string Left, string Right)> merges)
    {
        while (true)
        {
            int bestRank = int.MaxValue;
            int bestIndex = -1;
            for (int index = 0; index + 1 < symbols.Count; index++)
            {
                for (int rank = 0; rank < merges.Count && rank < bestRank; rank++)
                {
                    if (merges[rank] == (symbols[index], symbols[index + 1]))
                    {
                        bestRank = rank;
                        bestIndex = index;
                    }
                }
            }

            if (bestIndex < 0)
            {
                return symbols;
            }

            symbols[bestIndex] += symbols[bestIndex + 1];
            symbols.RemoveAt(bestIndex + 1);
        }
    }

    private static void MergePair(List<string> piece, string left, string right)
    {
        for (int index = 0; index + 1 < piece.Count; index++)
        {
            if (piece[index] == left && piece[index + 1] == right)
            {
                piece[index] = left + right;
                piece.RemoveAt(index + 1);
            }
        }
    }
}
