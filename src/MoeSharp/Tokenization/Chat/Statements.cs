namespace MoeSharp.Tokenization.Chat;

/// <summary>Where rendering goes on after a statement.</summary>
internal enum Flow
{
    /// <summary>At the next statement.</summary>
    Next,

    /// <summary>After the loop.</summary>
    Break,

    /// <summary>At the next round of the loop.</summary>
    Continue,
}

/// <summary>A statement of a template.</summary>
/// <param name="Line">The line where it begins.</param>
internal abstract record Statement(int Line)
{
    /// <summary>Renders statements in order, up to a break or continue.</summary>
    public static Flow ExecuteAll(Statement[] statements, RenderRun run, Scope scope)
    {
        foreach (Statement statement in statements)
        {
            run.Enter(statement.Line);
            Flow flow = statement.Execute(run, scope);
            run.Leave();
            if (flow != Flow.Next)
            {
                return flow;
            }
        }

        return Flow.Next;
    }

    /// <summary>Renders it.</summary>
    protected abstract Flow Execute(RenderRun run, Scope scope);
}

/// <summary>Text between tags.</summary>
internal sealed record PlainStatement(string Text, int Line) : Statement(Line)
{
    /// <inheritdoc/>
    protected override Flow Execute(RenderRun run, Scope scope)
    {
        run.Write(Text);
        return Flow.Next;
    }
}

/// <summary><c>{{ value }}</c>.</summary>
internal sealed record OutputStatement(Expression Value, int Line) : Statement(Line)
{
    /// <inheritdoc/>
    protected override Flow Execute(RenderRun run, Scope scope)
    {
        run.Write(ValueText.Of(Value.Evaluate(run, scope), run));
        return Flow.Next;
    }
}

/// <summary>One arm of an if.</summary>
internal sealed record IfBranch(Expression Condition, Statement[] Body);

/// <summary><c>{% if %} {% elif %} {% else %}</c>; variables set inside live on after it.</summary>
internal sealed record IfStatement(IfBranch[] Branches, Statement[] Otherwise, int Line) : Statement(Line)
{
    /// <inheritdoc/>
    protected override Flow Execute(RenderRun run, Scope scope)
    {
        foreach (IfBranch branch in Branches)
        {
            if (ValueRules.IsTrue(branch.Condition.Evaluate(run, scope)))
            {
                return ExecuteAll(branch.Body, run, scope);
            }
        }

        return ExecuteAll(Otherwise, run, scope);
    }
}

/// <summary><c>{% for %}</c>; variables set inside end with each round.</summary>
internal sealed record ForStatement(string[] Targets, Expression Items, Expression? Filter, Statement[] Body, Statement[] Otherwise, int Line)
    : Statement(Line)
{
    /// <inheritdoc/>
    protected override Flow Execute(RenderRun run, Scope scope)
    {
        IReadOnlyList<object?> items = ValueRules.ItemsOf(Items.Evaluate(run, scope), run);
        items = Filter is null ? items : Select(items, run, scope);
        LoopValue loop = new(items, LoopValue.DepthIn(scope));
        for (int index = 0; index < items.Count; index++)
        {
            loop.Index = index;
            Scope round = new(scope);
            round.Set("loop", loop);
            Bind(Targets, items[index], run, round);
            if (ExecuteAll(Body, run, round) == Flow.Break)
            {
                break;
            }
        }

        return items.Count == 0 ? ExecuteAll(Otherwise, run, scope) : Flow.Next;
    }

    /// <summary>Sets one variable, or several from the items of a value.</summary>
    internal static void Bind(string[] targets, object? value, RenderRun run, Scope scope)
    {
        if (targets.Length == 1)
        {
            scope.Set(targets[0], value);
            return;
        }

        IReadOnlyList<object?> parts = ValueRules.ItemsOf(value, run);
        if (parts.Count != targets.Length)
        {
            throw run.Fault($"{parts.Count} values cannot be given to the {targets.Length} names {string.Join(", ", targets)}");
        }

        for (int index = 0; index < targets.Length; index++)
        {
            scope.Set(targets[index], parts[index]);
        }
    }

    private List<object?> Select(IReadOnlyList<object?> items, RenderRun run, Scope scope)
    {
        List<object?> selected = [];
        foreach (object? item in items)
        {
            Scope round = new(scope);
            Bind(Targets, item, run, round);
            if (ValueRules.IsTrue(Filter!.Evaluate(run, round))) // Not null: the caller checks.
            {
                selected.Add(item);
            }
        }

        return selected;
    }
}

