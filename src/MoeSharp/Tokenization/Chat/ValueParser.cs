using System.Globalization;

namespace MoeSharp.Tokenization.Chat;

/// <summary>Reads values as written: names, texts, numbers, lists, tuples, mappings and expressions in brackets.</summary>
/// <param name="tokens">The tokens.</param>
/// <param name="expressions">Reads what stands inside.</param>
internal sealed class ValueParser(TemplateParser tokens, ExpressionParser expressions)
{
    /// <summary>Names that are no variables.</summary>
    public static readonly HashSet<string> Keywords = ["if", "else", "elif", "and", "or", "not", "in", "is"];

    /// <summary>Reads one value.</summary>
    public Expression Read()
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

    /// <summary>A whole number.</summary>
    public long ReadInteger(string text) =>
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

        Expression inner = expressions.ReadTuple();
        tokens.ExpectOperator(")");
        return inner;
    }

    private ListExpression ReadList()
    {
        int line = tokens.Take().Line;
        List<Expression> items = [];
        while (!tokens.TryTakeOperator("]"))
        {
            items.Add(expressions.Read());
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
            Expression key = expressions.Read();
            tokens.ExpectOperator(":");
            entries.Add(KeyValuePair.Create(key, expressions.Read()));
            if (!tokens.AtOperator("}"))
            {
                tokens.ExpectOperator(",");
            }
        }

        return new MapExpression([.. entries], line);
    }
}
