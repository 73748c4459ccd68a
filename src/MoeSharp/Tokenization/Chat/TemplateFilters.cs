using System.Globalization;

namespace MoeSharp.Tokenization.Chat;

/// <summary>A filter.</summary>
/// <param name="value">What stands before the bar.</param>
/// <param name="arguments">Its arguments.</param>
/// <param name="run">The rendering.</param>
internal delegate object? TemplateFilter(object? value, ArgumentValues arguments, RenderRun run);

/// <summary>The filters of texts, numbers and JSON, and the list of all filters.</summary>
internal static class TemplateFilters
{
    private static readonly Dictionary<string, TemplateFilter> ByName = Build();

    /// <summary>The filter of a name; null when there is none.</summary>
    public static TemplateFilter? Find(string name) => ByName.GetValueOrDefault(name);

    private static Dictionary<string, TemplateFilter> Build()
    {
        Dictionary<string, TemplateFilter> filters = new(StringComparer.Ordinal)
        {
            ["upper"] = (value, arguments, run) => Text(value, run).ToUpperInvariant(),
            ["lower"] = (value, arguments, run) => Text(value, run).ToLowerInvariant(),
            ["title"] = (value, arguments, run) => TextRules.Title(Text(value, run)),
            ["capitalize"] = (value, arguments, run) => TextRules.Capitalize(Text(value, run)),
            ["string"] = (value, arguments, run) => Text(value, run),
            ["safe"] = (value, arguments, run) => Text(value, run),
            ["escape"] = (value, arguments, run) => Escape(Text(value, run), run),
            ["trim"] = (value, arguments, run) => TextRules.Strip(Text(value, run), arguments.Bind("trim", run, "chars")[0] as string, left: true, right: true, run),
            ["replace"] = Replace,
            ["indent"] = Indent,
            ["tojson"] = ToJson,
            ["default"] = Default,
            ["int"] = ToWhole,
            ["float"] = ToReal,
            ["abs"] = Absolute,
            ["round"] = Round,
            ["length"] = Length,
            ["wordcount"] = (value, arguments, run) => (long)TextRules.SplitAtSpace(Text(value, run), int.MaxValue, fromRight: false, run).Count,
        };
        filters["e"] = filters["escape"];
        filters["d"] = filters["default"];
        filters["count"] = filters["length"];
        ListFilters.AddTo(filters);
        return filters;
    }

    /// <summary>The text of what a filter works on.</summary>
    internal static string Text(object? value, RenderRun run)
    {
        string text = ValueText.Of(value, run);
        run.SpendText(text.Length);
        return text;
    }

    private static string Escape(string text, RenderRun run)
    {
        run.SpendText(text.Length * 5L);
        return text.Replace("&", "&amp;", StringComparison.Ordinal).Replace("<", "&lt;", StringComparison.Ordinal)
            .Replace(">", "&gt;", StringComparison.Ordinal).Replace("'", "&#39;", StringComparison.Ordinal).Replace("\"", "&#34;", StringComparison.Ordinal);
    }

    private static object? Replace(object? value, ArgumentValues arguments, RenderRun run)
    {
        object?[] bound = arguments.Bind("replace", run, "old", "new", "count");
        long count = bound[2] == ArgumentValues.Missing ? -1 : ValueRules.WholeNumber(bound[2]) ?? -1;
        return TextRules.Replace(Text(value, run), Text(bound[0], run), Text(bound[1], run), count, run);
    }

    private static object? Indent(object? value, ArgumentValues arguments, RenderRun run)
    {
        object?[] bound = arguments.Bind("indent", run, "width", "first", "blank");
        string prefix = bound[0] as string ?? new string(' ', (int)Math.Clamp(ValueRules.WholeNumber(bound[0]) ?? 4, 0, 1000));
        bool indentsBlank = IsGivenTrue(bound[2]);
        List<string> lines = TextRules.SplitLines(Text(value, run) + "\n", keepsEnds: false, run);
        run.SpendText((long)lines.Count * prefix.Length);
        string text = string.Join('\n', lines.Select((line, index) => index > 0 && (line.Length > 0 || indentsBlank) ? prefix + line : line));
        return IsGivenTrue(bound[1]) ? prefix + text : text;
    }

    private static bool IsGivenTrue(object? argument) => argument != ArgumentValues.Missing && ValueRules.IsTrue(argument);

