namespace MoeSharp.Tokenization.Chat;

/// <summary>Reads expressions, from the loosest binding operator (inline if) to the tightest (calls, members, filters).</summary>
internal sealed class ExpressionParser
{
    private readonly TemplateParser _tokens;
    private readonly ValueParser _values;

    /// <summary>Reads from the tokens of a template.</summary>
    public ExpressionParser(TemplateParser tokens)
    {
        _tokens = tokens;
        _values = new ValueParser(tokens, this);
    }

    /// <summary>Reads one expression.</summary>
    /// <param name="withCondition">An inline if belongs to it.</param>
    public Expression Read(bool withCondition = true)
    {
        _tokens.Enter();
        Expression expression = ReadOr();
        while (withCondition && _tokens.AtName("if"))
        {
            int line = _tokens.Take().Line;
            Expression condition = ReadOr();
            Expression? otherwise = _tokens.TryTakeName("else") ? Read() : null;
            expression = new ConditionExpression(condition, expression, otherwise, line);
        }

        _tokens.Leave();
        return expression;
    }

    /// <summary>Reads one expression, or several with commas between them, which make a tuple.</summary>
    public Expression ReadTuple(bool withCondition = true)
    {
        int line = _tokens.Current.Line;
        Expression first = Read(withCondition);
        if (!_tokens.AtOperator(","))
        {
            return first;
        }

        List<Expression> items = [first];
        while (_tokens.TryTakeOperator(",") && StartsExpression())
        {
            items.Add(Read(withCondition));
        }

        return new ListExpression([.. items], IsTuple: true, line);
    }

    /// <summary>Reads a filter after its bar: a name, and arguments if it has any.</summary>
    public AppliedFilter ReadFilter()
    {
        int line = _tokens.Current.Line;
        string name = _tokens.ExpectName();
        CallArguments arguments = _tokens.AtOperator("(") ? ReadArguments() : CallArguments.None;
        return TemplateFilters.Find(name) is TemplateFilter filter
            ? new AppliedFilter(name, filter, arguments, line)
            : throw _tokens.Wrong($"there is no filter '{name}' (line {line})");
    }

    private bool StartsExpression() => _tokens.Current.Kind switch
    {
        TokenKind.Name => !ValueParser.Keywords.Contains(_tokens.Current.Text) || _tokens.AtName("not"),
        TokenKind.Operator => _tokens.Current.Text is "(" or "[" or "{" or "-" or "+",
        TokenKind.Quoted or TokenKind.Integer or TokenKind.Float => true,
        _ => false,
    };

    private Expression ReadOr()
    {
        Expression left = ReadAnd();
        while (_tokens.AtName("or"))
        {
            int line = _tokens.Take().Line;
            left = new LogicExpression(IsOr: true, left, ReadAnd(), line);
        }

        return left;
    }

    private Expression ReadAnd()
    {
        Expression left = ReadNot();
        while (_tokens.AtName("and"))
        {
            int line = _tokens.Take().Line;
            left = new LogicExpression(IsOr: false, left, ReadNot(), line);
        }

        return left;
    }

    private Expression ReadNot()
    {
        if (!_tokens.AtName("not"))
        {
            return ReadComparison();
        }

        _tokens.Enter();
        int line = _tokens.Take().Line;
        Expression negated = new NotExpression(ReadNot(), line);
        _tokens.Leave();
        return negated;
    }

    private Expression ReadComparison()
    {
        int line = _tokens.Current.Line;
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
        if (_tokens.Current is { Kind: TokenKind.Operator, Text: "==" or "!=" or "<" or "<=" or ">" or ">=" })
        {
            return _tokens.Take().Text;
        }

        if (_tokens.TryTakeName("in"))
        {
            return "in";
        }

        if (_tokens.AtName("not") && _tokens.Peek() is { Kind: TokenKind.Name, Text: "in" })
        {
            _tokens.Take();
            _tokens.Take();
            return "not in";
        }

        return null;
    }

    private Expression ReadSum()
    {
        Expression left = ReadConcatenation();
        while (_tokens.AtOperator("+") || _tokens.AtOperator("-"))
        {
            TemplateToken symbol = _tokens.Take();
            left = new ArithmeticExpression(symbol.Text, left, ReadConcatenation(), symbol.Line);
        }

        return left;
    }

    private Expression ReadConcatenation()
    {
        int line = _tokens.Current.Line;
        List<Expression> parts = [ReadProduct()];
        while (_tokens.TryTakeOperator("~"))
        {
            parts.Add(ReadProduct());
        }

        return parts.Count == 1 ? parts[0] : new ConcatenationExpression([.. parts], line);
    }

    private Expression ReadProduct()
    {
        Expression left = ReadPower();
        while (_tokens.Current is { Kind: TokenKind.Operator, Text: "*" or "/" or "//" or "%" })
        {
            TemplateToken symbol = _tokens.Take();
            left = new ArithmeticExpression(symbol.Text, left, ReadPower(), symbol.Line);
        }

        return left;
    }

