namespace MoeSharp.Tokenization.Chat;

/// <summary>
/// Builds the statements of a template. The grammar is the part of Jinja that chat templates use; what needs other files or
/// environments (include, import, extends, block) is refused by name.
/// </summary>
internal sealed class TemplateParser
{
    // Tags and brackets inside each other; published templates stay under 20. Bounds the recursion of parsing and of rendering.
    private const int DeepestNesting = 100;

    private readonly List<TemplateToken> _tokens;
    private readonly string _origin;
    private readonly ExpressionParser _expressions;
    private int _position;
    private int _depth;

    private TemplateParser(List<TemplateToken> tokens, string origin)
    {
        _tokens = tokens;
        _origin = origin;
        _expressions = new ExpressionParser(this);
    }

    /// <summary>The token at hand.</summary>
    public TemplateToken Current => _tokens[_position];

    /// <summary>Reads a template.</summary>
    public static Statement[] Parse(string source, string origin)
    {
        TemplateParser parser = new(TemplateLexer.Read(source, origin), origin);
        Statement[] statements = parser.ReadBody([]);
        return statements;
    }

    /// <summary>Takes the token at hand.</summary>
    public TemplateToken Take()
    {
        TemplateToken token = Current;
        _position += token.Kind == TokenKind.End ? 0 : 1;
        return token;
    }

    /// <summary>The token after the one at hand.</summary>
    public TemplateToken Peek() => _tokens[Math.Min(_position + 1, _tokens.Count - 1)];

    /// <summary>The token at hand is this operator.</summary>
    public bool AtOperator(string symbol) => Current.Kind == TokenKind.Operator && Current.Text == symbol;

    /// <summary>The token at hand is this name.</summary>
    public bool AtName(string name) => Current.Kind == TokenKind.Name && Current.Text == name;

    /// <summary>Takes an operator if it is at hand.</summary>
    public bool TryTakeOperator(string symbol)
    {
        bool found = AtOperator(symbol);
        _position += found ? 1 : 0;
        return found;
    }

    /// <summary>Takes a name if it is at hand.</summary>
    public bool TryTakeName(string name)
    {
        bool found = AtName(name);
        _position += found ? 1 : 0;
        return found;
    }

    /// <summary>Takes an operator that must be at hand.</summary>
    public void ExpectOperator(string symbol)
    {
        if (!TryTakeOperator(symbol))
        {
            throw Wrong($"expected '{symbol}'");
        }
    }

    /// <summary>Takes a name, any name, that must be at hand.</summary>
    public string ExpectName() => Current.Kind == TokenKind.Name ? Take().Text : throw Wrong("expected a name");

    /// <summary>Goes one level deeper.</summary>
    public void Enter()
    {
        if (++_depth > DeepestNesting)
        {
            throw new FileFormatException($"{_origin}: line {Current.Line}: nests deeper than {DeepestNesting}.");
        }
    }

    /// <summary>Comes back from a level.</summary>
    public void Leave() => _depth--;

    /// <summary>A complaint about the token at hand.</summary>
    public FileFormatException Wrong(string rule)
    {
        string found = Current.Kind switch
        {
            TokenKind.End => "the end of the template",
            TokenKind.BlockEnd => "'%}'",
            TokenKind.OutputEnd => "'}}'",
            TokenKind.Plain or TokenKind.BlockStart or TokenKind.OutputStart => "text",
            _ => $"'{(Current.Text.Length > 40 ? Current.Text[..40] : Current.Text)}'",
        };
        return new FileFormatException($"{_origin}: line {Current.Line}: {rule}, found {found}.");
    }

