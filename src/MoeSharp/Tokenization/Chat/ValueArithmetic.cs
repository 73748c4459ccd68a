namespace MoeSharp.Tokenization.Chat;

/// <summary>Arithmetic of values, checked: results that do not fit are refused.</summary>
internal static class ValueArithmetic
{
    /// <summary>Applies an operator.</summary>
    public static object? Compute(string symbol, object? left, object? right, RenderRun run)
    {
        try
        {
            if (ValueRules.WholeNumber(left) is long firstWhole && ValueRules.WholeNumber(right) is long secondWhole)
            {
                return ComputeWhole(symbol, firstWhole, secondWhole, run);
            }

            if (ValueRules.Number(left) is double first && ValueRules.Number(right) is double second)
            {
                return ComputeReal(symbol, first, second, run);
            }
        }
        catch (OverflowException)
        {
            throw run.Fault($"the result of '{symbol}' is too large");
        }

        return (symbol, left, right) switch
        {
            ("+", string first, string second) => Join(first, second, run),
            ("+", ListValue first, ListValue second) when first.IsTuple == second.IsTuple => Join(first, second, run),
            ("*", string text, _) when ValueRules.WholeNumber(right) is long count => Repeat(text, count, run),
            ("*", _, string text) when ValueRules.WholeNumber(left) is long count => Repeat(text, count, run),
            ("*", ListValue list, _) when ValueRules.WholeNumber(right) is long count => Repeat(list, count, run),
            _ => throw run.Fault($"'{symbol}' does not join {ValueRules.KindOf(left)} and {ValueRules.KindOf(right)}"),
        };
    }

    private static object ComputeWhole(string symbol, long left, long right, RenderRun run)
    {
        if (right == 0 && symbol is ("/" or "//" or "%"))
        {
            throw run.Fault("division by 0");
        }

        return symbol switch
        {
            // Boxed one by one: together they would all become double.
            "+" => (object)checked(left + right),
            "-" => checked(left - right),
            "*" => checked(left * right),
            "/" => (double)left / right,
            "//" => FloorDivide(left, right),
            "%" => checked(left - (FloorDivide(left, right) * right)),
            "**" when right < 0 => Math.Pow(left, right),
            _ => Power(left, right),
        };
    }

    private static long FloorDivide(long left, long right)
    {
        long quotient = checked(left / right);
        return left % right != 0 && (left < 0) != (right < 0) ? quotient - 1 : quotient;
    }

    private static long Power(long value, long exponent)
    {
        if (value is 0 or 1 or -1)
        {
            return exponent == 0 ? 1 : value == -1 && exponent % 2 == 0 ? 1 : value;
        }

        long power = 1;
        for (long count = 0; count < exponent; count++)
        {
            power = checked(power * value);
        }

        return power;
    }

    private static object ComputeReal(string symbol, double left, double right, RenderRun run)
    {
        if (right == 0 && symbol is ("/" or "//" or "%"))
        {
            throw run.Fault("division by 0");
        }

        return symbol switch
        {
            "+" => left + right,
            "-" => left - right,
            "*" => left * right,
            "/" => left / right,
            "//" => Math.Floor(left / right),
            "%" => left - (Math.Floor(left / right) * right),
            _ => Math.Pow(left, right),
        };
    }

    private static string Join(string first, string second, RenderRun run)
    {
        run.SpendText((long)first.Length + second.Length);
        return first + second;
    }

    private static ListValue Join(ListValue first, ListValue second, RenderRun run)
    {
        run.Spend((long)first.Items.Count + second.Items.Count);
        return new ListValue([.. first.Items, .. second.Items], first.IsTuple);
    }

    private static string Repeat(string text, long count, RenderRun run)
    {
        long length = Math.Max(0, (long)Math.Min((decimal)text.Length * count, long.MaxValue));
        run.SpendText(length);
        return length == 0 ? "" : string.Concat(Enumerable.Repeat(text, (int)count));
    }

    private static ListValue Repeat(ListValue list, long count, RenderRun run)
    {
        long length = Math.Max(0, (long)Math.Min((decimal)list.Items.Count * count, long.MaxValue));
        run.Spend(length);
        return new ListValue(length == 0 ? [] : [.. Enumerable.Repeat(list.Items, (int)count).SelectMany(items => items)], list.IsTuple);
    }
}
