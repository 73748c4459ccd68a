namespace MoeSharp.Tokenization.Chat;

/// <summary>
/// Methods of texts, lists and mappings. None changes its value: those that would (append, update, pop) are refused by name.
/// </summary>
internal static class ValueMethods
{
    private delegate object? TextMethod(string text, ArgumentValues arguments, RenderRun run);

    private static readonly Dictionary<string, TextMethod> OfText = new(StringComparer.Ordinal)
    {
        ["strip"] = (text, arguments, run) => TextRules.Strip(text, Optional(arguments, run, "strip"), left: true, right: true, run),
        ["lstrip"] = (text, arguments, run) => TextRules.Strip(text, Optional(arguments, run, "lstrip"), left: true, right: false, run),
        ["rstrip"] = (text, arguments, run) => TextRules.Strip(text, Optional(arguments, run, "rstrip"), left: false, right: true, run),
        ["upper"] = (text, arguments, run) => text.ToUpperInvariant(),
        ["lower"] = (text, arguments, run) => text.ToLowerInvariant(),
        ["casefold"] = (text, arguments, run) => text.ToLowerInvariant(),
        ["title"] = (text, arguments, run) => TextRules.Title(text),
        ["capitalize"] = (text, arguments, run) => TextRules.Capitalize(text),
        ["split"] = (text, arguments, run) => Split(text, arguments, fromRight: false, run),
        ["rsplit"] = (text, arguments, run) => Split(text, arguments, fromRight: true, run),
        ["splitlines"] = (text, arguments, run) => new ListValue(
            [.. TextRules.SplitLines(text, arguments.Bind("splitlines", run, "keepends")[0] is object keeps && keeps != ArgumentValues.Missing && ValueRules.IsTrue(keeps), run)]),
        ["partition"] = (text, arguments, run) => Partition(text, arguments, run),
        ["startswith"] = (text, arguments, run) => HasAffix(text, arguments, run, "startswith", text.StartsWith),
        ["endswith"] = (text, arguments, run) => HasAffix(text, arguments, run, "endswith", text.EndsWith),
        ["replace"] = Replace,
        ["find"] = (text, arguments, run) => Find(text, arguments, run, "find", isLast: false),
        ["rfind"] = (text, arguments, run) => Find(text, arguments, run, "rfind", isLast: true),
        ["count"] = (text, arguments, run) => Count(text, arguments, run),
        ["join"] = (text, arguments, run) => TextRules.Join(text, ValueRules.ItemsOf(arguments.Bind("join", run, "items")[0], run), run),
        ["removeprefix"] = (text, arguments, run) => Required(arguments, run, "removeprefix") is string part && text.StartsWith(part, StringComparison.Ordinal) ? text[part.Length..] : text,
        ["removesuffix"] = (text, arguments, run) => Required(arguments, run, "removesuffix") is string part && text.EndsWith(part, StringComparison.Ordinal) ? text[..^part.Length] : text,
        ["isdigit"] = (text, arguments, run) => text.Length > 0 && text.All(char.IsDigit),
        ["isnumeric"] = (text, arguments, run) => text.Length > 0 && text.All(char.IsNumber),
        ["isalpha"] = (text, arguments, run) => text.Length > 0 && text.All(char.IsLetter),
        ["isalnum"] = (text, arguments, run) => text.Length > 0 && text.All(char.IsLetterOrDigit),
        ["isspace"] = (text, arguments, run) => text.Length > 0 && text.All(TextRules.IsSpace),
        ["isupper"] = (text, arguments, run) => text.Any(char.IsUpper) && !text.Any(char.IsLower),
        ["islower"] = (text, arguments, run) => text.Any(char.IsLower) && !text.Any(char.IsUpper),
    };

    private static readonly HashSet<string> Changing =
        ["append", "extend", "insert", "remove", "pop", "popitem", "clear", "update", "setdefault", "sort", "reverse"];

    /// <summary>The method of a value; null when it has none of that name.</summary>
    public static FunctionValue? Find(object? owner, string name, RenderRun run)
    {
        if (owner is ListValue or MapValue && Changing.Contains(name))
        {
            throw run.Fault($"'{name}' would change {ValueRules.KindOf(owner)}, which a chat template may not");
        }

        return owner switch
        {
            string text when OfText.TryGetValue(name, out TextMethod? method) => new FunctionValue(name, (arguments, inner) =>
            {
                inner.SpendText(text.Length);
                return method(text, arguments, inner);
            }),
            MapValue map => OfMap(map, name),
            ListValue list => OfList(list, name),
            _ => null,
        };
    }

    private static FunctionValue? OfMap(MapValue map, string name)
    {
        Func<ArgumentValues, RenderRun, object?>? body = name switch
        {
            "items" => (arguments, run) => map.Entries(run),
            "keys" => (arguments, run) => new ListValue(ValueRules.ItemsOf(map, run)),
            "values" => (arguments, run) => Values(map, run),
            "get" => (arguments, run) => Get(map, arguments, run),
            "copy" => (arguments, run) => map,
            _ => null,
        };
        return body is null ? null : new FunctionValue(name, body);
    }

    private static ListValue Values(MapValue map, RenderRun run)
    {
        run.Spend(map.Count);
        return new ListValue([.. map.Values]);
    }

