using System.Text;

namespace MoeSharp.Tokenization.Chat;

/// <summary>
/// Cuts a template into tokens and settles white space: <c>-</c> in a tag eats all white space on its side, the line break after a
/// block tag is dropped (trim_blocks), and so are blanks before a block tag that begins its line (lstrip_blocks), as chat templates
/// are written for.
/// </summary>
internal sealed class TemplateLexer
{
    private static readonly string[] LongOperators = ["//", "**", "==", "!=", "<=", ">="];

    private readonly string _source;
    private readonly string _origin;
    private readonly List<TemplateToken> _tokens = [];
    private readonly StringBuilder _plain = new();
    private int _position;
    private int _line = 1;

    // A tag may be stripped of the blanks before it only where a line begins, which the end of the tag before decides.
    private bool _isAtLineStart = true;

    private TemplateLexer(string source, string origin)
    {
        _source = source;
        _origin = origin;
    }

    /// <summary>Cuts a template.</summary>
    /// <param name="source">The template.</param>
    /// <param name="origin">Where it comes from, for messages.</param>
    public static List<TemplateToken> Read(string source, string origin)
    {
        string unified = source.Replace("\r\n", "\n", StringComparison.Ordinal).Replace('\r', '\n');
        return new TemplateLexer(unified.EndsWith('\n') ? unified[..^1] : unified, origin).Read();
    }

    private List<TemplateToken> Read()
    {
        while (_position < _source.Length)
        {
            int open = FindTag(_position);
            string text = _source[_position..open];
            if (open == _source.Length)
            {
                _plain.Append(text);
                break;
            }

            char kind = _source[open + 1];
            char sign = open + 2 < _source.Length ? _source[open + 2] : ' ';
            _plain.Append(TrimBefore(text, kind, sign));
            FlushPlain();
            _line += CountLines(text);
            _position = open + 2 + (sign is '-' or '+' ? 1 : 0);
            switch (kind)
            {
                case '#':
                    SkipComment();
                    break;
                case '%' when TryReadRaw():
                    break;
                default:
                    ReadTag(kind == '%');
                    break;
            }
        }

        FlushPlain();
        _tokens.Add(new TemplateToken(TokenKind.End, "", _line));
        return _tokens;
    }

    private int FindTag(int start)
    {
        for (int open = _source.IndexOf('{', start); open >= 0 && open + 1 < _source.Length; open = _source.IndexOf('{', open + 1))
        {
            if (_source[open + 1] is '{' or '%' or '#')
            {
                return open;
            }
        }

        return _source.Length;
    }

    private string TrimBefore(string text, char kind, char sign)
    {
        if (sign == '-')
        {
            return text.TrimEnd();
        }

        if (sign == '+' || kind == '{')
        {
            return text;
        }

        int lineStart = text.LastIndexOf('\n') + 1;
        bool beginsLine = lineStart > 0 || _isAtLineStart;
        return beginsLine && string.IsNullOrWhiteSpace(text[lineStart..]) ? text[..lineStart] : text;
    }

    private void FlushPlain()
    {
        if (_plain.Length > 0)
        {
            _tokens.Add(new TemplateToken(TokenKind.Plain, _plain.ToString(), _line));
            _plain.Clear();
        }
    }

    private void SkipComment()
    {
        int close = _source.IndexOf("#}", _position, StringComparison.Ordinal);
        if (close < 0)
        {
            throw Wrong("a comment {# is never closed with #}");
        }

        _line += CountLines(_source[_position..close]);
        bool eatsAll = close > _position && _source[close - 1] == '-';
        bool keeps = close > _position && _source[close - 1] == '+';
        _position = close + 2;
        TrimAfter(eatsAll, eatsLineBreak: !keeps);
    }

    private bool TryReadRaw()
    {
        if (!TryReadTagWord(_position, "raw", out int start, out bool eatsAfter))
        {
            return false;
        }

        for (int open = _source.IndexOf("{%", start, StringComparison.Ordinal); open >= 0; open = _source.IndexOf("{%", open + 2, StringComparison.Ordinal))
        {
            int word = open + 2;
            char sign = word < _source.Length ? _source[word] : ' ';
            if (!TryReadTagWord(word + (sign is '-' or '+' ? 1 : 0), "endraw", out int end, out bool eatsAll))
            {
                continue;
            }

            _position = start;
            _line += CountLines(_source[_position..open]);
            int from = start + TrimmedAfter(start, eatsAfter, eatsLineBreak: true);
            _plain.Append(TrimBefore(_source[Math.Min(from, open)..open], '%', sign));
            FlushPlain();
            _position = end;
            TrimAfter(eatsAll, eatsLineBreak: true);
            return true;
        }

        throw Wrong("{% raw %} is never closed with {% endraw %}");
    }

    private bool TryReadTagWord(int position, string word, out int end, out bool eatsAll)
    {
        end = SkipBlanks(position);
        eatsAll = false;
        if (string.CompareOrdinal(_source, end, word, 0, word.Length) != 0)
        {
            return false;
        }

        end = SkipBlanks(end + word.Length);
        eatsAll = end < _source.Length && _source[end] == '-';
        end += eatsAll ? 1 : 0;
        bool closes = string.CompareOrdinal(_source, end, "%}", 0, 2) == 0;
        end += 2;
        return closes;
    }

