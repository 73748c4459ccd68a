namespace MoeSharp.Tokenization.Chat;

/// <summary>Parts of lists and texts. Texts are counted in characters, not in UTF-16 units.</summary>
internal static class ValueSlice
{
    /// <summary>The characters of a text.</summary>
    public static IEnumerable<string> CharactersOf(string text)
    {
        for (int index = 0; index < text.Length;)
        {
            int length = char.IsSurrogatePair(text, index) ? 2 : 1;
            yield return text.Substring(index, length);
            index += length;
        }
    }

    /// <summary>The number of characters of a text.</summary>
    public static int Length(string text) => text.AsSpan().IndexOfAnyInRange('\uD800', '\uDFFF') < 0 ? text.Length : CharactersOf(text).Count();

    /// <summary>An item, counted from the end when negative; <see cref="ArgumentValues.Missing"/> when there is none.</summary>
    public static object? At(IReadOnlyList<object?> items, long index)
    {
        long position = index < 0 ? index + items.Count : index;
        return position >= 0 && position < items.Count ? items[(int)position] : ArgumentValues.Missing;
    }

    /// <summary>A character, counted from the end when negative; null when there is none.</summary>
    public static string? CharacterAt(string text, long index)
    {
        List<object?> characters = [.. CharactersOf(text)];
        return At(characters, index) as string;
    }

    /// <summary><c>value[start:stop:step]</c>.</summary>
    public static object? Of(object? value, long? start, long? stop, long? step, RenderRun run)
    {
        if (step == 0)
        {
            throw run.Fault("a slice cannot step by 0");
        }

        switch (value)
        {
            case ListValue list:
                return new ListValue(Select(list.Items, start, stop, step ?? 1, run), list.IsTuple);
            case string text:
                run.Spend(text.Length);
                return string.Concat(Select([.. CharactersOf(text)], start, stop, step ?? 1, run));
            default:
                throw run.Fault($"{ValueRules.KindOf(value)} cannot be sliced");
        }
    }

    private static List<object?> Select(IReadOnlyList<object?> items, long? start, long? stop, long step, RenderRun run)
    {
        long count = items.Count;
        long first = step > 0 ? 0 : -1;
        long last = step > 0 ? count : count - 1;
        long from = Clamp(start, step > 0 ? 0 : count - 1, count, first, last);
        long to = Clamp(stop, step > 0 ? count : -1, count, first, last);
        List<object?> selected = [];
        for (long index = from; step > 0 ? index < to : index > to; index += step)
        {
            run.Spend(1);
            selected.Add(items[(int)index]);
            if (step > count || step < -count)
            {
                break;
            }
        }

        return selected;
    }

    private static long Clamp(long? bound, long absent, long count, long first, long last)
    {
        if (bound is not long given)
        {
            return absent;
        }

        long position = given < 0 ? given + count : given;
        return Math.Clamp(position, first, last);
    }
}
