namespace MoeSharp.Tokenization.Chat;

/// <summary>An expression of a template.</summary>
/// <param name="Line">The line where it stands.</param>
internal abstract record Expression(int Line)
{
    /// <summary>Its value.</summary>
    public object? Evaluate(RenderRun run, Scope scope)
    {
        run.Enter(Line);
        object? value = Compute(run, scope);
        run.Leave();
        return value;
    }

    /// <summary>Its value.</summary>
    protected abstract object? Compute(RenderRun run, Scope scope);
}

/// <summary>A value written in the template.</summary>
internal sealed record ConstantExpression(object? Value, int Line) : Expression(Line)
{
    /// <inheritdoc/>
    protected override object? Compute(RenderRun run, Scope scope) => Value;
}

/// <summary>A variable, or a function that every template has.</summary>
internal sealed record NameExpression(string Name, int Line) : Expression(Line)
{
    /// <inheritdoc/>
    protected override object? Compute(RenderRun run, Scope scope) =>
        scope.TryGet(Name, out object? value) ? value : TemplateFunctions.Find(Name) ?? (object)new UndefinedValue(Name);
}

/// <summary><c>[a, b]</c> and <c>(a, b)</c>.</summary>
internal sealed record ListExpression(Expression[] Items, bool IsTuple, int Line) : Expression(Line)
{
    /// <inheritdoc/>
    protected override object? Compute(RenderRun run, Scope scope)
    {
        List<object?> values = new(Items.Length);
        foreach (Expression item in Items)
        {
            values.Add(item.Evaluate(run, scope));
        }

        return new ListValue(values, IsTuple);
    }
}

/// <summary><c>{'a': b}</c>.</summary>
internal sealed record MapExpression(KeyValuePair<Expression, Expression>[] Entries, int Line) : Expression(Line)
{
    /// <inheritdoc/>
    protected override object? Compute(RenderRun run, Scope scope)
    {
        MapValue map = new();
        foreach ((Expression key, Expression value) in Entries)
        {
            string name = key.Evaluate(run, scope) as string ?? throw run.Fault("only text can be the key of a mapping");
            map.Put(name, value.Evaluate(run, scope), run);
        }

        return map;
    }
}

/// <summary><c>a.b</c>: a method or attribute, else an entry of that name.</summary>
internal sealed record MemberExpression(Expression Owner, string Name, int Line) : Expression(Line)
{
    /// <inheritdoc/>
    protected override object? Compute(RenderRun run, Scope scope) => ValueRules.MemberOf(Owner.Evaluate(run, scope), Name, run);
}

/// <summary><c>a[b]</c>: an entry, else a method or attribute of that name.</summary>
internal sealed record ItemExpression(Expression Owner, Expression Key, int Line) : Expression(Line)
{
    /// <inheritdoc/>
    protected override object? Compute(RenderRun run, Scope scope)
    {
        object? owner = Owner.Evaluate(run, scope);
        return ValueRules.ItemOf(owner, Key.Evaluate(run, scope), run);
    }
}

/// <summary><c>a[start:stop:step]</c>.</summary>
internal sealed record SliceExpression(Expression Owner, Expression? Start, Expression? Stop, Expression? Step, int Line) : Expression(Line)
{
    /// <inheritdoc/>
    protected override object? Compute(RenderRun run, Scope scope)
    {
        object? owner = Owner.Evaluate(run, scope);
        return ValueSlice.Of(owner, Bound(Start, run, scope), Bound(Stop, run, scope), Bound(Step, run, scope), run);
    }

    private static long? Bound(Expression? expression, RenderRun run, Scope scope) => expression?.Evaluate(run, scope) switch
    {
        null => null,
        object value => ValueRules.WholeNumber(value) ?? throw run.Fault($"a slice cannot begin, end or step by {ValueRules.KindOf(value)}"),
    };
}

/// <summary><c>a if condition else b</c>.</summary>
internal sealed record ConditionExpression(Expression Condition, Expression Value, Expression? Otherwise, int Line) : Expression(Line)
{
    /// <inheritdoc/>
    protected override object? Compute(RenderRun run, Scope scope)
    {
        if (ValueRules.IsTrue(Condition.Evaluate(run, scope)))
        {
            return Value.Evaluate(run, scope);
        }

        return Otherwise is null ? new UndefinedValue("the inline if without else") : Otherwise.Evaluate(run, scope);
    }
}

/// <summary><c>a and b</c>, <c>a or b</c>: the side that decides is the value.</summary>
internal sealed record LogicExpression(bool IsOr, Expression Left, Expression Right, int Line) : Expression(Line)
{
    /// <inheritdoc/>
    protected override object? Compute(RenderRun run, Scope scope)
    {
        object? left = Left.Evaluate(run, scope);
        return ValueRules.IsTrue(left) == IsOr ? left : Right.Evaluate(run, scope);
    }
}