    private int SkipBlanks(int position)
    {
        while (position < _source.Length && char.IsWhiteSpace(_source[position]))
        {
            position++;
        }

        return position;
    }

    private void ReadTag(bool isBlock)
    {
        _tokens.Add(new TemplateToken(isBlock ? TokenKind.BlockStart : TokenKind.OutputStart, "", _line));
        int openBrackets = 0;
        while (true)
        {
            int next = SkipBlanks(_position);
            _line += CountLines(_source[_position..next]);
            _position = next;
            if (_position >= _source.Length)
            {
                throw Wrong(isBlock ? "a tag {% is never closed with %}" : "a tag {{ is never closed with }}");
            }

            if (openBrackets == 0 && TryEndTag(isBlock))
            {
                return;
            }

            openBrackets += ReadToken();
        }
    }

    private bool TryEndTag(bool isBlock)
    {
        char sign = _source[_position];
        int close = _position + (sign is '-' or '+' ? 1 : 0);
        if (string.CompareOrdinal(_source, close, isBlock ? "%}" : "}}", 0, 2) != 0)
        {
            return false;
        }

        _tokens.Add(new TemplateToken(isBlock ? TokenKind.BlockEnd : TokenKind.OutputEnd, "", _line));
        _position = close + 2;
        TrimAfter(sign == '-', eatsLineBreak: isBlock && sign != '+');
        return true;
    }

    private void TrimAfter(bool eatsAll, bool eatsLineBreak)
    {
        int length = TrimmedAfter(_position, eatsAll, eatsLineBreak);
        _line += CountLines(_source.Substring(_position, length));
        _position += length;
        _isAtLineStart = length > 0 && _source[_position - 1] == '\n';
    }

    private int TrimmedAfter(int position, bool eatsAll, bool eatsLineBreak)
    {
        if (eatsAll)
        {
            return SkipBlanks(position) - position;
        }

        return eatsLineBreak && position < _source.Length && _source[position] == '\n' ? 1 : 0;
    }

    /// <summary>Reads one token inside a tag; returns by how much it changes the number of open brackets.</summary>
    private int ReadToken()
    {
        char first = _source[_position];
        if (char.IsLetter(first) || first == '_')
        {
            Add(TokenKind.Name, EndWhile(_position, character => char.IsLetterOrDigit(character) || character == '_'));
            return 0;
        }

        if (char.IsAsciiDigit(first))
        {
            ReadNumber();
            return 0;
        }

        if (first is '"' or '\'')
        {
            ReadQuoted();
            return 0;
        }

        foreach (string symbol in LongOperators)
        {
            if (string.CompareOrdinal(_source, _position, symbol, 0, 2) == 0)
            {
                Add(TokenKind.Operator, _position + 2);
                return 0;
            }
        }

        if (!"+-*/%~<>=()[]{}.,:|".Contains(first, StringComparison.Ordinal))
        {
            throw Wrong($"the character '{first}' has no meaning inside a tag");
        }

        Add(TokenKind.Operator, _position + 1);
        return first is '(' or '[' or '{' ? 1 : first is ')' or ']' or '}' ? -1 : 0;
    }

    private void ReadNumber()
    {
        int end = EndWhile(_position, character => char.IsAsciiDigit(character) || character == '_');
        bool isFloat = false;

        // In a.0.1 both numbers are items.
        bool isItem = _tokens[^1] is { Kind: TokenKind.Operator, Text: "." };
        if (!isItem && end + 1 < _source.Length && _source[end] == '.' && char.IsAsciiDigit(_source[end + 1]))
        {
            isFloat = true;
            end = EndWhile(end + 1, char.IsAsciiDigit);
        }

        int exponent = end < _source.Length && _source[end] is 'e' or 'E' ? end + 1 : -1;
        if (exponent > 0)
        {
            exponent += exponent < _source.Length && _source[exponent] is '+' or '-' ? 1 : 0;
            if (exponent < _source.Length && char.IsAsciiDigit(_source[exponent]))
            {
                isFloat = true;
                end = EndWhile(exponent, char.IsAsciiDigit);
            }
        }

        Add(isFloat ? TokenKind.Float : TokenKind.Integer, end);
    }

    private void ReadQuoted()
    {
        QuotedText quoted = QuotedText.Read(_source, _position, Wrong);
        _tokens.Add(new TemplateToken(TokenKind.Quoted, quoted.Text, _line));
        _line += CountLines(_source[_position..quoted.End]);
        _position = quoted.End;
    }

    private void Add(TokenKind kind, int end)
    {
        _tokens.Add(new TemplateToken(kind, _source[_position..end], _line));
        _position = end;
    }

    private int EndWhile(int position, Func<char, bool> belongs)
    {
        while (position < _source.Length && belongs(_source[position]))
        {
            position++;
        }

        return position;
    }

    private static int CountLines(string text) => text.AsSpan().Count('\n');

    private FileFormatException Wrong(string rule) => new($"{_origin}: line {_line}: {rule}.");
}
