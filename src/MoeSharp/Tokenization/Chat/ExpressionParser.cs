using System.Globalization;

namespace MoeSharp.Tokenization.Chat;

/// <summary>Reads expressions, from the loosest binding operator (inline if) to the tightest (calls, members, filters).</summary>
internal sealed class ExpressionParser(TemplateParser tokens)
{
    private static readonly HashSet<string> Keywords = ["if", "else", "elif", "and", "or", "not", "in", "is"];

    /// <summary>Reads one expression.</summary>
    /// <param name="withCondition">An inline if belongs to it.</param>
    public Expression Read(bool withCondition = true)
    {
        tokens.Enter();
        Expression expression = ReadOr();
        while (withCondition && tokens.AtName("if"))
        {
            int line = tokens.Take().Line;
            Expression condition = ReadOr();
            Expression? otherwise = tokens.TryTakeName("else") ? Read() : null;
            expression = new ConditionExpression(condition, expression, otherwise, line);
        }

        tokens.Leave();
        return expression;
    }

    /// <summary>Reads one expression, or several with commas between them, which make a tuple.</summary>
    public Expression ReadTuple(bool withCondition = true)
    {
        int line = tokens.Current.Line;
        Expression first = Read(withCondition);
        if (!tokens.AtOperator(","))
        {
            return first;
        }

        List<Expression> items = [first];
        while (tokens.TryTakeOperator(",") && StartsExpression())
        {
            items.Add(Read(withCondition));
        }

        return new ListExpression([.. items], IsTuple: true, line);
    }

    /// <summary>Reads a filter after its bar: a name, and arguments if it has any.</summary>
    public AppliedFilter ReadFilter()
    {
        int line = tokens.Current.Line;
        string name = tokens.ExpectName();
        CallArguments arguments = tokens.AtOperator("(") ? ReadArguments() : CallArguments.None;
        return TemplateFilters.Find(name) is TemplateFilter filter
            ? new AppliedFilter(name, filter, arguments, line)
            : throw tokens.Wrong($"there is no filter '{name}' (line {line})");
    }

    private bool StartsExpression() => tokens.Current.Kind switch
    {
        TokenKind.Name => !Keywords.Contains(tokens.Current.Text) || tokens.AtName("not"),
        TokenKind.Operator => tokens.Current.Text is "(" or "[" or "{" or "-" or "+",
        TokenKind.Quoted or TokenKind.Integer or TokenKind.Float => true,
        _ => false,
    };

    private Expression ReadOr()
    {
        Expression left = ReadAnd();
        while (tokens.AtName("or"))
        {
            int line = tokens.Take().Line;
            left = new LogicExpression(IsOr: true, left, ReadAnd(), line);
        }

        return left;
    }

    private Expression ReadAnd()
    {
        Expression left = ReadNot();
        while (tokens.AtName("and"))
        {
            int line = tokens.Take().Line;
            left = new LogicExpression(IsOr: false, left, ReadNot(), line);
        }

        return left;
    }

    private Expression ReadNot()
    {
        if (!tokens.AtName("not"))
        {
            return ReadComparison();
        }

        tokens.Enter();
        int line = tokens.Take().Line;
        Expression negated = new NotExpression(ReadNot(), line);
        tokens.Leave();
        return negated;
    }

    private Expression ReadComparison()
    {
        int line = tokens.Current.Line;
        Expression first = ReadSum();
        List<Comparison> comparisons = [];
        while (TryTakeComparison() is string symbol)
        {
            comparisons.Add(new Comparison(symbol, ReadSum()));
        }

        return comparisons.Count == 0 ? first : new CompareExpression(first, [.. comparisons], line);
    }

    private string? TryTakeComparison()
    {
        if (tokens.Current is { Kind: TokenKind.Operator, Text: "==" or "!=" or "<" or "<=" or ">" or ">=" })
        {
            return tokens.Take().Text;
        }

        if (tokens.TryTakeName("in"))
        {
            return "in";
        }

        if (tokens.AtName("not") && tokens.Peek() is { Kind: TokenKind.Name, Text: "in" })
        {
            tokens.Take();
            tokens.Take();
            return "not in";
        }

        return null;
    }

    private Expression ReadSum()
    {
        Expression left = ReadConcatenation();
        while (tokens.AtOperator("+") || tokens.AtOperator("-"))
        {
            TemplateToken symbol = tokens.Take();
            left = new ArithmeticExpression(symbol.Text, left, ReadConcatenation(), symbol.Line);
        }

        return left;
    }

