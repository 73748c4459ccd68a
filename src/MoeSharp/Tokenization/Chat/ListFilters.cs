namespace MoeSharp.Tokenization.Chat;

/// <summary>The filters of lists and mappings.</summary>
internal static class ListFilters
{
    /// <summary>Adds them to a table.</summary>
    public static void AddTo(Dictionary<string, TemplateFilter> filters)
    {
        filters["list"] = (value, arguments, run) => new ListValue(ValueRules.ItemsOf(value, run));
        filters["first"] = (value, arguments, run) => ValueRules.ItemsOf(value, run) is { Count: > 0 } items ? items[0] : new UndefinedValue("the first item");
        filters["last"] = (value, arguments, run) => ValueRules.ItemsOf(value, run) is { Count: > 0 } items ? items[^1] : new UndefinedValue("the last item");
        filters["reverse"] = (value, arguments, run) => value is string text
            ? string.Concat(ValueRules.ItemsOf(text, run).Reverse())
            : new ListValue([.. ValueRules.ItemsOf(value, run).Reverse()]);
        filters["items"] = (value, arguments, run) => value switch
        {
            MapValue map => map.Entries(run),
            UndefinedValue => new ListValue([]),
            _ => throw run.Fault($"items takes a mapping, not {ValueRules.KindOf(value)}"),
        };
        filters["join"] = Join;
        filters["map"] = Map;
        filters["select"] = (value, arguments, run) => Select(value, arguments, run, hasAttribute: false, keeps: true);
        filters["reject"] = (value, arguments, run) => Select(value, arguments, run, hasAttribute: false, keeps: false);
        filters["selectattr"] = (value, arguments, run) => Select(value, arguments, run, hasAttribute: true, keeps: true);
        filters["rejectattr"] = (value, arguments, run) => Select(value, arguments, run, hasAttribute: true, keeps: false);
        filters["sort"] = Sort;
        filters["dictsort"] = SortMap;
        filters["unique"] = Unique;
        filters["sum"] = Sum;
        filters["min"] = (value, arguments, run) => Extreme(value, arguments, run, "min", sign: 1);
        filters["max"] = (value, arguments, run) => Extreme(value, arguments, run, "max", sign: -1);
        filters["batch"] = Batch;
        filters["attr"] = (value, arguments, run) =>
            ValueRules.MemberOf(value, arguments.Bind("attr", run, "name")[0] as string ?? throw run.Fault("attr takes a name"), run);
    }

    private static object? Join(object? value, ArgumentValues arguments, RenderRun run)
    {
        object?[] bound = arguments.Bind("join", run, "d", "attribute");
        IReadOnlyList<object?> items = ValueRules.ItemsOf(value, run);
        if (bound[1] != ArgumentValues.Missing && bound[1] is not null)
        {
            items = [.. items.Select(item => Attribute(item, bound[1], run))];
        }

        return TextRules.Join(bound[0] == ArgumentValues.Missing ? "" : ValueText.Of(bound[0], run), items, run);
    }

    private static object? Map(object? value, ArgumentValues arguments, RenderRun run)
    {
        IReadOnlyList<object?> items = ValueRules.ItemsOf(value, run);
        if (arguments.Positional.Count == 0)
        {
            object?[] bound = arguments.Bind("map", run, "attribute", "default");
            return new ListValue([.. items.Select(item => Attribute(item, bound[0], run) is object found and not UndefinedValue ? found
                : bound[1] == ArgumentValues.Missing ? Attribute(item, bound[0], run) : bound[1])]);
        }

        TemplateFilter filter = arguments.Positional[0] is string name && TemplateFilters.Find(name) is TemplateFilter found
            ? found
            : throw run.Fault("map takes the name of a filter");
        ArgumentValues rest = Rest(arguments, 1);
        List<object?> mapped = new(items.Count);
        foreach (object? item in items)
        {
            run.Enter(run.Line);
            mapped.Add(filter(item, rest, run));
            run.Leave();
        }

        return new ListValue(mapped);
    }

    private static ListValue Select(object? value, ArgumentValues arguments, RenderRun run, bool hasAttribute, bool keeps)
    {
        object? attribute = hasAttribute ? arguments.Positional.FirstOrDefault() ?? throw run.Fault("selectattr takes the name of an attribute") : null;
        int numTaken = hasAttribute ? 1 : 0;
        TemplateTest? test = null;
        if (arguments.Positional.Count > numTaken)
        {
            test = arguments.Positional[numTaken] is string name && TemplateTests.Find(name) is TemplateTest found
                ? found
                : throw run.Fault($"there is no test '{ValueText.Of(arguments.Positional[numTaken], run)}'");
        }

        ArgumentValues rest = Rest(arguments, numTaken + 1);
        List<object?> selected = [];
        foreach (object? item in ValueRules.ItemsOf(value, run))
        {
            object? looked = hasAttribute ? Attribute(item, attribute, run) : item;
            bool holds = test is null ? ValueRules.IsTrue(looked) : test(looked, rest, run);
            if (holds == keeps)
            {
                selected.Add(item);
            }
        }

        return new ListValue(selected);
    }

    private static ArgumentValues Rest(ArgumentValues arguments, int numTaken)
    {
        ArgumentValues rest = new() { Positional = [.. arguments.Positional.Skip(numTaken)] };
        foreach ((string name, object? value) in arguments.Named)
        {
            rest.Named[name] = value;
        }

        return rest;
    }

    private static object? Attribute(object? item, object? path, RenderRun run)
    {
        if (path is not string names)
        {
            return ValueRules.ItemOf(item, path, run);
        }

        run.SpendText(names.Length);
        foreach (string name in names.Split('.'))
        {
            run.Spend(1);
            item = long.TryParse(name, out long index) ? ValueRules.ItemOf(item, index, run) : ValueRules.ItemOf(item, name, run);
        }