/// <summary><c>not a</c>.</summary>
internal sealed record NotExpression(Expression Operand, int Line) : Expression(Line)
{
    /// <inheritdoc/>
    protected override object? Compute(RenderRun run, Scope scope) => !ValueRules.IsTrue(Operand.Evaluate(run, scope));
}

/// <summary><c>-a</c> and <c>+a</c>.</summary>
internal sealed record SignExpression(bool IsNegative, Expression Operand, int Line) : Expression(Line)
{
    /// <inheritdoc/>
    protected override object? Compute(RenderRun run, Scope scope)
    {
        object? operand = Operand.Evaluate(run, scope);
        return operand is double number
            ? IsNegative ? -number : number
            : ValueArithmetic.Compute(IsNegative ? "-" : "+", 0L, operand, run);
    }
}

/// <summary>One step of a comparison chain.</summary>
internal sealed record Comparison(string Symbol, Expression Operand);

/// <summary><c>a &lt; b &lt;= c</c>: every neighbouring pair must hold.</summary>
internal sealed record CompareExpression(Expression First, Comparison[] Comparisons, int Line) : Expression(Line)
{
    /// <inheritdoc/>
    protected override object? Compute(RenderRun run, Scope scope)
    {
        object? left = First.Evaluate(run, scope);
        foreach (Comparison comparison in Comparisons)
        {
            object? right = comparison.Operand.Evaluate(run, scope);
            if (!ValueRules.Holds(comparison.Symbol, left, right, run))
            {
                return false;
            }

            left = right;
        }

        return true;
    }
}

/// <summary>Arithmetic of two values; <c>+</c> also joins texts and lists.</summary>
internal sealed record ArithmeticExpression(string Symbol, Expression Left, Expression Right, int Line) : Expression(Line)
{
    /// <inheritdoc/>
    protected override object? Compute(RenderRun run, Scope scope)
    {
        object? left = Left.Evaluate(run, scope);
        return ValueArithmetic.Compute(Symbol, left, Right.Evaluate(run, scope), run);
    }
}

/// <summary><c>a ~ b</c>: the texts of all values joined.</summary>
internal sealed record ConcatenationExpression(Expression[] Parts, int Line) : Expression(Line)
{
    /// <inheritdoc/>
    protected override object? Compute(RenderRun run, Scope scope)
    {
        System.Text.StringBuilder text = new();
        foreach (Expression part in Parts)
        {
            string piece = ValueText.Of(part.Evaluate(run, scope), run);
            run.SpendText(piece.Length);
            text.Append(piece);
        }

        return text.ToString();
    }
}

/// <summary><c>a | filter</c>.</summary>
internal sealed record FilterExpression(Expression Operand, AppliedFilter Filter) : Expression(Filter.Line)
{
    /// <inheritdoc/>
    protected override object? Compute(RenderRun run, Scope scope) => Filter.Apply(Operand.Evaluate(run, scope), run, scope);
}

/// <summary><c>a is test</c>.</summary>
internal sealed record TestExpression(Expression Operand, AppliedTest Test, bool IsNegated, int Line) : Expression(Line)
{
    /// <inheritdoc/>
    protected override object? Compute(RenderRun run, Scope scope)
    {
        object? operand = Operand.Evaluate(run, scope);
        return Test.Test(operand, Test.Arguments.Evaluate(run, scope), run) != IsNegated;
    }
}

/// <summary><c>a(b, c=d)</c>.</summary>
internal sealed record CallExpression(Expression Callee, CallArguments Arguments, int Line) : Expression(Line)
{
    /// <summary>Calls; a macro called by a call block gets its <c>caller</c>.</summary>
    public object? Invoke(RenderRun run, Scope scope, MacroValue? caller)
    {
        object? callee = Callee.Evaluate(run, scope);
        ArgumentValues arguments = Arguments.Evaluate(run, scope);
        if (caller is not null)
        {
            arguments.Named["caller"] = caller;
        }

        return callee is CallableValue callable ? callable.Invoke(arguments, run) : throw run.Fault($"{Describe(callee)} cannot be called");
    }

    /// <inheritdoc/>
    protected override object? Compute(RenderRun run, Scope scope) => Invoke(run, scope, caller: null);

    private static string Describe(object? callee) => callee is UndefinedValue missing ? $"'{missing.Name}' is undefined and" : ValueRules.KindOf(callee);
}

/// <summary>A filter with its arguments.</summary>
internal sealed record AppliedFilter(string Name, TemplateFilter Filter, CallArguments Arguments, int Line)
{
    /// <summary>Applies it.</summary>
    public object? Apply(object? value, RenderRun run, Scope scope) => Filter(value, Arguments.Evaluate(run, scope), run);
}

/// <summary>A test with its arguments.</summary>
internal sealed record AppliedTest(string Name, TemplateTest Test, CallArguments Arguments);