    private Expression ReadConcatenation()
    {
        int line = tokens.Current.Line;
        List<Expression> parts = [ReadProduct()];
        while (tokens.TryTakeOperator("~"))
        {
            parts.Add(ReadProduct());
        }

        return parts.Count == 1 ? parts[0] : new ConcatenationExpression([.. parts], line);
    }

    private Expression ReadProduct()
    {
        Expression left = ReadPower();
        while (tokens.Current is { Kind: TokenKind.Operator, Text: "*" or "/" or "//" or "%" })
        {
            TemplateToken symbol = tokens.Take();
            left = new ArithmeticExpression(symbol.Text, left, ReadPower(), symbol.Line);
        }

        return left;
    }

    private Expression ReadPower()
    {
        Expression left = ReadUnary(withFilters: true);
        while (tokens.AtOperator("**"))
        {
            int line = tokens.Take().Line;
            left = new ArithmeticExpression("**", left, ReadUnary(withFilters: true), line);
        }

        return left;
    }

    private Expression ReadUnary(bool withFilters)
    {
        Expression operand;
        if (tokens.AtOperator("-") || tokens.AtOperator("+"))
        {
            tokens.Enter();
            TemplateToken sign = tokens.Take();
            operand = new SignExpression(sign.Text == "-", ReadUnary(withFilters: false), sign.Line);
            tokens.Leave();
        }
        else
        {
            operand = ReadPostfix(ReadPrimary());
        }

        return withFilters ? ReadFiltersAndTests(operand) : operand;
    }

    private Expression ReadFiltersAndTests(Expression operand)
    {
        while (true)
        {
            if (tokens.TryTakeOperator("|"))
            {
                operand = new FilterExpression(operand, ReadFilter());
            }
            else if (tokens.AtName("is"))
            {
                operand = ReadTest(operand);
            }
            else if (tokens.AtOperator("("))
            {
                operand = new CallExpression(operand, ReadArguments(), tokens.Current.Line);
            }
            else
            {
                return operand;
            }
        }
    }

    private TestExpression ReadTest(Expression operand)
    {
        int line = tokens.Take().Line;
        bool isNegated = tokens.TryTakeName("not");
        string name = tokens.ExpectName();
        CallArguments arguments = CallArguments.None;
        if (tokens.AtOperator("("))
        {
            arguments = ReadArguments();
        }
        else if (StartsArgument())
        {
            arguments = new CallArguments([ReadPostfix(ReadPrimary())], []);
        }

        return TemplateTests.Find(name) is TemplateTest test
            ? new TestExpression(operand, new AppliedTest(name, test, arguments), isNegated, line)
            : throw tokens.Wrong($"there is no test '{name}' (line {line})");
    }

    private bool StartsArgument() => tokens.Current.Kind switch
    {
        TokenKind.Name => !Keywords.Contains(tokens.Current.Text),
        TokenKind.Operator => tokens.Current.Text is "[" or "{",
        TokenKind.Quoted or TokenKind.Integer or TokenKind.Float => true,
        _ => false,
    };

    private Expression ReadPostfix(Expression operand)
    {
        while (true)
        {
            int line = tokens.Current.Line;
            if (tokens.TryTakeOperator("."))
            {
                operand = tokens.Current.Kind == TokenKind.Integer
                    ? new ItemExpression(operand, new ConstantExpression(ReadInteger(tokens.Take().Text), line), line)
                    : new MemberExpression(operand, tokens.ExpectName(), line);
            }
            else if (tokens.TryTakeOperator("["))
            {
                operand = ReadSubscript(operand, line);
                tokens.ExpectOperator("]");
            }
            else if (tokens.AtOperator("("))
            {
                operand = new CallExpression(operand, ReadArguments(), line);
            }
            else
            {
                return operand;
            }
        }
    }

    private Expression ReadSubscript(Expression operand, int line)
    {
        Expression? start = tokens.AtOperator(":") ? null : ReadTuple();
        if (start is not null && !tokens.AtOperator(":"))
        {
            return new ItemExpression(operand, start, line);
        }

        tokens.ExpectOperator(":");
        Expression? stop = tokens.AtOperator(":") || tokens.AtOperator("]") ? null : Read();
        Expression? step = tokens.TryTakeOperator(":") && !tokens.AtOperator("]") ? Read() : null;
        return new SliceExpression(operand, start, stop, step, line);
    }

