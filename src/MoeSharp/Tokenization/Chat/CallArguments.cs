namespace MoeSharp.Tokenization.Chat;

/// <summary>Arguments as written.</summary>
/// <param name="Positional">Those without a name.</param>
/// <param name="Named">Those with a name; a star or two as name unpack a list or a mapping.</param>
internal sealed record CallArguments(Expression[] Positional, KeyValuePair<string, Expression>[] Named)
{
    /// <summary>Stands for the name of a list whose items are arguments.</summary>
    public const string UnpackedList = "*";

    /// <summary>Stands for the name of a mapping whose entries are named arguments.</summary>
    public const string UnpackedMap = "**";

    /// <summary>No arguments.</summary>
    public static readonly CallArguments None = new([], []);

    /// <summary>Their values.</summary>
    public ArgumentValues Evaluate(RenderRun run, Scope scope)
    {
        ArgumentValues values = new();
        foreach (Expression argument in Positional)
        {
            values.Positional.Add(argument.Evaluate(run, scope));
        }

        foreach ((string name, Expression argument) in Named)
        {
            object? value = argument.Evaluate(run, scope);
            switch (name)
            {
                case UnpackedList:
                    values.Positional.AddRange(ValueRules.ItemsOf(value, run));
                    break;
                case UnpackedMap:
                    values.AddNamed(value as MapValue ?? throw run.Fault($"'**' unpacks mappings, not {ValueRules.KindOf(value)}"), run);
                    break;
                default:
                    values.Named[name] = value;
                    break;
            }
        }

        return values;
    }
}

/// <summary>Values of arguments.</summary>
internal sealed class ArgumentValues
{
    /// <summary>Stands for an argument that was not given.</summary>
    public static readonly object Missing = new();

    /// <summary>Those without a name.</summary>
    public List<object?> Positional { get; init; } = [];

    /// <summary>Those with a name.</summary>
    public Dictionary<string, object?> Named { get; } = new(StringComparer.Ordinal);

    /// <summary>Adds the entries of a mapping.</summary>
    public void AddNamed(MapValue map, RenderRun run)
    {
        foreach ((string name, object? value) in map)
        {
            run.SpendText(name.Length);
            Named[name] = value;
        }
    }

    /// <summary>Puts arguments into the order of their names; <see cref="Missing"/> where none was given.</summary>
    /// <param name="callee">What is called, for messages.</param>
    /// <param name="run">The rendering.</param>
    /// <param name="names">Names of the parameters.</param>
    public object?[] Bind(string callee, RenderRun run, params string[] names)
    {
        if (Positional.Count > names.Length)
        {
            throw run.Fault($"{callee} takes at most {names.Length} arguments, not {Positional.Count}");
        }

        object?[] bound = new object?[names.Length];
        Array.Fill(bound, Missing);
        Positional.CopyTo(bound);
        foreach ((string name, object? value) in Named)
        {
            int index = Array.IndexOf(names, name);
            if (index < 0 || bound[index] != Missing)
            {
                throw run.Fault(index < 0 ? $"{callee} has no argument '{name}'" : $"{callee} is given '{name}' twice");
            }

            bound[index] = value;
        }

        return bound;
    }
}
