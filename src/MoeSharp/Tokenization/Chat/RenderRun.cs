using System.Text;

namespace MoeSharp.Tokenization.Chat;

/// <summary>
/// One rendering: output, place and limits. Templates come from outside, so work, depth and text are bounded; a template that
/// reaches a bound ends with one message.
/// </summary>
internal sealed class RenderRun
{
    // One unit is one evaluated node, or eight characters written or joined. A long published template needs a few
    // hundred units for each message; conversations add to the allowance by their size.
    private const long WorkAllowance = 4_000_000;
    private const long WorkPerInputCharacter = 16;
    private const int CharactersPerUnit = 8;

    // Statements, expressions and macros inside each other while rendering; keeps the call stack under some 200 KiB.
    private const int DeepestNesting = 400;

    private readonly string _origin;
    private long _workLeft;
    private int _depth;

    /// <summary>Begins a rendering.</summary>
    /// <param name="origin">Where the template comes from, for messages.</param>
    /// <param name="numInputCharacters">Size of what is rendered.</param>
    /// <param name="now">The time that the template may print.</param>
    public RenderRun(string origin, long numInputCharacters, DateTimeOffset now)
    {
        _origin = origin;
        _workLeft = WorkAllowance + (WorkPerInputCharacter * numInputCharacters);
        Now = now;
    }

    /// <summary>The time that the template may print.</summary>
    public DateTimeOffset Now { get; }

    /// <summary>Receives the text.</summary>
    public StringBuilder Output { get; private set; } = new();

    /// <summary>The line being rendered.</summary>
    public int Line { get; private set; }

    /// <summary>Goes one level deeper and counts one unit of work.</summary>
    public void Enter(int line)
    {
        Line = line;
        if (++_depth > DeepestNesting)
        {
            throw Refuse($"nests deeper than {DeepestNesting} while rendering");
        }

        Spend(1);
    }

    /// <summary>Comes back from a level.</summary>
    public void Leave() => _depth--;

    /// <summary>Counts work for a text of some characters.</summary>
    public void SpendText(long numCharacters) => Spend(1 + (numCharacters / CharactersPerUnit));

    /// <summary>Counts work.</summary>
    public void Spend(long units)
    {
        _workLeft -= units;
        if (_workLeft < 0)
        {
            throw Refuse("does more work than a chat template may (loops without end, or text without bound)");
        }
    }

    /// <summary>Writes text.</summary>
    public void Write(string text)
    {
        SpendText(text.Length);
        Output.Append(text);
    }

    /// <summary>Renders statements into a string of their own.</summary>
    public string Capture(Statement[] body, Scope scope)
    {
        StringBuilder outer = Output;
        Output = new StringBuilder();
        Statement.ExecuteAll(body, this, scope);
        string captured = Output.ToString();
        Output = outer;
        return captured;
    }

    /// <summary>A complaint that template and messages do not fit together.</summary>
    public ConfigurationException Fault(string message) => new($"{_origin}: line {Line}: {message}");

    private FileFormatException Refuse(string rule) => new($"{_origin}: line {Line}: the chat template {rule}.");
}

/// <summary>Variables of a stretch of a template; looks outwards for names that it does not have.</summary>
/// <param name="outer">The stretch around it; null for the outermost.</param>
internal sealed class Scope(Scope? outer)
{
    private readonly Scope? _outer = outer;
    private readonly Dictionary<string, object?> _variables = new(StringComparer.Ordinal);

    /// <summary>Sets a variable of this stretch.</summary>
    public void Set(string name, object? value) => _variables[name] = value;

    /// <summary>Finds a variable here or outwards.</summary>
    public bool TryGet(string name, out object? value)
    {
        for (Scope? scope = this; scope is not null; scope = scope._outer)
        {
            if (scope._variables.TryGetValue(name, out value))
            {
                return true;
            }
        }

        value = null;
        return false;
    }
}
