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

    // Texts are cut in pieces, and each is searched: the buffers of the last search wait here for the next. A thread takes them
    // away while it searches; one that finds none makes its own.
    private RegexSearch? _idle;

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
        RegexSearch search = Interlocked.Exchange(ref _idle, null) ?? new RegexSearch(_program);
        search.Begin(checked(MostLooks * (text.Length + 16L) * _program.Size));
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

        bool isExhausted = search.IsExhausted;
        Interlocked.Exchange(ref _idle, search);
        if (isExhausted)
        {
            throw new FileFormatException($"{_place} takes more than {MostLooks} looks at each character of a text of {text.Length} bytes.");
        }
    }
}

/// <summary>The threads of one search at a time; reused from match to match and from text to text.</summary>
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

    /// <summary>Makes room for the threads of an expression.</summary>
    /// <param name="program">The expression.</param>
    public RegexSearch(RegexProgram program)
    {
        _program = program;
        _seenAt = new int[program.Code.Length]; // Generations begin at 1.
        _current = new ThreadList(program.Code.Length);
        _next = new ThreadList(program.Code.Length);
    }

    /// <summary>Begins a text.</summary>
    /// <param name="work">Instructions that may be executed in all.</param>
    public void Begin(long work) => _workLeft = work;

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

    private void BeginPlace()
    {
        if (_generation == int.MaxValue)
        {
            Array.Clear(_seenAt);
            _generation = 0;
        }

        _generation++;
    }

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
        int before = position > 0 ? CodePoint.Before(text, position, out _) : -1;
        int after = position < text.Length ? CodePoint.At(text, position, out _) : -1;
        return step.Kind switch
        {
            AssertionKind.LineStart => before is -1 or '\n',
            AssertionKind.LineEnd => after is -1 or '\n',
            AssertionKind.TextStart => before < 0,
            AssertionKind.TextEnd => after < 0,
            AssertionKind.WordEdge => IsIn(step, before) != IsIn(step, after),
            AssertionKind.NoWordEdge => IsIn(step, before) == IsIn(step, after),
            AssertionKind.SetAfter => IsIn(step, after),
            AssertionKind.NoSetAfter => !IsIn(step, after),
            AssertionKind.SetBefore => IsIn(step, before),
            AssertionKind.NoSetBefore => !IsIn(step, before),
            AssertionKind.PartAfter => MatchesAt(step.Part!, text, position), // Not null: these two kinds have one.
            _ => !MatchesAt(step.Part!, text, position),
        };
    }

    // Not null: these assertions have a set.
    private static bool IsIn(RegexInstruction step, int codePoint) => codePoint >= 0 && step.Set!.Contains(codePoint);

    private bool MatchesAt(RegexProgram part, ReadOnlySpan<byte> text, int position)
    {
        if (!_inner.TryGetValue(part, out RegexSearch? search))
        {
            search = new RegexSearch(part);
            _inner.Add(part, search);
        }

        search.Begin(_workLeft);
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
