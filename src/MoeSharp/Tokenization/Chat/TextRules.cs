using System.Buffers;
using System.Text;

namespace MoeSharp.Tokenization.Chat;

/// <summary>Operations on text that methods and filters share.</summary>
internal static class TextRules
{
    private static readonly SearchValues<char> LineEnds = SearchValues.Create("\n\r\v\f\u001C\u001D\u001E\u0085\u2028\u2029");

    /// <summary>White space as Python sees it: that of Unicode, and the four separators of ASCII.</summary>
    public static bool IsSpace(char character) => char.IsWhiteSpace(character) || character is >= '\u001C' and <= '\u001F';

    /// <summary>Removes characters from the ends: white space, or any of <paramref name="characters"/>.</summary>
    public static string Strip(string text, string? characters, bool left, bool right, RenderRun run)
    {
        if (characters is null)
        {
            int start = left ? SpaceEnd(text, 0) : 0;
            int end = right ? SpaceStart(text, text.Length) : text.Length;
            return start < end ? text[start..end] : "";
        }

        ValueRules.SpendSearch(text, characters, run);
        char[] set = characters.ToCharArray();
        if (set.Length == 0)
        {
            return text;
        }

        text = left ? text.TrimStart(set) : text;
        return right ? text.TrimEnd(set) : text;
    }

    /// <summary>The first character large, the others small.</summary>
    public static string Capitalize(string text) => text.Length == 0 ? text : char.ToUpperInvariant(text[0]) + text[1..].ToLowerInvariant();

    /// <summary>The first character of each word large, the others small.</summary>
    public static string Title(string text) => string.Create(text.Length, text, (result, source) =>
    {
        bool isInside = false;
        for (int index = 0; index < source.Length; index++)
        {
            result[index] = isInside ? char.ToLowerInvariant(source[index]) : char.ToUpperInvariant(source[index]);
            isInside = char.IsLetter(source[index]) || source[index] == '\'';
        }
    });

    /// <summary>The lines of a text.</summary>
    public static List<string> SplitLines(string text, bool keepsEnds, RenderRun run)
    {
        List<string> lines = [];
        for (int start = 0; start < text.Length;)
        {
            run.Spend(1);
            int length = text.AsSpan(start).IndexOfAny(LineEnds);
            int end = length < 0 ? text.Length : start + length;
            int next = Math.Min(text.Length, text.AsSpan(end).StartsWith("\r\n") ? end + 2 : end + 1);
            lines.Add(text[start..(keepsEnds ? next : end)]);
            start = next;
        }

        return lines;
    }

    /// <summary>Cuts a text at a separator, at most <paramref name="limit"/> times.</summary>
    public static List<string> SplitAt(string text, string separator, int limit, bool fromRight)
    {
        if (!fromRight)
        {
            return [.. text.Split(separator, limit == int.MaxValue ? limit : limit + 1)];
        }

        List<string> parts = [];
        int end = text.Length;
        while (parts.Count < limit && end >= separator.Length && text.LastIndexOf(separator, end - 1, StringComparison.Ordinal) is int at && at >= 0)
        {
            parts.Add(text[(at + separator.Length)..end]);
            end = at;
        }

        parts.Add(text[..end]);
        parts.Reverse();
        return parts;
    }

    /// <summary>Cuts a text at runs of white space, at most <paramref name="limit"/> times; what is left over keeps its far end.</summary>
    public static List<string> SplitAtSpace(string text, int limit, bool fromRight, RenderRun run)
    {
        List<string> parts = [];
        if (fromRight)
        {
            SplitFromRight(text, limit, parts, run);
            parts.Reverse();
        }
        else
        {
            SplitFromLeft(text, limit, parts, run);
        }

        return parts;
    }

    private static void SplitFromLeft(string text, int limit, List<string> parts, RenderRun run)
    {
        int start = SpaceEnd(text, 0);
        while (start < text.Length)
        {
            run.Spend(1);
            int end = parts.Count == limit ? text.Length : start;
            while (end < text.Length && !IsSpace(text[end]))
            {
                end++;
            }

            parts.Add(text[start..end]);
            start = SpaceEnd(text, end);
        }
    }

    private static void SplitFromRight(string text, int limit, List<string> parts, RenderRun run)
    {
        int end = SpaceStart(text, text.Length);
        while (end > 0)
        {
            run.Spend(1);
            int start = parts.Count == limit ? 0 : end;
            while (start > 0 && !IsSpace(text[start - 1]))
            {
                start--;
            }

            parts.Add(text[start..end]);
            end = SpaceStart(text, start);
        }
    }

    private static int SpaceEnd(string text, int index)
    {
        while (index < text.Length && IsSpace(text[index]))
        {
            index++;
        }

        return index;
    }

    private static int SpaceStart(string text, int index)
    {
        while (index > 0 && IsSpace(text[index - 1]))
        {
            index--;
        }

        return index;
    }

    /// <summary>Writes one text in place of another, at most <paramref name="count"/> times when that is not negative.</summary>
    public static string Replace(string text, string old, string replacement, long count, RenderRun run)
    {
        if (old.Length == 0)
        {
            return Interleave(text, replacement, count, run);
        }

        ValueRules.SpendSearch(text, old, run);
        int limit = count < 0 ? int.MaxValue : (int)Math.Min(count, int.MaxValue);
        List<string> parts = SplitAt(text, old, limit, fromRight: false);
        run.SpendText(((parts.Count - 1L) * replacement.Length) + text.Length);
        return string.Join(replacement, parts);
    }

    /// <summary>Writes a text before each character and at the end, which is where an empty text stands.</summary>
    private static string Interleave(string text, string replacement, long count, RenderRun run)
    {
        long left = count < 0 ? long.MaxValue : count;
        StringBuilder result = new();
        foreach (string character in ValueSlice.CharactersOf(text))
        {
            run.SpendText(left > 0 ? replacement.Length : 1);
            result.Append(left-- > 0 ? replacement : "").Append(character);
        }

        return result.Append(left > 0 ? replacement : "").ToString();
    }

    /// <summary>Joins the texts of values.</summary>
    public static string Join(string separator, IReadOnlyList<object?> items, RenderRun run)
    {
        run.SpendText((long)separator.Length * items.Count);
        List<string> texts = new(items.Count);
        foreach (object? item in items)
        {
            string text = ValueText.Of(item, run);
            run.SpendText(text.Length);
            texts.Add(text);
        }

        return string.Join(separator, texts);
    }
}
