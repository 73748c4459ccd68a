namespace MoeSharp.Tokenization;

/// <summary>What an instruction does.</summary>
internal enum RegexOperation
{
    /// <summary>Takes a character of a set.</summary>
    Take,

    /// <summary>Goes on at two places, the first preferred.</summary>
    Fork,

    /// <summary>Goes on elsewhere.</summary>
    Jump,

    /// <summary>Goes on if an assertion holds.</summary>
    Assert,

    /// <summary>The expression has matched.</summary>
    Match,
}

/// <summary>One instruction.</summary>
/// <param name="Operation">What it does.</param>
/// <param name="Target">Where it goes on.</param>
/// <param name="Other">Where else a fork goes on.</param>
/// <param name="Set">The set of a take, or of an assertion that asks for one.</param>
/// <param name="Kind">The assertion.</param>
/// <param name="Part">The expression of an assertion.</param>
internal readonly record struct RegexInstruction(RegexOperation Operation, int Target = 0, int Other = 0, CodeSet? Set = null, AssertionKind Kind = default, RegexProgram? Part = null);

/// <summary>A regular expression as instructions.</summary>
internal sealed class RegexProgram
{
    private readonly List<RegexInstruction> _code = [];
    private readonly RegexCompilation _compilation;

    private RegexProgram(RegexCompilation compilation)
    {
        _compilation = compilation;
    }

    /// <summary>The instructions; the first is where it begins.</summary>
    public RegexInstruction[] Code { get; private set; } = [];

    /// <summary>All instructions, those of assertions included.</summary>
    public long Size { get; private set; }

    /// <summary>Translates an expression.</summary>
    /// <param name="node">The expression.</param>
    /// <param name="place">Where it stands, for messages.</param>
    public static RegexProgram Compile(RegexNode node, JsonPlace place) => Compile(node, new RegexCompilation(place));

    private static RegexProgram Compile(RegexNode node, RegexCompilation compilation)
    {
        RegexProgram program = new(compilation);
        program.Add(node);
        program.Emit(new RegexInstruction(RegexOperation.Match));
        program.Code = [.. program._code];
        program.Size = program.Code.Length + program.Code.Sum(instruction => instruction.Part?.Size ?? 0);
        return program;
    }

    private int Emit(RegexInstruction instruction)
    {
        _compilation.Spend();
        _code.Add(instruction);
        return _code.Count - 1;
    }

    private void Add(RegexNode node)
    {
        _compilation.Spend();
        switch (node)
        {
            case SetNode set:
                Emit(new RegexInstruction(RegexOperation.Take, Set: set.Set));
                break;
            case SequenceNode sequence:
                foreach (RegexNode part in sequence.Parts)
                {
                    Add(part);
                }

                break;
            case AlternativesNode alternatives:
                AddAlternatives(alternatives);
                break;
            case RepeatNode repeat:
                AddRepeat(repeat);
                break;
            case AssertionNode assertion:
                RegexProgram? inner = assertion.Part is null ? null : Compile(assertion.Part, _compilation);
                Emit(new RegexInstruction(RegexOperation.Assert, Set: SetOf(assertion), Kind: assertion.Kind, Part: inner));
                break;
        }
    }

    private CodeSet? SetOf(AssertionNode assertion) =>
        assertion.Kind is AssertionKind.WordEdge or AssertionKind.NoWordEdge ? _compilation.Word : assertion.Set;

    private void AddAlternatives(AlternativesNode alternatives)
    {
        List<int> jumps = [];
        for (int index = 0; index < alternatives.Parts.Count; index++)
        {
            bool isLast = index == alternatives.Parts.Count - 1;
            int fork = isLast ? -1 : Emit(default);
            Add(alternatives.Parts[index]);
            if (!isLast)
            {
                jumps.Add(Emit(default));
                _code[fork] = new RegexInstruction(RegexOperation.Fork, fork + 1, _code.Count);
            }
        }

        foreach (int jump in jumps)
        {
            _code[jump] = new RegexInstruction(RegexOperation.Jump, _code.Count);
        }
    }

    private void AddRepeat(RepeatNode repeat)
    {
        for (int count = 0; count < repeat.Min; count++)
        {
            Add(repeat.Part);
        }

        if (repeat.Max is null)
        {
            int fork = Emit(default);
            Add(repeat.Part);
            Emit(new RegexInstruction(RegexOperation.Jump, fork));
            _code[fork] = Fork(repeat, fork + 1, _code.Count);
            return;
        }

        List<int> forks = [];
        for (int count = repeat.Min; count < repeat.Max; count++)
        {
            forks.Add(Emit(default));
            Add(repeat.Part);
        }

        foreach (int fork in forks)
        {
            _code[fork] = Fork(repeat, fork + 1, _code.Count);
        }
    }

    private static RegexInstruction Fork(RepeatNode repeat, int inside, int after) => repeat.IsLazy
        ? new RegexInstruction(RegexOperation.Fork, after, inside)
        : new RegexInstruction(RegexOperation.Fork, inside, after);
}

/// <summary>One translation of an expression, its assertions included: what it may cost in all, and what its parts share.</summary>
internal sealed class RegexCompilation(JsonPlace place)
{
    // Parts visited and instructions written. Published patterns need some 200; the bound keeps repeats of repeats, even of
    // nothing at all, from taking time or memory.
    private const int MostWork = 40_000;

    private int _workLeft = MostWork;
    private CodeSet? _word;

    /// <summary>The characters of words, for the edges of words.</summary>
    public CodeSet Word => _word ??= NamedCodeSets.Word();

    /// <summary>Counts a part or an instruction.</summary>
    public void Spend() => place.RejectIf(--_workLeft < 0, "is too long when its repeats are written out");
}
