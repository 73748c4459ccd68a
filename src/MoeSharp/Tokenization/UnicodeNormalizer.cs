using System.Text;

namespace MoeSharp.Tokenization;

/// <summary>
/// The normalisation forms NFC, NFD, NFKC and NFKD. Text is taken in stretches that begin with a character which nothing before can
/// change; stretches of one settled character are copied, so plain text costs a look at each character.
/// </summary>
/// <param name="isCompatible">Compatibility forms (the K forms): ligatures, widths and the like are undone.</param>
/// <param name="composes">Marks are put back onto their letters (the C forms).</param>
internal sealed class UnicodeNormalizer(bool isCompatible, bool composes) : Normalizer
{
    private readonly UnicodeTable _table = UnicodeTable.Instance;

    // Below these lead bytes no character changes: NFC leaves everything under U+0300 alone, the other forms only ASCII.
    private readonly byte _firstLeadByte = composes && !isCompatible ? (byte)0xCC : (byte)0x80;

    /// <inheritdoc/>
    public override byte[]? Rewrite(ReadOnlySpan<byte> text)
    {
        if (text.IndexOfAnyInRange(_firstLeadByte, (byte)0xFF) < 0)
        {
            return null;
        }

        using MemoryStream output = new(text.Length);
        List<int> stretch = [];
        for (int start = 0; start < text.Length;)
        {
            int first = CodePoint.At(text, start, out int length);
            int end = start + length;
            while (end < text.Length && !BeginsStretch(CodePoint.At(text, end, out length)))
            {
                end += length;
            }

            bool isSingle = end - start == Utf8Length(text[start]);
            if (isSingle && IsSettled(first))
            {
                output.Write(text[start..end]);
            }
            else
            {
                Normalize(text[start..end], stretch);
                Write(stretch, output);
            }

            start = end;
        }

        return output.ToArray();
    }

    private bool BeginsStretch(int codePoint)
    {
        if (codePoint < 0x300)
        {
            return true;
        }

        if (_table.CombiningClass(codePoint) != 0 || (composes && _table.IsSecond(codePoint)))
        {
            return false;
        }

        // A character that decomposes begins a stretch only if its first part does (U+FF9E becomes a mark, for example).
        return _table.Decomposition(codePoint, isCompatible) is not int[] parts || BeginsStretch(parts[0]);
    }

    private bool IsSettled(int codePoint)
    {
        if (codePoint is >= UnicodeTable.HangulBase and < UnicodeTable.HangulBase + UnicodeTable.NumHangul)
        {
            return composes;
        }

        // A composite whose canonical parts decompose further only in the compatible sense is not settled in the K forms.
        int[]? parts = _table.Decomposition(codePoint, isCompatible);
        return parts is null || (composes && !isCompatible && !_table.IsNeverComposed(codePoint));
    }

    private void Normalize(ReadOnlySpan<byte> text, List<int> result)
    {
        result.Clear();
        for (int index = 0; index < text.Length;)
        {
            Decompose(CodePoint.At(text, index, out int length), result);
            index += length;
        }

        OrderMarks(result);
        if (composes)
        {
            Compose(result);
        }
    }

    private void Decompose(int codePoint, List<int> result)
    {
        int syllable = codePoint - UnicodeTable.HangulBase;
        if (syllable is >= 0 and < UnicodeTable.NumHangul)
        {
            result.Add(0x1100 + (syllable / (21 * 28)));
            result.Add(0x1161 + (syllable / 28 % 21));
            if (syllable % 28 != 0)
            {
                result.Add(0x11A7 + (syllable % 28));
            }
        }
        else if (_table.Decomposition(codePoint, isCompatible) is int[] parts)
        {
            foreach (int part in parts)
            {
                Decompose(part, result);
            }
        }
        else
        {
            result.Add(codePoint);
        }
    }

    /// <summary>Sorts each run of marks by combining class, keeping the order of equals; long hostile runs cost n log n.</summary>
    private void OrderMarks(List<int> codePoints)
    {
        for (int start = 0; start < codePoints.Count;)
        {
            int end = start;
            bool isOrdered = true;
            while (end < codePoints.Count && _table.CombiningClass(codePoints[end]) is int combiningClass && combiningClass != 0)
            {
                isOrdered &= end == start || _table.CombiningClass(codePoints[end - 1]) <= combiningClass;
                end++;
            }

            if (!isOrdered)
            {
                int index = start;
                foreach (int codePoint in codePoints.GetRange(start, end - start).OrderBy(_table.CombiningClass))
                {
                    codePoints[index++] = codePoint;
                }
            }

            start = end == start ? start + 1 : end;
        }
    }

    /// <summary>Joins each character with the last starter before it, unless a character between them blocks it.</summary>
    private void Compose(List<int> codePoints)
    {
        int starter = -1;
        int lastClass = -1;
        int written = 0;
        foreach (int codePoint in codePoints.ToArray())
        {
            int combiningClass = _table.CombiningClass(codePoint);
            bool isBlocked = lastClass != -1 && (lastClass == 0 || lastClass >= combiningClass);
            int composed = starter >= 0 && !isBlocked ? _table.Compose(codePoints[starter], codePoint) : -1;
            if (composed >= 0)
            {
                codePoints[starter] = composed;
                continue;
            }

            if (combiningClass == 0)
            {
                starter = written;
                lastClass = -1;
            }
            else
            {
                lastClass = combiningClass;
            }

            codePoints[written++] = codePoint;
        }

        codePoints.RemoveRange(written, codePoints.Count - written);
    }

    private static int Utf8Length(byte lead) => lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;

    private static void Write(List<int> codePoints, MemoryStream output)
    {
        Span<byte> bytes = stackalloc byte[4];
        foreach (int codePoint in codePoints)
        {
            output.Write(bytes[..new Rune(codePoint).EncodeToUtf8(bytes)]);
        }
    }
}