    /// <summary>Reads statements up to one of the closing tags, whose name stays at hand; without names, to the end of the template.</summary>
    private Statement[] ReadBody(string[] closing)
    {
        Enter();
        List<Statement> statements = [];
        while (true)
        {
            TemplateToken token = Current;
            switch (token.Kind)
            {
                case TokenKind.End when closing.Length == 0:
                    Leave();
                    return [.. statements];
                case TokenKind.End:
                    throw Wrong($"expected {{% {string.Join(" or ", closing)} %}}");
                case TokenKind.Plain:
                    Take();
                    statements.Add(new PlainStatement(token.Text, token.Line));
                    break;
                case TokenKind.OutputStart:
                    Take();
                    statements.Add(new OutputStatement(_expressions.ReadTuple(), token.Line));
                    ExpectEnd(TokenKind.OutputEnd);
                    break;
                default:
                    Take();
                    if (closing.Contains(Current.Text))
                    {
                        Leave();
                        return [.. statements];
                    }

                    statements.Add(ReadStatement());
                    break;
            }
        }
    }

    private void ExpectEnd(TokenKind kind)
    {
        if (Current.Kind != kind)
        {
            throw Wrong(kind == TokenKind.OutputEnd ? "expected '}}'" : "expected '%}'");
        }

        Take();
    }

    private Statement ReadStatement()
    {
        int line = Current.Line;
        string name = ExpectName();
        return name switch
        {
            "if" => ReadIf(line),
            "for" => ReadFor(line),
            "set" => ReadSet(line),
            "macro" => ReadMacro(line),
            "call" => ReadCall(line),
            "filter" => ReadFilter(line),
            "with" => ReadWith(line),
            "generation" => ReadGeneration(line),
            "break" or "continue" => ReadJump(name, line),
            "include" or "import" or "from" or "extends" or "block" =>
                throw new FileFormatException($"{_origin}: line {line}: {{% {name} %}} needs other templates, which a chat template cannot have."),
            _ => throw new FileFormatException($"{_origin}: line {line}: {{% {name} %}} is not a supported statement."),
        };
    }

    private IfStatement ReadIf(int line)
    {
        List<IfBranch> branches = [];
        Statement[] otherwise = [];
        while (true)
        {
            Expression condition = _expressions.ReadTuple();
            ExpectEnd(TokenKind.BlockEnd);
            branches.Add(new IfBranch(condition, ReadBody(["elif", "else", "endif"])));
            if (TryTakeName("elif"))
            {
                continue;
            }

            if (TryTakeName("else"))
            {
                ExpectEnd(TokenKind.BlockEnd);
                otherwise = ReadBody(["endif"]);
            }

            EndTag("endif");
            return new IfStatement([.. branches], otherwise, line);
        }
    }

    private void EndTag(string name)
    {
        if (!TryTakeName(name))
        {
            throw Wrong($"expected {{% {name} %}}");
        }

        ExpectEnd(TokenKind.BlockEnd);
    }

    private ForStatement ReadFor(int line)
    {
        string[] targets = ReadTargets();
        if (!TryTakeName("in"))
        {
            throw Wrong("expected 'in'");
        }

        // The condition of an inline if would be taken for the filter of the loop.
        Expression items = _expressions.ReadTuple(withCondition: false);
        Expression? filter = TryTakeName("if") ? _expressions.Read() : null;
        if (AtName("recursive"))
        {
            throw Wrong("recursive loops are not supported");
        }

        ExpectEnd(TokenKind.BlockEnd);
        Statement[] body = ReadBody(["else", "endfor"]);
        Statement[] otherwise = [];
        if (TryTakeName("else"))
        {
            ExpectEnd(TokenKind.BlockEnd);
            otherwise = ReadBody(["endfor"]);
        }

        EndTag("endfor");
        return new ForStatement(targets, items, filter, body, otherwise, line);
    }

    private string[] ReadTargets()
    {
        bool hasBracket = TryTakeOperator("(");
        List<string> targets = [ExpectName()];
        while (TryTakeOperator(","))
        {
            targets.Add(ExpectName());
        }

        if (hasBracket)
        {
            ExpectOperator(")");
        }

        return [.. targets];
    }