    private static object? Get(MapValue map, ArgumentValues arguments, RenderRun run)
    {
        object?[] bound = arguments.Bind("get", run, "key", "default");
        return bound[0] is string key && map.TryFind(key, run, out object? value) ? value : bound[1] == ArgumentValues.Missing ? null : bound[1];
    }

    private static FunctionValue? OfList(ListValue list, string name)
    {
        Func<ArgumentValues, RenderRun, object?>? body = name switch
        {
            "count" => (arguments, run) => (long)list.Items.Count(item => ValueRules.AreEqual(item, arguments.Bind("count", run, "value")[0], run)),
            "index" => (arguments, run) => IndexOf(list, arguments, run),
            "copy" => (arguments, run) => list,
            _ => null,
        };
        return body is null ? null : new FunctionValue(name, body);
    }

    private static object? IndexOf(ListValue list, ArgumentValues arguments, RenderRun run)
    {
        object? wanted = arguments.Bind("index", run, "value")[0];
        for (int index = 0; index < list.Items.Count; index++)
        {
            if (ValueRules.AreEqual(list.Items[index], wanted, run))
            {
                return (long)index;
            }
        }

        throw run.Fault("the list does not hold the value that 'index' looks for");
    }

    private static string? Optional(ArgumentValues arguments, RenderRun run, string method)
    {
        object? given = arguments.Bind(method, run, "chars")[0];
        bool isAbsent = given is null || given == ArgumentValues.Missing;
        return isAbsent ? null : given as string ?? throw run.Fault($"{method} takes text, not {ValueRules.KindOf(given)}");
    }

    private static string Required(ArgumentValues arguments, RenderRun run, string method) =>
        arguments.Bind(method, run, "text")[0] as string ?? throw run.Fault($"{method} takes text");

    private static ListValue Split(string text, ArgumentValues arguments, bool fromRight, RenderRun run)
    {
        object?[] bound = arguments.Bind("split", run, "sep", "maxsplit");
        long most = bound[1] == ArgumentValues.Missing ? -1 : ValueRules.WholeNumber(bound[1]) ?? throw run.Fault("split takes a whole number as maxsplit");
        int limit = most < 0 ? int.MaxValue : (int)Math.Min(most, int.MaxValue);
        if (bound[0] is null || bound[0] == ArgumentValues.Missing)
        {
            return new ListValue([.. TextRules.SplitAtSpace(text, limit, fromRight, run)]);
        }

        string separator = bound[0] as string ?? throw run.Fault("split takes text as separator");
        if (separator.Length == 0)
        {
            throw run.Fault("split cannot use an empty separator");
        }

        ValueRules.SpendSearch(text, separator, run);
        List<string> parts = TextRules.SplitAt(text, separator, limit, fromRight);
        run.Spend(parts.Count);
        return new ListValue([.. parts]);
    }

    private static ListValue Partition(string text, ArgumentValues arguments, RenderRun run)
    {
        string separator = Required(arguments, run, "partition");
        ValueRules.SpendSearch(text, separator, run);
        int at = text.IndexOf(separator, StringComparison.Ordinal);
        return new ListValue(at < 0 ? [text, "", ""] : [text[..at], separator, text[(at + separator.Length)..]], isTuple: true);
    }

    private static object? HasAffix(string text, ArgumentValues arguments, RenderRun run, string method, Func<string, StringComparison, bool> has)
    {
        object? wanted = arguments.Bind(method, run, "text")[0];
        IReadOnlyList<object?> candidates = wanted is ListValue { IsTuple: true } tuple ? tuple.Items : [wanted];
        foreach (object? candidate in candidates)
        {
            string part = candidate as string ?? throw run.Fault($"{method} takes text, not {ValueRules.KindOf(candidate)}");
            run.SpendText(part.Length);
            if (has(part, StringComparison.Ordinal))
            {
                return true;
            }
        }

        return false;
    }

    private static object? Replace(string text, ArgumentValues arguments, RenderRun run)
    {
        object?[] bound = arguments.Bind("replace", run, "old", "new", "count");
        long count = bound[2] == ArgumentValues.Missing ? -1 : ValueRules.WholeNumber(bound[2]) ?? -1;
        return bound is [string old, string replacement, _]
            ? TextRules.Replace(text, old, replacement, count, run)
            : throw run.Fault("replace takes two texts");
    }

    private static object? Find(string text, ArgumentValues arguments, RenderRun run, string method, bool isLast)
    {
        string part = Required(arguments, run, method);
        ValueRules.SpendSearch(text, part, run);
        int unit = isLast ? text.LastIndexOf(part, StringComparison.Ordinal) : text.IndexOf(part, StringComparison.Ordinal);
        return unit < 0 ? -1L : (long)ValueSlice.Length(text[..unit]);
    }

    private static object? Count(string text, ArgumentValues arguments, RenderRun run)
    {
        string part = Required(arguments, run, "count");
        ValueRules.SpendSearch(text, part, run);
        return part.Length == 0 ? ValueSlice.Length(text) + 1L : TextRules.SplitAt(text, part, int.MaxValue, fromRight: false).Count - 1L;
    }
}
