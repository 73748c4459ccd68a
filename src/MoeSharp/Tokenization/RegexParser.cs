using System.Globalization;

namespace MoeSharp.Tokenization;

/// <summary>
/// Reads the regular expressions of tokenizer files, in the flavour they are written for (Oniguruma, Ruby syntax). What cannot be
/// matched in linear time (references, atomic groups, possessive repeats) is refused by name.
/// </summary>
internal sealed class RegexParser
{
    private const int DeepestNesting = 50;
    private const int MostRepeats = 1000;
    private const int LongestExpression = 8192;

    // Sets are asked one after another for each character.
    private const int MostSets = 200;

    private readonly int[] _text;
    private readonly JsonPlace _place;
    private int _position;
    private int _depth;
    private int _numClassParts;
    private bool _ignoresCase;

    private RegexParser(JsonPlace place)
    {
        _place = place;
        _text = [.. place.Text().EnumerateRunes().Select(rune => rune.Value)];
    }

    /// <summary>Reads an expression.</summary>
    public static RegexNode Parse(JsonPlace place)
    {
        RegexParser parser = new(place);
        place.RejectIf(parser._text.Length is 0 or > LongestExpression, $"is empty or longer than {LongestExpression} characters");
        RegexNode node = parser.ReadAlternatives();
        return parser._position == parser._text.Length ? node : throw parser.Wrong("has a ')' without its '('");
    }

    private int Current => _position < _text.Length ? _text[_position] : -1;

    private FileFormatException Wrong(string rule) => _place.Wrong($"is not a regular expression that is supported: at character {_position} it {rule}");

    private bool TryTake(char wanted)
    {
        bool found = Current == wanted;
        _position += found ? 1 : 0;
        return found;
    }

    private bool TryTake(string wanted)
    {
        for (int index = 0; index < wanted.Length; index++)
        {
            if (_position + index >= _text.Length || _text[_position + index] != wanted[index])
            {
                return false;
            }
        }

        _position += wanted.Length;
        return true;
    }

    private RegexNode ReadAlternatives()
    {
        if (++_depth > DeepestNesting)
        {
            throw Wrong($"nests deeper than {DeepestNesting}");
        }

        List<RegexNode> alternatives = [ReadSequence()];
        while (TryTake('|'))
        {
            alternatives.Add(ReadSequence());
        }

        _depth--;
        return alternatives.Count == 1 ? alternatives[0] : new AlternativesNode(alternatives);
    }

    private SequenceNode ReadSequence()
    {
        List<RegexNode> parts = [];
        while (Current is not (-1 or '|' or ')'))
        {
            RegexNode part = ReadPart();
            parts.Add(Current is '*' or '+' or '?' or '{' ? ReadRepeat(part) : part);
        }

        return new SequenceNode(parts);
    }

    private RepeatNode ReadRepeat(RegexNode part)
    {
        (int min, int? max) = _text[_position++] switch
        {
            '*' => (0, (int?)null),
            '+' => (1, null),
            '?' => (0, 1),
            _ => ReadBounds(),
        };
        if (part is AssertionNode)
        {
            throw Wrong("repeats an assertion");
        }

        bool isLazy = TryTake('?');
        return Current is '*' or '+' or '?' or '{'
            ? throw Wrong("has a possessive repeat or a repeat of a repeat, which are not supported")
            : new RepeatNode(part, min, max, isLazy);
    }

    private (int Min, int? Max) ReadBounds()
    {
        int? min = ReadNumber();
        int? max = min;
        if (TryTake(','))
        {
            max = ReadNumber();
        }

        if (!TryTake('}') || (min is null && max is null) || min > MostRepeats || max > MostRepeats || max < min)
        {
            throw Wrong($"has a repeat other than {{n}}, {{n,}} and {{n,m}} with numbers up to {MostRepeats}");
        }

        return (min ?? 0, max);
    }

    private int? ReadNumber()
    {
        int start = _position;
        int number = 0;
        while (Current is >= '0' and <= '9' && _position - start < 6)
        {
            number = (number * 10) + (_text[_position++] - '0');
        }

        return _position == start ? null : number;
    }