/// <summary><c>{% set a = value %}</c>.</summary>
internal sealed record SetStatement(string[] Targets, Expression Value, int Line) : Statement(Line)
{
    /// <inheritdoc/>
    protected override Flow Execute(RenderRun run, Scope scope)
    {
        ForStatement.Bind(Targets, Value.Evaluate(run, scope), run, scope);
        return Flow.Next;
    }
}

/// <summary><c>{% set a.b = value %}</c>, which only namespaces allow.</summary>
internal sealed record SetMemberStatement(string Owner, string Member, Expression Value, int Line) : Statement(Line)
{
    /// <inheritdoc/>
    protected override Flow Execute(RenderRun run, Scope scope)
    {
        if (!scope.TryGet(Owner, out object? owner) || owner is not NamespaceValue members)
        {
            throw run.Fault($"'{Owner}' is not a namespace, so '{Owner}.{Member}' cannot be set");
        }

        members.Set(Member, Value.Evaluate(run, scope));
        return Flow.Next;
    }
}

/// <summary><c>{% set a %}text{% endset %}</c>.</summary>
internal sealed record SetBlockStatement(string Target, AppliedFilter[] Filters, Statement[] Body, int Line) : Statement(Line)
{
    /// <inheritdoc/>
    protected override Flow Execute(RenderRun run, Scope scope)
    {
        object? value = run.Capture(Body, new Scope(scope));
        foreach (AppliedFilter filter in Filters)
        {
            value = filter.Apply(value, run, scope);
        }

        scope.Set(Target, value);
        return Flow.Next;
    }
}

/// <summary><c>{% filter name %}text{% endfilter %}</c>.</summary>
internal sealed record FilterStatement(AppliedFilter[] Filters, Statement[] Body, int Line) : Statement(Line)
{
    /// <inheritdoc/>
    protected override Flow Execute(RenderRun run, Scope scope)
    {
        object? value = run.Capture(Body, new Scope(scope));
        foreach (AppliedFilter filter in Filters)
        {
            value = filter.Apply(value, run, scope);
        }

        run.Write(ValueText.Of(value, run));
        return Flow.Next;
    }
}

/// <summary><c>{% with a = value %}text{% endwith %}</c>.</summary>
internal sealed record WithStatement(KeyValuePair<string, Expression>[] Variables, Statement[] Body, int Line) : Statement(Line)
{
    /// <inheritdoc/>
    protected override Flow Execute(RenderRun run, Scope scope)
    {
        Scope inner = new(scope);
        foreach ((string name, Expression value) in Variables)
        {
            inner.Set(name, value.Evaluate(run, scope));
        }

        return ExecuteAll(Body, run, inner);
    }
}

/// <summary><c>{% macro name(parameters) %}</c>.</summary>
internal sealed record MacroStatement(MacroDefinition Macro, int Line) : Statement(Line)
{
    /// <inheritdoc/>
    protected override Flow Execute(RenderRun run, Scope scope)
    {
        scope.Set(Macro.Name, new MacroValue(Macro, scope));
        return Flow.Next;
    }
}

/// <summary><c>{% call macro() %}text{% endcall %}</c>: the macro gets the text as <c>caller</c>.</summary>
internal sealed record CallStatement(CallExpression Call, MacroDefinition Caller, int Line) : Statement(Line)
{
    /// <inheritdoc/>
    protected override Flow Execute(RenderRun run, Scope scope)
    {
        run.Write(ValueText.Of(Call.Invoke(run, scope, new MacroValue(Caller, scope)), run));
        return Flow.Next;
    }
}

/// <summary><c>{% break %}</c> and <c>{% continue %}</c>.</summary>
internal sealed record JumpStatement(Flow Flow, int Line) : Statement(Line)
{
    /// <inheritdoc/>
    protected override Flow Execute(RenderRun run, Scope scope) => Flow;
}