        return item;
    }

    private static object? Sort(object? value, ArgumentValues arguments, RenderRun run)
    {
        object?[] bound = arguments.Bind("sort", run, "reverse", "case_sensitive", "attribute");
        IReadOnlyList<object?> items = ValueRules.ItemsOf(value, run);
        object?[] keys = [.. items.Select(item => bound[2] is null || bound[2] == ArgumentValues.Missing ? item : Attribute(item, bound[2], run))];
        return new ListValue(Order(items, keys, IsGivenTrue(bound[0]), IsGivenTrue(bound[1]), run));
    }

    private static object? SortMap(object? value, ArgumentValues arguments, RenderRun run)
    {
        object?[] bound = arguments.Bind("dictsort", run, "case_sensitive", "by", "reverse");
        MapValue map = value as MapValue ?? throw run.Fault($"dictsort takes a mapping, not {ValueRules.KindOf(value)}");
        object?[] keys = bound[1] is "value" ? [.. map.Values] : [.. map.Keys];
        return new ListValue(Order(map.Entries(run).Items, keys, IsGivenTrue(bound[2]), IsGivenTrue(bound[0]), run));
    }

    /// <summary>Orders items by keys of one kind, keeping the order of equals. Other keys are refused before sorting begins.</summary>
    private static List<object?> Order(IReadOnlyList<object?> items, object?[] keys, bool isReversed, bool isCaseSensitive, RenderRun run)
    {
        for (int index = 1; index < keys.Length; index++)
        {
            ValueRules.Compare(keys[index - 1], keys[index], "<", run);
        }

        run.Spend(items.Count * 16L);
        foreach (object? key in keys)
        {
            run.SpendText(key is string text ? text.Length * 16L : 0);
        }

        IEnumerable<int> order = Enumerable.Range(0, items.Count);
        if (keys.Length > 0 && keys[0] is string)
        {
            string[] texts = [.. keys.Select(key => isCaseSensitive ? (string)key! : ((string)key!).ToLowerInvariant())]; // Not null: compared above.
            order = isReversed ? order.OrderByDescending(index => texts[index], StringComparer.Ordinal) : order.OrderBy(index => texts[index], StringComparer.Ordinal);
        }
        else if (keys.Length > 1)
        {
            order = isReversed ? order.OrderByDescending(index => ValueRules.Number(keys[index])) : order.OrderBy(index => ValueRules.Number(keys[index]));
        }

        return [.. order.Select(index => items[index])];
    }

    private static object? Unique(object? value, ArgumentValues arguments, RenderRun run)
    {
        object?[] bound = arguments.Bind("unique", run, "case_sensitive", "attribute");
        List<object?> seen = [];
        List<object?> kept = [];
        foreach (object? item in ValueRules.ItemsOf(value, run))
        {
            object? key = KeyOf(item, bound[1], IsGivenTrue(bound[0]), run);
            if (!seen.Exists(other => ValueRules.AreEqual(other, key, run)))
            {
                seen.Add(key);
                kept.Add(item);
            }
        }

        return new ListValue(kept);
    }

    private static object? Sum(object? value, ArgumentValues arguments, RenderRun run)
    {
        object?[] bound = arguments.Bind("sum", run, "attribute", "start");
        object? sum = bound[1] == ArgumentValues.Missing ? 0L : bound[1];
        foreach (object? item in ValueRules.ItemsOf(value, run))
        {
            object? addend = bound[0] is null || bound[0] == ArgumentValues.Missing ? item : Attribute(item, bound[0], run);
            sum = ValueArithmetic.Compute("+", sum, addend, run);
        }

        return sum;
    }

    private static object? Extreme(object? value, ArgumentValues arguments, RenderRun run, string name, int sign)
    {
        object?[] bound = arguments.Bind(name, run, "case_sensitive", "attribute");
        object? best = new UndefinedValue($"the {name} of nothing");
        object? bestKey = ArgumentValues.Missing;
        foreach (object? item in ValueRules.ItemsOf(value, run))
        {
            object? key = KeyOf(item, bound[1], IsGivenTrue(bound[0]), run);
            if (bestKey == ArgumentValues.Missing || ValueRules.Compare(key, bestKey, "<", run) * sign < 0)
            {
                (best, bestKey) = (item, key);
            }
        }

        return best;
    }

    /// <summary>What an item is compared by: itself or an attribute, as text in small letters unless case counts.</summary>
    private static object? KeyOf(object? item, object? attribute, bool isCaseSensitive, RenderRun run)
    {
        object? key = attribute is null || attribute == ArgumentValues.Missing ? item : Attribute(item, attribute, run);
        if (key is not string text || isCaseSensitive)
        {
            return key;
        }

        run.SpendText(text.Length);
        return text.ToLowerInvariant();
    }

    private static object? Batch(object? value, ArgumentValues arguments, RenderRun run)
    {
        object?[] bound = arguments.Bind("batch", run, "linecount", "fill_with");
        int size = ValueRules.WholeNumber(bound[0]) is long given and > 0 and < int.MaxValue ? (int)given : throw run.Fault("batch takes a size above 0");
        List<object?> batches = [];
        foreach (object?[] chunk in ValueRules.ItemsOf(value, run).Chunk(size))
        {
            int numFilled = bound[1] is null || bound[1] == ArgumentValues.Missing ? 0 : size - chunk.Length;
            run.Spend(numFilled);
            batches.Add(new ListValue([.. chunk, .. Enumerable.Repeat(bound[1], numFilled)]));
        }

        return new ListValue(batches);
    }

    private static bool IsGivenTrue(object? argument) => argument != ArgumentValues.Missing && ValueRules.IsTrue(argument);
}