    private RegexNode ReadPart()
    {
        int first = _text[_position++];
        switch (first)
        {
            case '(':
                return ReadGroup();
            case '[':
                return new SetNode(ReadClass());
            case '.':
                return new SetNode(CodeSet.Range('\n', '\n').Not());
            case '^':
                return new AssertionNode(AssertionKind.LineStart);
            case '$':
                return new AssertionNode(AssertionKind.LineEnd);
            case '*' or '+' or '?' or '{':
                throw Wrong("repeats nothing");
            case '\\':
                return ReadAssertionEscape() is AssertionKind kind ? new AssertionNode(kind) : new SetNode(ReadEscape());
            default:
                return new SetNode(Single(first));
        }
    }

    // Case is for characters spelled out; \p{Lu} stays what it is.
    private CodeSet Single(int codePoint) =>
        _ignoresCase ? CodeSet.Range(codePoint, codePoint).IgnoringCase() : CodeSet.Range(codePoint, codePoint);

    private RegexNode ReadGroup()
    {
        bool outerIgnoresCase = _ignoresCase;
        RegexNode group;
        if (TryTake("?="))
        {
            group = LookAhead(ReadAlternatives(), isNegated: false);
        }
        else if (TryTake("?!"))
        {
            group = LookAhead(ReadAlternatives(), isNegated: true);
        }
        else if (TryTake("?<="))
        {
            group = LookBehind(ReadAlternatives(), isNegated: false);
        }
        else if (TryTake("?<!"))
        {
            group = LookBehind(ReadAlternatives(), isNegated: true);
        }
        else
        {
            ReadGroupStart();
            group = ReadAlternatives();
        }

        if (!TryTake(')'))
        {
            throw Wrong("lacks a ')'");
        }

        _ignoresCase = outerIgnoresCase;
        return group;
    }

    private void ReadGroupStart()
    {
        if (!TryTake('?') || TryTake(':'))
        {
            return;
        }

        _ignoresCase = TryTake("i:")
            ? true
            : throw Wrong("has a group other than (...), (?:...), (?i:...), (?=...), (?!...), (?<=...) and (?<!...)");
    }

    private static AssertionNode LookAhead(RegexNode part, bool isNegated) => OnlySet(part) is CodeSet set
        ? new AssertionNode(isNegated ? AssertionKind.NoSetAfter : AssertionKind.SetAfter, set)
        : new AssertionNode(isNegated ? AssertionKind.NoPartAfter : AssertionKind.PartAfter, Part: part);

    private AssertionNode LookBehind(RegexNode part, bool isNegated) => OnlySet(part) is CodeSet set
        ? new AssertionNode(isNegated ? AssertionKind.NoSetBefore : AssertionKind.SetBefore, set)
        : throw Wrong("looks behind at more than one character");

    private static CodeSet? OnlySet(RegexNode part) => part switch
    {
        SetNode set => set.Set,
        SequenceNode { Parts: [SetNode only] } => only.Set,
        _ => null,
    };

    private AssertionKind? ReadAssertionEscape()
    {
        AssertionKind? kind = Current switch
        {
            'A' => AssertionKind.TextStart,
            'z' => AssertionKind.TextEnd,
            'b' => AssertionKind.WordEdge,
            'B' => AssertionKind.NoWordEdge,
            _ => null,
        };
        _position += kind is null ? 0 : 1;
        return kind;
    }

    /// <summary>Reads what follows a backslash, inside a class or outside.</summary>
    private CodeSet ReadEscape()
    {
        if (Current < 0)
        {
            throw Wrong("ends in a backslash");
        }

        int letter = _text[_position++];
        switch (letter)
        {
            case 's':
                return CodeSet.Of(CharacterClass.WhiteSpace);
            case 'S':
                return CodeSet.Of(CharacterClass.WhiteSpace).Not();
            case 'd' or 'D':
                CodeSet digits = NamedCodeSets.Find("Nd")!; // Not null: a known name.
                return letter == 'd' ? digits : digits.Not();
            case 'w':
                return NamedCodeSets.Word();
            case 'W':
                return NamedCodeSets.Word().Not();
            case 'p' or 'P':
                return ReadProperty(isNegated: letter == 'P');
            default:
                return Single(EscapedCharacter(letter));
        }
    }