    private CallArguments ReadArguments()
    {
        tokens.ExpectOperator("(");
        List<Expression> positional = [];
        List<KeyValuePair<string, Expression>> named = [];
        while (!tokens.TryTakeOperator(")"))
        {
            if (tokens.AtOperator(CallArguments.UnpackedList) || tokens.AtOperator(CallArguments.UnpackedMap))
            {
                named.Add(KeyValuePair.Create(tokens.Take().Text, Read()));
            }
            else if (tokens.Current.Kind == TokenKind.Name && tokens.Peek() is { Kind: TokenKind.Operator, Text: "=" })
            {
                string name = tokens.ExpectName();
                tokens.ExpectOperator("=");
                named.Add(KeyValuePair.Create(name, Read()));
            }
            else if (named.Count > 0)
            {
                throw tokens.Wrong("an argument without a name follows one with a name");
            }
            else
            {
                positional.Add(Read());
            }

            if (!tokens.AtOperator(")"))
            {
                tokens.ExpectOperator(",");
            }
        }

        return new CallArguments([.. positional], [.. named]);
    }

    private Expression ReadPrimary()
    {
        TemplateToken token = tokens.Current;
        switch (token.Kind)
        {
            case TokenKind.Name:
                tokens.Take();
                return NameOrConstant(token);
            case TokenKind.Quoted:
                return ReadQuoted();
            case TokenKind.Integer:
                tokens.Take();
                return new ConstantExpression(ReadInteger(token.Text), token.Line);
            case TokenKind.Float:
                tokens.Take();
                double value = double.Parse(token.Text.Replace("_", "", StringComparison.Ordinal), NumberStyles.Float, CultureInfo.InvariantCulture);
                return new ConstantExpression(value, token.Line);
            case TokenKind.Operator when token.Text == "(":
                return ReadBracket();
            case TokenKind.Operator when token.Text == "[":
                return ReadList();
            case TokenKind.Operator when token.Text == "{":
                return ReadMap();
            default:
                throw tokens.Wrong("expected a value");
        }
    }

    private Expression NameOrConstant(TemplateToken token) => token.Text switch
    {
        "true" or "True" => new ConstantExpression(true, token.Line),
        "false" or "False" => new ConstantExpression(false, token.Line),
        "none" or "None" => new ConstantExpression(null, token.Line),
        string name when Keywords.Contains(name) => throw tokens.Wrong($"expected a value before '{name}'"),
        _ => new NameExpression(token.Text, token.Line),
    };

    private ConstantExpression ReadQuoted()
    {
        TemplateToken first = tokens.Take();
        if (tokens.Current.Kind != TokenKind.Quoted)
        {
            return new ConstantExpression(first.Text, first.Line);
        }

        System.Text.StringBuilder text = new(first.Text);
        while (tokens.Current.Kind == TokenKind.Quoted)
        {
            text.Append(tokens.Take().Text);
        }

        return new ConstantExpression(text.ToString(), first.Line);
    }

    private long ReadInteger(string text) =>
        long.TryParse(text.Replace("_", "", StringComparison.Ordinal), NumberStyles.None, CultureInfo.InvariantCulture, out long value)
            ? value
            : throw tokens.Wrong($"the number {text} is too large");

    private Expression ReadBracket()
    {
        int line = tokens.Take().Line;
        if (tokens.TryTakeOperator(")"))
        {
            return new ListExpression([], IsTuple: true, line);
        }

        Expression inner = ReadTuple();
        tokens.ExpectOperator(")");
        return inner;
    }

    private ListExpression ReadList()
    {
        int line = tokens.Take().Line;
        List<Expression> items = [];
        while (!tokens.TryTakeOperator("]"))
        {
            items.Add(Read());
            if (!tokens.AtOperator("]"))
            {
                tokens.ExpectOperator(",");
            }
        }

        return new ListExpression([.. items], IsTuple: false, line);
    }

    private MapExpression ReadMap()
    {
        int line = tokens.Take().Line;
        List<KeyValuePair<Expression, Expression>> entries = [];
        while (!tokens.TryTakeOperator("}"))
        {
            Expression key = Read();
            tokens.ExpectOperator(":");
            entries.Add(KeyValuePair.Create(key, Read()));
            if (!tokens.AtOperator("}"))
            {
                tokens.ExpectOperator(",");
            }
        }

        return new MapExpression([.. entries], line);
    }
}
