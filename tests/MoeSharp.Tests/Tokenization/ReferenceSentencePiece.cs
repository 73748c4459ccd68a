using System.Text;

namespace MoeSharp.Tests.Tokenization;

/// <summary>Merging by score as its definition says, in quadratic time: symbols are texts, the best concatenation wins, leftmost first.</summary>
internal static class ReferenceSentencePiece
{
    /// <summary>The pieces of a text whose blanks are rewritten already; characters without a piece come out as bytes.</summary>
    public static List<string> Encode(string text, IReadOnlyDictionary<string, float> scores, IReadOnlyCollection<string> frozen)
    {
        List<(string Text, bool IsFrozen)> symbols = [];
        for (int index = 0; index < text.Length;)
        {
            string? user = frozen.Where(piece => string.CompareOrdinal(text, index, piece, 0, piece.Length) == 0).MaxBy(piece => piece.Length);
            string symbol = user ?? (char.IsSurrogatePair(text, index) ? text.Substring(index, 2) : text[index].ToString());
            symbols.Add((symbol, user is not null));
            index += symbol.Length;
        }

        while (true)
        {
            int best = -1;
            float bestScore = float.NegativeInfinity;
            for (int index = 0; index + 1 < symbols.Count; index++)
            {
                bool mayMerge = !symbols[index].IsFrozen && !symbols[index + 1].IsFrozen;
                if (mayMerge && scores.TryGetValue(symbols[index].Text + symbols[index + 1].Text, out float score) && score > bestScore)
                {
                    (best, bestScore) = (index, score);
                }
            }

            if (best < 0)
            {
                break;
            }

            symbols[best] = (symbols[best].Text + symbols[best + 1].Text, false);
            symbols.RemoveAt(best + 1);
        }

        return [.. symbols.SelectMany(symbol => symbol.IsFrozen || scores.ContainsKey(symbol.Text)
            ? [symbol.Text]
            : Encoding.UTF8.GetBytes(symbol.Text).Select(value => $"<0x{value:X2}>"))];
    }
}
