namespace MoeSharp.Tokenization.Chat;

// Values are null (none), bool, long, double, string, and the classes below.

/// <summary>What a name stands for that nothing was given for: empty as text, false as a condition, an error for most else.</summary>
/// <param name="Name">The name, for messages.</param>
internal sealed record UndefinedValue(string Name);

/// <summary>A list, or a tuple.</summary>
internal sealed class ListValue(IReadOnlyList<object?> items, bool isTuple = false)
{
    /// <summary>The items.</summary>
    public IReadOnlyList<object?> Items { get; } = items;

    /// <summary>It prints in round brackets.</summary>
    public bool IsTuple { get; } = isTuple;
}

/// <summary>A mapping from text, in the order of insertion.</summary>
internal sealed class MapValue : OrderedDictionary<string, object?>
{
    /// <summary>An empty mapping.</summary>
    public MapValue()
        : base(StringComparer.Ordinal)
    {
    }

    /// <summary>The keys and values as tuples.</summary>
    public ListValue Entries(RenderRun run)
    {
        run.Spend(Count);
        return new ListValue([.. this.Select(entry => new ListValue([entry.Key, entry.Value], isTuple: true))]);
    }

    /// <summary>Finds the value of a key, which a template may have made as long as it likes: hashing it is work.</summary>
    public bool TryFind(string key, RenderRun run, out object? value)
    {
        run.SpendText(key.Length);
        return TryGetValue(key, out value);
    }

    /// <summary>Sets the value of a key.</summary>
    public void Put(string key, object? value, RenderRun run)
    {
        run.SpendText(key.Length);
        this[key] = value;
    }
}

/// <summary>A value with attributes of its own.</summary>
internal interface IMemberOwner
{
    /// <summary>Finds an attribute.</summary>
    bool TryGetMember(string name, out object? value);
}

/// <summary>The one value whose members a template may set, so that loops can leave results.</summary>
internal sealed class NamespaceValue : IMemberOwner
{
    private readonly Dictionary<string, object?> _members = new(StringComparer.Ordinal);

    /// <summary>Sets a member.</summary>
    public void Set(string name, object? value) => _members[name] = value;

    /// <inheritdoc/>
    public bool TryGetMember(string name, out object? value) => _members.TryGetValue(name, out value);
}

/// <summary>The variable <c>loop</c> of a for statement.</summary>
internal sealed class LoopValue(IReadOnlyList<object?> items, int depth) : IMemberOwner
{
    private object? _lastChanged = ArgumentValues.Missing;

    /// <summary>The round, from 0.</summary>
    public int Index { get; set; }

    /// <summary>How deep a loop in this stretch would be, from 1.</summary>
    public static int DepthIn(Scope scope) => scope.TryGet("loop", out object? outer) && outer is LoopValue loop ? loop.Depth + 1 : 1;

    /// <summary>Loops around it, itself included.</summary>
    public int Depth { get; } = depth;

    /// <inheritdoc/>
    public bool TryGetMember(string name, out object? value)
    {
        value = name switch
        {
            "index" => (object)((long)Index + 1),
            "index0" => (long)Index,
            "revindex" => (long)items.Count - Index,
            "revindex0" => (long)items.Count - Index - 1,
            "first" => Index == 0,
            "last" => Index == items.Count - 1,
            "length" => (long)items.Count,
            "depth" => (long)Depth,
            "depth0" => (long)Depth - 1,
            "previtem" => Index > 0 ? items[Index - 1] : new UndefinedValue("loop.previtem"),
            "nextitem" => Index + 1 < items.Count ? items[Index + 1] : new UndefinedValue("loop.nextitem"),
            "cycle" => new FunctionValue("loop.cycle", Cycle),
            "changed" => new FunctionValue("loop.changed", HasChanged),
            _ => ArgumentValues.Missing,
        };
        return value != ArgumentValues.Missing;
    }

    private object? Cycle(ArgumentValues arguments, RenderRun run) => arguments.Positional.Count > 0
        ? arguments.Positional[Index % arguments.Positional.Count]
        : throw run.Fault("loop.cycle needs values to cycle through");

    private object? HasChanged(ArgumentValues arguments, RenderRun run)
    {
        ListValue value = new([.. arguments.Positional], isTuple: true);
        bool isSame = _lastChanged is ListValue last && ValueRules.AreEqual(last, value, run);
        _lastChanged = value;
        return !isSame;
    }
}

/// <summary>A value that can be called.</summary>
internal abstract class CallableValue
{
    /// <summary>Calls it.</summary>
    public abstract object? Invoke(ArgumentValues arguments, RenderRun run);
}

/// <summary>A function that the renderer brings along, or a method of a value.</summary>
internal sealed class FunctionValue(string name, Func<ArgumentValues, RenderRun, object?> body) : CallableValue
{
    /// <summary>Its name, for messages.</summary>
    public string Name { get; } = name;

    /// <inheritdoc/>
    public override object? Invoke(ArgumentValues arguments, RenderRun run) => body(arguments, run);
}

/// <summary>A parameter of a macro.</summary>
internal sealed record Parameter(string Name, Expression? Default);

/// <summary>A macro as written.</summary>
internal sealed record MacroDefinition(string Name, Parameter[] Parameters, Statement[] Body, int Line);

/// <summary>A macro where it was defined; calling it gives its text.</summary>
internal sealed class MacroValue(MacroDefinition macro, Scope definedIn) : CallableValue, IMemberOwner
{
    private readonly string[] _names = [.. macro.Parameters.Select(parameter => parameter.Name)];

    /// <inheritdoc/>
    public bool TryGetMember(string name, out object? value)
    {
        value = macro.Name;
        return name == "name";
    }

    /// <inheritdoc/>
    public override object? Invoke(ArgumentValues arguments, RenderRun run)
    {
        Scope scope = new(definedIn);
        if (arguments.Named.Remove("caller", out object? caller))
        {
            scope.Set("caller", caller);
        }

        object?[] bound = arguments.Bind($"the macro {macro.Name}", run, _names);
        for (int index = 0; index < bound.Length; index++)
        {
            object? value = bound[index];
            if (value == ArgumentValues.Missing)
            {
                value = macro.Parameters[index].Default?.Evaluate(run, scope) ?? (macro.Parameters[index].Default is null ? new UndefinedValue(_names[index]) : null);
            }

            scope.Set(_names[index], value);
        }

        return run.Capture(macro.Body, scope);
    }
}
