using System.Globalization;
using System.Text;

namespace MoeSharp.Tokenization.Chat;

/// <summary>Functions that every template has: range, dict, namespace, raise_exception, strftime_now.</summary>
internal static class TemplateFunctions
{
    // The bound that sandboxed environments put on range.
    private const long LongestRange = 100_000;

    private static readonly Dictionary<string, FunctionValue> ByName = new FunctionValue[]
    {
        new("range", Range),
        new("dict", Dictionary),
        new("namespace", Namespace),
        new("raise_exception", RaiseException),
        new("strftime_now", FormatNow),
    }.ToDictionary(function => function.Name, StringComparer.Ordinal);

    /// <summary>The function of a name; null when there is none.</summary>
    public static FunctionValue? Find(string name) => ByName.GetValueOrDefault(name);

    private static ListValue Range(ArgumentValues arguments, RenderRun run)
    {
        long[] bounds = [.. arguments.Positional.Select(bound => ValueRules.WholeNumber(bound) ?? throw run.Fault($"range takes whole numbers, not {ValueRules.KindOf(bound)}"))];
        if (bounds.Length is < 1 or > 3 || arguments.Named.Count > 0 || (bounds.Length == 3 && bounds[2] == 0))
        {
            throw run.Fault("range takes (stop), (start, stop) or (start, stop, step other than 0)");
        }

        long start = bounds.Length == 1 ? 0 : bounds[0];
        long stop = bounds.Length == 1 ? bounds[0] : bounds[1];
        long step = bounds.Length == 3 ? bounds[2] : 1;
        decimal count = Math.Ceiling(((decimal)stop - start) / step);
        if (count > LongestRange)
        {
            throw run.Fault($"range gives more than {LongestRange} numbers");
        }

        List<object?> numbers = [];
        for (long index = 0; index < count; index++)
        {
            run.Spend(1);
            numbers.Add(start + (index * step));
        }

        return new ListValue(numbers);
    }

    private static MapValue Dictionary(ArgumentValues arguments, RenderRun run)
    {
        MapValue map = new();
        foreach (object? source in arguments.Positional)
        {
            foreach ((string key, object? value) in source as MapValue ?? throw run.Fault($"dict takes mappings, not {ValueRules.KindOf(source)}"))
            {
                map.Put(key, value, run);
            }
        }

        foreach ((string name, object? value) in arguments.Named)
        {
            map.Put(name, value, run);
        }

        return map;
    }

    private static NamespaceValue Namespace(ArgumentValues arguments, RenderRun run)
    {
        NamespaceValue members = new();
        foreach ((string name, object? value) in Dictionary(arguments, run))
        {
            run.SpendText(name.Length);
            members.Set(name, value);
        }

        return members;
    }

    private static object? RaiseException(ArgumentValues arguments, RenderRun run) =>
        throw run.Fault(ValueText.Of(arguments.Bind("raise_exception", run, "message")[0] is string message ? message : "the template refuses these messages", run));

    private static string FormatNow(ArgumentValues arguments, RenderRun run)
    {
        string format = arguments.Bind("strftime_now", run, "format")[0] as string ?? throw run.Fault("strftime_now takes a format");
        StringBuilder text = new();
        for (int index = 0; index < format.Length; index++)
        {
            if (format[index] != '%' || index + 1 == format.Length)
            {
                text.Append(format[index]);
                continue;
            }

            bool isShort = format[++index] == '-' && index + 1 < format.Length;
            index += isShort ? 1 : 0;
            string part = FormatPart(format[index], run);
            text.Append(isShort && part.Length > 1 ? part.TrimStart('0').PadLeft(1, '0') : part);
        }

        return text.ToString();
    }

    private static string FormatPart(char directive, RenderRun run)
    {
        string? format = directive switch
        {
            'Y' => "yyyy",
            'y' => "yy",
            'm' => "MM",
            'd' => "dd",
            'H' => "HH",
            'I' => "hh",
            'M' => "mm",
            'S' => "ss",
            'f' => "ffffff",
            'p' => "tt",
            'B' => "MMMM",
            'b' or 'h' => "MMM",
            'A' => "dddd",
            'a' => "ddd",
            'F' => "yyyy-MM-dd",
            'T' => "HH:mm:ss",
            _ => null,
        };
        return (format, directive) switch
        {
            (string known, _) => run.Now.ToString(known, CultureInfo.InvariantCulture),
            (_, 'j') => run.Now.DayOfYear.ToString("000", CultureInfo.InvariantCulture),
            (_, 'e') => run.Now.Day.ToString(CultureInfo.InvariantCulture).PadLeft(2),
            (_, 'w') => ((int)run.Now.DayOfWeek).ToString(CultureInfo.InvariantCulture),
            (_, '%') => "%",
            _ => throw run.Fault($"strftime_now does not know '%{directive}'"),
        };
    }
}