    private static object? ToJson(object? value, ArgumentValues arguments, RenderRun run)
    {
        object?[] bound = arguments.Bind("tojson", run, "indent", "ensure_ascii", "separators", "sort_keys");
        string? indent = bound[0] switch
        {
            null => null,
            string text => text,
            object given => ValueRules.WholeNumber(given) is long width ? new string(' ', (int)Math.Clamp(width, 0, 100)) : null,
        };
        (string item, string key) = (indent is null ? ", " : ",", ": ");
        if (bound[2] is ListValue { Items: [string givenItem, string givenKey] })
        {
            (item, key) = (givenItem, givenKey);
        }

        return TemplateJson.Write(value, new JsonStyle(indent, item, key, IsGivenTrue(bound[3]), IsGivenTrue(bound[1])), run);
    }

    private static object? Default(object? value, ArgumentValues arguments, RenderRun run)
    {
        object?[] bound = arguments.Bind("default", run, "default_value", "boolean");
        bool isAbsent = value is UndefinedValue || (IsGivenTrue(bound[1]) && !ValueRules.IsTrue(value));
        return !isAbsent ? value : bound[0] == ArgumentValues.Missing ? "" : bound[0];
    }

    private static object? ToWhole(object? value, ArgumentValues arguments, RenderRun run)
    {
        object?[] bound = arguments.Bind("int", run, "default", "base");
        if (value is string digits)
        {
            run.SpendText(digits.Length);
            long? radix = bound[1] == ArgumentValues.Missing ? 10 : ValueRules.WholeNumber(bound[1]);
            if (radix is 0 or (>= 2 and <= 36) && WholeNumberText.TryRead(digits, (int)radix, out long? read))
            {
                return read ?? throw run.Fault("the number in the text is too large");
            }
        }
        else if (ValueRules.WholeNumber(value) is long exact)
        {
            return exact;
        }

        // Python's int() stops here; Jinja goes on, so that '42.23' is 42.
        double number = (value is string text ? Parse(text) : ValueRules.Number(value)) ?? double.NaN;
        return !double.IsFinite(number) ? (bound[0] == ArgumentValues.Missing ? 0L : bound[0])
            : Math.Abs(number) < 9.2e18 ? (object)(long)number
            : throw run.Fault("the number is too large");
    }

    private static object? ToReal(object? value, ArgumentValues arguments, RenderRun run)
    {
        object? absent = arguments.Bind("float", run, "default")[0];
        return (value is string text ? Parse(text) : ValueRules.Number(value)) ?? (absent == ArgumentValues.Missing ? 0.0 : absent);
    }

    private static double? Parse(string text) =>
        double.TryParse(text.Trim(), NumberStyles.Float, CultureInfo.InvariantCulture, out double number) ? number : null;

    private static object? Absolute(object? value, ArgumentValues arguments, RenderRun run) => value switch
    {
        double number => (object)Math.Abs(number),
        _ => Math.Abs(Math.Max(ValueRules.WholeNumber(value) ?? throw run.Fault($"abs takes a number, not {ValueRules.KindOf(value)}"), -long.MaxValue)),
    };

    private static object? Round(object? value, ArgumentValues arguments, RenderRun run)
    {
        object?[] bound = arguments.Bind("round", run, "precision", "method");
        double number = ValueRules.Number(value) ?? throw run.Fault($"round takes a number, not {ValueRules.KindOf(value)}");
        int digits = (int)Math.Clamp(ValueRules.WholeNumber(bound[0]) ?? 0, 0, 15);
        double scale = Math.Pow(10, digits);
        return bound[1] switch
        {
            "ceil" => Math.Ceiling(number * scale) / scale,
            "floor" => Math.Floor(number * scale) / scale,
            _ => Math.Round(number, digits, MidpointRounding.ToEven),
        };
    }

    private static object? Length(object? value, ArgumentValues arguments, RenderRun run)
    {
        switch (value)
        {
            case string text:
                run.SpendText(text.Length);
                return (long)ValueSlice.Length(text);
            case ListValue list:
                return (long)list.Items.Count;
            case MapValue map:
                return (long)map.Count;
            case UndefinedValue:
                return 0L;
            default:
                throw run.Fault($"{ValueRules.KindOf(value)} has no length");
        }
    }
}