    private int EscapedCharacter(int letter)
    {
        switch (letter)
        {
            case 'n':
                return '\n';
            case 'r':
                return '\r';
            case 't':
                return '\t';
            case 'f':
                return '\f';
            case 'v':
                return '\v';
            case 'a':
                return '\a';
            case 'e':
                return 0x1B;
            case 'x' when TryTake('{'):
                int braced = ReadHex(1, 8);
                return TryTake('}') ? braced : throw Wrong("lacks a '}'");
            case 'x':
                return ReadHex(1, 2);
            case 'u':
                return ReadHex(4, 4);
            default:
                bool isPlain = letter >= 0x80 || !char.IsAsciiLetterOrDigit((char)letter);
                return isPlain ? letter : throw Wrong($"has the escape \\{(char)letter}, which is not supported");
        }
    }

    private int ReadHex(int fewest, int most)
    {
        int start = _position;
        long number = 0;
        while (_position - start < most && Current is >= 0 and < 0x80 && char.IsAsciiHexDigit((char)Current))
        {
            number = (number * 16) + int.Parse([(char)_text[_position++]], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
        }

        return _position - start >= fewest && number <= 0x10FFFF ? (int)number : throw Wrong("has a number that is no character");
    }

    private CodeSet ReadProperty(bool isNegated)
    {
        if (!TryTake('{'))
        {
            throw Wrong("lacks the '{' of a property");
        }

        isNegated ^= TryTake('^');
        System.Text.StringBuilder name = new();
        while (Current is not (-1 or '}') && name.Length < 40)
        {
            name.Append(char.ConvertFromUtf32(_text[_position++]));
        }

        CodeSet? set = TryTake('}') ? NamedCodeSets.Find(name.ToString()) : null;
        return set is null
            ? throw Wrong($"asks for the property '{name}'; known are the general categories (L, Lu, ...) and the scripts Han, Hiragana, Katakana and Hangul")
            : isNegated ? set.Not() : set;
    }

    private CodeSet ReadClass()
    {
        if (++_depth > DeepestNesting)
        {
            throw Wrong($"nests deeper than {DeepestNesting}");
        }

        bool isNegated = TryTake('^');
        ClassPart part = new();
        CodeSet? whole = null;
        for (bool isFirst = true; isFirst || Current != ']'; isFirst = false)
        {
            if (Current < 0)
            {
                throw Wrong("lacks a ']'");
            }

            if (TryTake("&&"))
            {
                whole = Both(whole, Close(part));
                part = new ClassPart();
            }
            else
            {
                ReadClassItem(part);
            }
        }

        _position++;
        _depth--;
        whole = Both(whole, Close(part));
        return isNegated ? whole.Not() : whole;
    }

    private CodeSet Close(ClassPart part) => part.Ranges.Count + part.Sets.Count == 0 ? throw Wrong("has '&&' beside nothing")
        : ++_numClassParts > MostSets || part.Sets.Count > MostSets ? throw Wrong($"names more than {MostSets} sets")
        : _ignoresCase ? CodeSet.AnyOf([], [CodeSet.AnyOf(part.Ranges, []).IgnoringCase(), .. part.Sets])
        : CodeSet.AnyOf(part.Ranges, part.Sets);

    private static CodeSet Both(CodeSet? left, CodeSet right) => left is null ? right : left.And(right);

    private void ReadClassItem(ClassPart part)
    {
        if (TryTake("[:"))
        {
            throw Wrong("names a class [:...:], which is not supported; write \\p{...}");
        }

        if (TryTake('['))
        {
            part.Sets.Add(ReadClass());
            return;
        }

        int first = _text[_position++];
        if (first == '\\')
        {
            if (Current is 's' or 'S' or 'd' or 'D' or 'w' or 'W' or 'p' or 'P' or -1)
            {
                part.Sets.Add(ReadEscape());
                return;
            }

            first = EscapedCharacter(_text[_position++]);
        }

        int last = first;
        if (Current == '-' && _position + 1 < _text.Length && _text[_position + 1] is not (']' or '['))
        {
            _position++;
            last = _text[_position++];
            last = last == '\\' && Current >= 0 ? EscapedCharacter(_text[_position++]) : last;
        }

        part.Ranges.Add(last >= first ? (first, last) : throw Wrong("has a range that runs backwards"));
    }

    private sealed class ClassPart
    {
        public List<(int First, int Last)> Ranges { get; } = [];

        public List<CodeSet> Sets { get; } = [];
    }
}
