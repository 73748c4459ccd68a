namespace MoeSharp.Tokenization.Chat;

/// <summary>What a token of a template is.</summary>
internal enum TokenKind
{
    /// <summary>Text between tags.</summary>
    Plain,

    /// <summary>The start of <c>{{ }}</c>.</summary>
    OutputStart,

    /// <summary>The end of <c>{{ }}</c>.</summary>
    OutputEnd,

    /// <summary>The start of <c>{% %}</c>.</summary>
    BlockStart,

    /// <summary>The end of <c>{% %}</c>.</summary>
    BlockEnd,

    /// <summary>A name or keyword.</summary>
    Name,

    /// <summary>A string, without its quotes and escapes.</summary>
    Quoted,

    /// <summary>A whole number.</summary>
    Integer,

    /// <summary>A number with a point or an exponent.</summary>
    Float,

    /// <summary>An operator or bracket.</summary>
    Operator,

    /// <summary>The end of the template.</summary>
    End,
}

/// <summary>A token of a template.</summary>
/// <param name="Kind">What it is.</param>
/// <param name="Text">Its text.</param>
/// <param name="Line">The line where it begins, from 1.</param>
internal readonly record struct TemplateToken(TokenKind Kind, string Text, int Line);