    private Statement ReadSet(int line)
    {
        if (Current.Kind == TokenKind.Name && Peek() is { Kind: TokenKind.Operator, Text: "." })
        {
            string owner = ExpectName();
            ExpectOperator(".");
            string member = ExpectName();
            ExpectOperator("=");
            Expression assigned = _expressions.ReadTuple();
            ExpectEnd(TokenKind.BlockEnd);
            return new SetMemberStatement(owner, member, assigned, line);
        }

        string[] targets = ReadTargets();
        if (TryTakeOperator("="))
        {
            Expression value = _expressions.ReadTuple();
            ExpectEnd(TokenKind.BlockEnd);
            return new SetStatement(targets, value, line);
        }

        List<AppliedFilter> filters = ReadFilters();
        ExpectEnd(TokenKind.BlockEnd);
        Statement[] body = ReadBody(["endset"]);
        EndTag("endset");
        return new SetBlockStatement(targets[0], [.. filters], body, line);
    }

    private List<AppliedFilter> ReadFilters()
    {
        List<AppliedFilter> filters = [];
        while (TryTakeOperator("|"))
        {
            filters.Add(_expressions.ReadFilter());
        }

        return filters;
    }

    private MacroStatement ReadMacro(int line)
    {
        string name = ExpectName();
        Parameter[] parameters = ReadParameters();
        ExpectEnd(TokenKind.BlockEnd);
        Statement[] body = ReadBody(["endmacro"]);
        EndTag("endmacro");
        return new MacroStatement(new MacroDefinition(name, parameters, body, line), line);
    }

    private Parameter[] ReadParameters()
    {
        ExpectOperator("(");
        List<Parameter> parameters = [];
        while (!TryTakeOperator(")"))
        {
            string name = ExpectName();
            parameters.Add(new Parameter(name, TryTakeOperator("=") ? _expressions.Read() : null));
            if (!AtOperator(")"))
            {
                ExpectOperator(",");
            }
        }

        return [.. parameters];
    }

    private CallStatement ReadCall(int line)
    {
        Parameter[] parameters = AtOperator("(") ? ReadParameters() : [];
        if (_expressions.Read() is not CallExpression call)
        {
            throw Wrong("{% call %} needs the call of a macro");
        }

        ExpectEnd(TokenKind.BlockEnd);
        Statement[] body = ReadBody(["endcall"]);
        EndTag("endcall");
        return new CallStatement(call, new MacroDefinition("caller", parameters, body, line), line);
    }

    private FilterStatement ReadFilter(int line)
    {
        List<AppliedFilter> filters = [_expressions.ReadFilter(), .. ReadFilters()];
        ExpectEnd(TokenKind.BlockEnd);
        Statement[] body = ReadBody(["endfilter"]);
        EndTag("endfilter");
        return new FilterStatement([.. filters], body, line);
    }

    private WithStatement ReadWith(int line)
    {
        List<KeyValuePair<string, Expression>> variables = [];
        while (Current.Kind == TokenKind.Name)
        {
            string name = ExpectName();
            ExpectOperator("=");
            variables.Add(KeyValuePair.Create(name, _expressions.Read()));
            TryTakeOperator(",");
        }

        ExpectEnd(TokenKind.BlockEnd);
        Statement[] body = ReadBody(["endwith"]);
        EndTag("endwith");
        return new WithStatement([.. variables], body, line);
    }

    /// <summary>Training marks what the model wrote with these tags; rendering shows their content.</summary>
    private WithStatement ReadGeneration(int line)
    {
        ExpectEnd(TokenKind.BlockEnd);
        Statement[] body = ReadBody(["endgeneration"]);
        EndTag("endgeneration");
        return new WithStatement([], body, line);
    }

    private JumpStatement ReadJump(string name, int line)
    {
        ExpectEnd(TokenKind.BlockEnd);
        return new JumpStatement(name == "break" ? Flow.Break : Flow.Continue, line);
    }
}
