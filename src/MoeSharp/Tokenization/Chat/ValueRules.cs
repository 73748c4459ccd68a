namespace MoeSharp.Tokenization.Chat;

/// <summary>What values mean: truth, equality, order, members, items. The rules are Python's, which templates are written for.</summary>
internal static class ValueRules
{
    /// <summary>A value counts as true.</summary>
    public static bool IsTrue(object? value) => value switch
    {
        null or UndefinedValue => false,
        bool flag => flag,
        long number => number != 0,
        double number => number != 0,
        string text => text.Length > 0,
        ListValue list => list.Items.Count > 0,
        MapValue map => map.Count > 0,
        _ => true,
    };

    /// <summary>What a value is, for messages.</summary>
    public static string KindOf(object? value) => value switch
    {
        null => "none",
        UndefinedValue missing => $"'{missing.Name}', which is undefined,",
        bool => "a boolean",
        long => "a whole number",
        double => "a number",
        string => "text",
        ListValue => "a list",
        MapValue => "a mapping",
        CallableValue => "a function",
        _ => "an object",
    };

    /// <summary>A boolean or whole number as a number; null for anything else.</summary>
    public static long? WholeNumber(object? value) => value switch
    {
        bool flag => flag ? 1 : 0,
        long number => number,
        _ => null,
    };

    /// <summary>Any number; null for anything else.</summary>
    public static double? Number(object? value) => value is double number ? number : WholeNumber(value);

    /// <summary>The items that a loop over a value sees.</summary>
    public static IReadOnlyList<object?> ItemsOf(object? value, RenderRun run)
    {
        switch (value)
        {
            case ListValue list:
                run.Spend(list.Items.Count);
                return list.Items;
            case MapValue map:
                run.Spend(map.Count);
                return [.. map.Keys];
            case string text:
                run.Spend(text.Length);
                return [.. ValueSlice.CharactersOf(text)];
            case UndefinedValue:
                return [];
            default:
                throw run.Fault($"{KindOf(value)} has no items to go through");
        }
    }

    /// <summary><c>owner.name</c>.</summary>
    public static object? MemberOf(object? owner, string name, RenderRun run)
    {
        if (owner is UndefinedValue missing)
        {
            throw run.Fault($"'{missing.Name}' is undefined, so it has no '{name}'");
        }

        run.SpendText(name.Length);
        if (ValueMethods.Find(owner, name, run) is FunctionValue method)
        {
            return method;
        }

        return owner switch
        {
            MapValue map when map.TryGetValue(name, out object? value) => value,
            IMemberOwner members when members.TryGetMember(name, out object? value) => value,
            _ => new UndefinedValue(name),
        };
    }

    /// <summary><c>owner[key]</c>.</summary>
    public static object? ItemOf(object? owner, object? key, RenderRun run)
    {
        switch (owner)
        {
            case UndefinedValue missing:
                throw run.Fault($"'{missing.Name}' is undefined, so it has no items");
            case MapValue map when key is string name && map.TryFind(name, run, out object? value):
                return value;
            case ListValue list when WholeNumber(key) is long index:
                return ValueSlice.At(list.Items, index) is { } found && found != ArgumentValues.Missing ? found
                    : IsInside(list.Items.Count, index) ? null : new UndefinedValue($"item {index}");
            case string text when WholeNumber(key) is long index:
                run.SpendText(text.Length);
                return ValueSlice.CharacterAt(text, index) ?? (object)new UndefinedValue($"character {index}");
        }

        return key is string member ? MemberOf(owner, member, run) : new UndefinedValue("an item");
    }

    /// <summary>A comparison holds.</summary>
    public static bool Holds(string symbol, object? left, object? right, RenderRun run) => symbol switch
    {
        "==" => AreEqual(left, right, run),
        "!=" => !AreEqual(left, right, run),
        "in" => Contains(right, left, run),
        "not in" => !Contains(right, left, run),
        "<" => Compare(left, right, symbol, run) < 0,
        "<=" => Compare(left, right, symbol, run) <= 0,
        ">" => Compare(left, right, symbol, run) > 0,
        _ => Compare(left, right, symbol, run) >= 0,
    };

    /// <summary>Two values are equal; numbers and booleans by value, lists and mappings by content.</summary>
    public static bool AreEqual(object? left, object? right, RenderRun run)
    {
        run.Enter(run.Line);
        bool areEqual = (left, right) switch
        {
            (null, null) => true,
            (string first, string second) => TextsAreEqual(first, second, run),
            (ListValue first, ListValue second) => first.IsTuple == second.IsTuple && first.Items.Count == second.Items.Count
                && first.Items.Zip(second.Items).All(pair => AreEqual(pair.First, pair.Second, run)),
            (MapValue first, MapValue second) => first.Count == second.Count
                && first.All(entry => second.TryFind(entry.Key, run, out object? value) && AreEqual(entry.Value, value, run)),
            (UndefinedValue, UndefinedValue) => true,
            _ when WholeNumber(left) is long first && WholeNumber(right) is long second => first == second,
            _ when Number(left) is double first && Number(right) is double second => first == second,
            _ => ReferenceEquals(left, right),
        };
        run.Leave();
        return areEqual;
    }

    /// <summary>The order of two values: numbers, texts, or lists of these.</summary>
    public static int Compare(object? left, object? right, string symbol, RenderRun run)
    {
        if (left is string firstText && right is string secondText)
        {
            run.SpendText(Math.Min(firstText.Length, secondText.Length));
            return string.CompareOrdinal(firstText, secondText);
        }

        if (WholeNumber(left) is long firstWhole && WholeNumber(right) is long secondWhole)
        {
            return firstWhole.CompareTo(secondWhole);
        }

        if (Number(left) is double first && Number(right) is double second)
        {
            return first.CompareTo(second);
        }

        throw run.Fault($"'{symbol}' does not compare {KindOf(left)} with {KindOf(right)}");
    }

    /// <summary><c>item in container</c>.</summary>
    public static bool Contains(object? container, object? item, RenderRun run)
    {
        switch (container)
        {
            case string text when item is string part:
                SpendSearch(text, part, run);
                return text.Contains(part, StringComparison.Ordinal);
            case ListValue list:
                return list.Items.Any(candidate => AreEqual(candidate, item, run));
            case MapValue map:
                return item is string key && map.TryFind(key, run, out _);
            case UndefinedValue:
                return false;
            default:
                throw run.Fault($"{KindOf(item)} cannot be looked for in {KindOf(container)}");
        }
    }

    /// <summary>Counts the worst work of searching a text, which grows with both lengths.</summary>
    public static void SpendSearch(string text, string part, RenderRun run) => run.SpendText((long)text.Length * (1 + (part.Length / 64)));

    private static bool IsInside(int count, long index) => index >= -count && index < count;

    private static bool TextsAreEqual(string first, string second, RenderRun run)
    {
        if (first.Length != second.Length)
        {
            return false;
        }

        run.SpendText(first.Length);
        return string.Equals(first, second, StringComparison.Ordinal);
    }
}
