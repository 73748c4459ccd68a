using System.Globalization;

namespace MoeSharp.Tokenization.Chat;

/// <summary>Writes values as Python prints them.</summary>
internal static class ValueText
{
    /// <summary>The text of a value: text itself, everything else as it would be written in a program.</summary>
    public static string Of(object? value, RenderRun run) => value switch
    {
        string text => text,
        UndefinedValue => "",
        _ => Written(value, run),
    };

    /// <summary>A number with a point, in the fewest digits that read back.</summary>
    public static string OfNumber(double number)
    {
        if (!double.IsFinite(number))
        {
            return double.IsNaN(number) ? "nan" : number > 0 ? "inf" : "-inf";
        }

        // The framework turns to exponents earlier (1E+15, 5E-05), so there is one wherever it is wanted.
        string shortest = number.ToString("R", CultureInfo.InvariantCulture);
        double size = Math.Abs(number);
        if (size != 0 && (size < 1e-4 || size >= 1e16))
        {
            string[] parts = shortest.Split('E');
            int exponent = int.Parse(parts[1], CultureInfo.InvariantCulture);
            return string.Create(CultureInfo.InvariantCulture, $"{parts[0]}e{(exponent < 0 ? '-' : '+')}{Math.Abs(exponent):00}");
        }

        string plain = shortest.Contains('E', StringComparison.Ordinal) ? number.ToString("0.####################", CultureInfo.InvariantCulture) : shortest;
        return plain.Contains('.', StringComparison.Ordinal) ? plain : plain + ".0";
    }

    private static string Written(object? value, RenderRun run)
    {
        run.Enter(run.Line);
        string text = value switch
        {
            null => "None",
            bool flag => flag ? "True" : "False",
            long number => number.ToString(CultureInfo.InvariantCulture),
            double number => OfNumber(number),
            string quoted => Quote(quoted),
            UndefinedValue => "Undefined",
            ListValue { IsTuple: true } tuple => $"({string.Join(", ", tuple.Items.Select(item => Written(item, run)))}{(tuple.Items.Count == 1 ? "," : "")})",
            ListValue list => $"[{string.Join(", ", list.Items.Select(item => Written(item, run)))}]",
            MapValue map => $"{{{string.Join(", ", map.Select(entry => $"{Quote(entry.Key)}: {Written(entry.Value, run)}"))}}}",
            _ => throw run.Fault($"{ValueRules.KindOf(value)} cannot be written as text"),
        };
        run.SpendText(text.Length);
        run.Leave();
        return text;
    }

    private static string Quote(string text)
    {
        char quote = text.Contains('\'', StringComparison.Ordinal) && !text.Contains('"', StringComparison.Ordinal) ? '"' : '\'';
        System.Text.StringBuilder quoted = new();
        quoted.Append(quote);
        foreach (string character in ValueSlice.CharactersOf(text))
        {
            quoted.Append(character switch
            {
                "\\" => "\\\\",
                "\n" => "\\n",
                "\r" => "\\r",
                "\t" => "\\t",
                _ when character[0] == quote => "\\" + character,
                _ when IsPrintable(character) => character,
                _ => Escape(character.Length == 2 ? char.ConvertToUtf32(character, 0) : character[0]),
            });
        }

        return quoted.Append(quote).ToString();
    }

    private static bool IsPrintable(string character) => character == " " || CharUnicodeInfo.GetUnicodeCategory(character, 0) is not
        (UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.Surrogate or UnicodeCategory.PrivateUse or UnicodeCategory.OtherNotAssigned
        or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator or UnicodeCategory.SpaceSeparator);

    private static string Escape(int codePoint) =>
        codePoint < 0x100 ? $"\\x{codePoint:x2}" : codePoint < 0x10000 ? $"\\u{codePoint:x4}" : $"\\U{codePoint:x8}";
}
