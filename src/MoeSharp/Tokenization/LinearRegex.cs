namespace MoeSharp.Tokenization;

/// <summary>
/// A regular expression without a hand-written splitter. All ways to match are followed at once, in the order in which a backtracking
/// matcher would try them, so a search costs the length of the text times that of the expression. It reads code points, not UTF-16.
/// </summary>
/// <remarks>The method is that of R. Pike and K. Thompson: a list of threads, at most one for each instruction, advanced character by character.</remarks>
internal sealed class LinearRegex : SplitPattern
{
    // Searching on after each match may look at text again; published patterns do so at most twice. Arbitrary above that.
    private const long MostLooks = 16;

    private readonly RegexProgram _program;
    private readonly string _place;

    private LinearRegex(RegexProgram program, string place)
    {
        _program = program;
        _place = place;
    }

    /// <summary>Reads an expression.</summary>
    public static LinearRegex Parse(JsonPlace place) => new(RegexProgram.Compile(RegexParser.Parse(place), place), $"{place.File}: {place.Path}");

    /// <inheritdoc/>
    public override void FindMatches(ReadOnlySpan<byte> text, List<Piece> matches)
    {
        RegexSearch search = new(_program, checked(MostLooks * (text.Length + 16L) * _program.Size));
        for (int start = 0; start <= text.Length;)
        {
            if (!search.TryFind(text, start, isAnchored: false, out Piece match))
            {
                break;
            }

            if (match.Length > 0)
            {
                matches.Add(match);
                start = match.End;
            }
            else if (match.End < text.Length)
            {
                CodePoint.At(text, match.End, out int length);
                start = match.End + length;
            }
            else
            {
                break;
            }
        }

        if (search.IsExhausted)
        {
            throw new FileFormatException($"{_place} takes more than {MostLooks} looks at each character of a text of {text.Length} bytes.");
        }
    }
}

/// <summary>The threads of one search; reused from match to match.</summary>
internal sealed class RegexSearch
{
    private readonly RegexProgram _program;
    private readonly Stack<int> _open = [];
    private readonly int[] _seenAt;
    private readonly Dictionary<RegexProgram, RegexSearch> _inner = [];
    private ThreadList _current;
    private ThreadList _next;
    private long _workLeft;
    private int _generation;

    /// <summary>Begins.</summary>
    /// <param name="program">The expression.</param>
    /// <param name="work">Instructions that may be executed in all.</param>
    public RegexSearch(RegexProgram program, long work)
    {
        _program = program;
        _workLeft = work;
        _seenAt = new int[program.Code.Length]; // Generations begin at 1.
        _current = new ThreadList(program.Code.Length);
        _next = new ThreadList(program.Code.Length);
    }

    /// <summary>The work is used up; what was found is not to be trusted.</summary>
    public bool IsExhausted => _workLeft < 0;

    /// <summary>Finds the first match at or after a place.</summary>
    /// <param name="text">Valid UTF-8.</param>
    /// <param name="start">Where to begin.</param>
    /// <param name="isAnchored">The match must begin there.</param>
    /// <param name="match">The match.</param>
    public bool TryFind(ReadOnlySpan<byte> text, int start, bool isAnchored, out Piece match)
    {
        match = default;
        bool isFound = false;
        _current.Count = 0;
        BeginPlace();
        for (int position = start; _workLeft >= 0;)
        {
            if (!isFound && (!isAnchored || position == start))
            {
                Follow(text, position, 0, position, _current);
            }

            if (_current.Count == 0 && (isFound || isAnchored))
            {
                break;
            }

            int length = 0;
            int codePoint = position < text.Length ? CodePoint.At(text, position, out length) : -1;
            BeginPlace();
            _next.Count = 0;
            for (int index = 0; index < _current.Count; index++)
            {
                RegexThread thread = _current.Threads[index];
                RegexInstruction instruction = _program.Code[thread.Instruction];
                if (instruction.Operation == RegexOperation.Match)
                {
                    // Threads behind this one would only have been tried after it.
                    match = new Piece(thread.Start, position - thread.Start);
                    isFound = true;
                    break;
                }

                if (codePoint >= 0 && instruction.Set!.Contains(codePoint)) // Not null: only takes and matches are kept.
                {
                    Follow(text, position + length, thread.Instruction + 1, thread.Start, _next);
                }
            }

            (_current, _next) = (_next, _current);
            if (codePoint < 0)
            {
                break;
            }

            position += length;
        }

        return isFound;
    }

    private void BeginPlace() => _generation++;

    /// <summary>Adds the takes and matches that an instruction leads to without a character, in order of preference.</summary>
    private void Follow(ReadOnlySpan<byte> text, int position, int instruction, int start, ThreadList threads)
    {
        _open.Push(instruction);
        while (_open.TryPop(out int index))
        {
            _workLeft--;
            if (_seenAt[index] == _generation)
            {
                continue;
            }

            _seenAt[index] = _generation;
            RegexInstruction step = _program.Code[index];
            switch (step.Operation)
            {
                case RegexOperation.Jump:
                    _open.Push(step.Target);
                    break;
                case RegexOperation.Fork:
                    _open.Push(step.Other);
                    _open.Push(step.Target);
                    break;
                case RegexOperation.Assert when Holds(step, text, position):
                    _open.Push(index + 1);
                    break;
                case RegexOperation.Take or RegexOperation.Match:
                    threads.Threads[threads.Count++] = new RegexThread(index, start);
                    break;
            }
        }
    }

    private bool Holds(RegexInstruction step, ReadOnlySpan<byte> text, int position)
    {
        CodeSet set = step.Set!; // Not null: every assertion has one.
        int before = position > 0 ? CodePoint.Before(text, position, out _) : -1;
        int after = position < text.Length ? CodePoint.At(text, position, out _) : -1;
        bool isSetBefore = before >= 0 && set.Contains(before);
        bool isSetAfter = after >= 0 && set.Contains(after);
        return step.Kind switch
        {
            AssertionKind.LineStart => before is -1 or '\n',
            AssertionKind.LineEnd => after is -1 or '\n',
            AssertionKind.TextStart => before < 0,
            AssertionKind.TextEnd => after < 0,
            AssertionKind.WordEdge => isSetBefore != isSetAfter,
            AssertionKind.NoWordEdge => isSetBefore == isSetAfter,
            AssertionKind.SetAfter => isSetAfter,
            AssertionKind.NoSetAfter => !isSetAfter,
            AssertionKind.SetBefore => isSetBefore,
            AssertionKind.NoSetBefore => !isSetBefore,
            AssertionKind.PartAfter => MatchesAt(step.Part!, text, position), // Not null: these two kinds have one.
            _ => !MatchesAt(step.Part!, text, position),
        };
    }

    private bool MatchesAt(RegexProgram part, ReadOnlySpan<byte> text, int position)
    {
        if (!_inner.TryGetValue(part, out RegexSearch? search))
        {
            search = new RegexSearch(part, 0);
            _inner.Add(part, search);
        }

        search._workLeft = _workLeft;
        bool matches = search.TryFind(text, position, isAnchored: true, out _);
        _workLeft = search._workLeft;
        return matches;
    }

    private readonly record struct RegexThread(int Instruction, int Start);

    private sealed class ThreadList(int capacity)
    {
        public RegexThread[] Threads { get; } = new RegexThread[capacity];

        public int Count { get; set; }
    }
}
