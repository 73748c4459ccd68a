namespace MoeSharp.Tokenization.Chat;

/// <summary>A test: what stands after <c>is</c>.</summary>
/// <param name="value">The value tested.</param>
/// <param name="arguments">Its arguments.</param>
/// <param name="run">The rendering.</param>
internal delegate bool TemplateTest(object? value, ArgumentValues arguments, RenderRun run);

/// <summary>The list of all tests.</summary>
internal static class TemplateTests
{
    private static readonly Dictionary<string, TemplateTest> ByName = new(StringComparer.Ordinal)
    {
        ["defined"] = (value, arguments, run) => value is not UndefinedValue,
        ["undefined"] = (value, arguments, run) => value is UndefinedValue,
        ["none"] = (value, arguments, run) => value is null,
        ["boolean"] = (value, arguments, run) => value is bool,
        ["true"] = (value, arguments, run) => value is true,
        ["false"] = (value, arguments, run) => value is false,
        ["string"] = (value, arguments, run) => value is string,
        ["number"] = (value, arguments, run) => ValueRules.Number(value) is not null,
        ["integer"] = (value, arguments, run) => value is long,
        ["float"] = (value, arguments, run) => value is double,
        ["mapping"] = (value, arguments, run) => value is MapValue,
        ["iterable"] = (value, arguments, run) => value is string or ListValue or MapValue or UndefinedValue,
        ["sequence"] = (value, arguments, run) => value is string or ListValue or MapValue,
        ["callable"] = (value, arguments, run) => value is CallableValue,
        ["odd"] = (value, arguments, run) => Remainder(value, 2, run) == 1,
        ["even"] = (value, arguments, run) => Remainder(value, 2, run) == 0,
        ["divisibleby"] = (value, arguments, run) => Remainder(value, ValueRules.WholeNumber(Other(arguments, run)) ?? 0, run) == 0,
        ["lower"] = (value, arguments, run) => ValueText.Of(value, run) is string text && text.Any(char.IsLower) && !text.Any(char.IsUpper),
        ["upper"] = (value, arguments, run) => ValueText.Of(value, run) is string text && text.Any(char.IsUpper) && !text.Any(char.IsLower),
        ["in"] = (value, arguments, run) => ValueRules.Contains(Other(arguments, run), value, run),
        ["sameas"] = (value, arguments, run) => ReferenceEquals(value, Other(arguments, run)) || (value is bool or null or long && Equals(value, Other(arguments, run))),
        ["filter"] = (value, arguments, run) => IsKnown(value, run, name => TemplateFilters.Find(name) is not null),
        ["test"] = (value, arguments, run) => IsKnown(value, run, name => Find(name) is not null),
    };

    private static readonly Dictionary<string, string> Comparisons = new(StringComparer.Ordinal)
    {
        ["equalto"] = "==",
        ["eq"] = "==",
        ["=="] = "==",
        ["ne"] = "!=",
        ["!="] = "!=",
        ["lessthan"] = "<",
        ["lt"] = "<",
        ["<"] = "<",
        ["le"] = "<=",
        ["<="] = "<=",
        ["greaterthan"] = ">",
        ["gt"] = ">",
        [">"] = ">",
        ["ge"] = ">=",
        [">="] = ">=",
    };

    /// <summary>The test of a name; null when there is none.</summary>
    public static TemplateTest? Find(string name)
    {
        if (Comparisons.TryGetValue(name, out string? symbol))
        {
            return (value, arguments, run) => ValueRules.Holds(symbol, value, Other(arguments, run), run);
        }

        return ByName.GetValueOrDefault(name);
    }

    private static bool IsKnown(object? value, RenderRun run, Predicate<string> isKnown)
    {
        run.SpendText(value is string text ? text.Length : 0);
        return value is string name && isKnown(name);
    }

    private static object? Other(ArgumentValues arguments, RenderRun run) =>
        arguments.Positional.Count == 1 ? arguments.Positional[0] : throw run.Fault("the test needs one value to compare with");

    private static long Remainder(object? value, long divisor, RenderRun run)
    {
        long number = ValueRules.WholeNumber(value) ?? throw run.Fault($"{ValueRules.KindOf(value)} has no remainder");
        return divisor is 0 or -1 ? (divisor == 0 ? throw run.Fault("division by 0") : 0) : Math.Abs(number % divisor);
    }
}