    private Expression ReadPower()
    {
        Expression left = ReadUnary(withFilters: true);
        while (_tokens.AtOperator("**"))
        {
            int line = _tokens.Take().Line;
            left = new ArithmeticExpression("**", left, ReadUnary(withFilters: true), line);
        }

        return left;
    }

    private Expression ReadUnary(bool withFilters)
    {
        Expression operand;
        if (_tokens.AtOperator("-") || _tokens.AtOperator("+"))
        {
            _tokens.Enter();
            TemplateToken sign = _tokens.Take();
            operand = new SignExpression(sign.Text == "-", ReadUnary(withFilters: false), sign.Line);
            _tokens.Leave();
        }
        else
        {
            operand = ReadPostfix(_values.Read());
        }

        return withFilters ? ReadFiltersAndTests(operand) : operand;
    }

    private Expression ReadFiltersAndTests(Expression operand)
    {
        while (true)
        {
            if (_tokens.TryTakeOperator("|"))
            {
                operand = new FilterExpression(operand, ReadFilter());
            }
            else if (_tokens.AtName("is"))
            {
                operand = ReadTest(operand);
            }
            else if (_tokens.AtOperator("("))
            {
                operand = new CallExpression(operand, ReadArguments(), _tokens.Current.Line);
            }
            else
            {
                return operand;
            }
        }
    }

    private TestExpression ReadTest(Expression operand)
    {
        int line = _tokens.Take().Line;
        bool isNegated = _tokens.TryTakeName("not");
        string name = _tokens.ExpectName();
        CallArguments arguments = CallArguments.None;
        if (_tokens.AtOperator("("))
        {
            arguments = ReadArguments();
        }
        else if (StartsArgument())
        {
            arguments = new CallArguments([ReadPostfix(_values.Read())], []);
        }

        return TemplateTests.Find(name) is TemplateTest test
            ? new TestExpression(operand, new AppliedTest(name, test, arguments), isNegated, line)
            : throw _tokens.Wrong($"there is no test '{name}' (line {line})");
    }

    private bool StartsArgument() => _tokens.Current.Kind switch
    {
        TokenKind.Name => !ValueParser.Keywords.Contains(_tokens.Current.Text),
        TokenKind.Operator => _tokens.Current.Text is "[" or "{",
        TokenKind.Quoted or TokenKind.Integer or TokenKind.Float => true,
        _ => false,
    };

    private Expression ReadPostfix(Expression operand)
    {
        while (true)
        {
            int line = _tokens.Current.Line;
            if (_tokens.TryTakeOperator("."))
            {
                operand = _tokens.Current.Kind == TokenKind.Integer
                    ? new ItemExpression(operand, new ConstantExpression(_values.ReadInteger(_tokens.Take().Text), line), line)
                    : new MemberExpression(operand, _tokens.ExpectName(), line);
            }
            else if (_tokens.TryTakeOperator("["))
            {
                operand = ReadSubscript(operand, line);
                _tokens.ExpectOperator("]");
            }
            else if (_tokens.AtOperator("("))
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
        Expression? start = _tokens.AtOperator(":") ? null : ReadTuple();
        if (start is not null && !_tokens.AtOperator(":"))
        {
            return new ItemExpression(operand, start, line);
        }

        _tokens.ExpectOperator(":");
        Expression? stop = _tokens.AtOperator(":") || _tokens.AtOperator("]") ? null : Read();
        Expression? step = _tokens.TryTakeOperator(":") && !_tokens.AtOperator("]") ? Read() : null;
        return new SliceExpression(operand, start, stop, step, line);
    }

    private CallArguments ReadArguments()
    {
        _tokens.ExpectOperator("(");
        List<Expression> positional = [];
        List<KeyValuePair<string, Expression>> named = [];
        while (!_tokens.TryTakeOperator(")"))
        {
            if (_tokens.AtOperator(CallArguments.UnpackedList) || _tokens.AtOperator(CallArguments.UnpackedMap))
            {
                named.Add(KeyValuePair.Create(_tokens.Take().Text, Read()));
            }
            else if (_tokens.Current.Kind == TokenKind.Name && _tokens.Peek() is { Kind: TokenKind.Operator, Text: "=" })
            {
                string name = _tokens.ExpectName();
                _tokens.ExpectOperator("=");
                named.Add(KeyValuePair.Create(name, Read()));
            }
            else if (named.Count > 0)
            {
                throw _tokens.Wrong("an argument without a name follows one with a name");
            }
            else
            {
                positional.Add(Read());
            }

            if (!_tokens.AtOperator(")"))
            {
                _tokens.ExpectOperator(",");
            }
        }

        return new CallArguments([.. positional], [.. named]);
    }
}
