namespace MoeSharp.Tokenization;

/// <summary>A part of a regular expression.</summary>
internal abstract record RegexNode;

/// <summary>One character out of a set.</summary>
internal sealed record SetNode(CodeSet Set) : RegexNode;

/// <summary>Parts one after another.</summary>
internal sealed record SequenceNode(IReadOnlyList<RegexNode> Parts) : RegexNode;

/// <summary>Parts of which the first that matches is taken.</summary>
internal sealed record AlternativesNode(IReadOnlyList<RegexNode> Parts) : RegexNode;

/// <summary>A part several times.</summary>
/// <param name="Part">What is repeated.</param>
/// <param name="Min">At least so often.</param>
/// <param name="Max">At most so often; null without bound.</param>
/// <param name="IsLazy">As seldom as possible.</param>
internal sealed record RepeatNode(RegexNode Part, int Min, int? Max, bool IsLazy) : RegexNode;

/// <summary>A place in the text, or what stands before or after it.</summary>
/// <param name="Kind">Which.</param>
/// <param name="Set">The set of which a character stands there.</param>
/// <param name="Part">The part that matches there.</param>
internal sealed record AssertionNode(AssertionKind Kind, CodeSet? Set = null, RegexNode? Part = null) : RegexNode;

/// <summary>What an assertion asks for.</summary>
internal enum AssertionKind
{
    /// <summary>The start of a line.</summary>
    LineStart,

    /// <summary>The end of a line.</summary>
    LineEnd,

    /// <summary>The start of the text.</summary>
    TextStart,

    /// <summary>The end of the text.</summary>
    TextEnd,

    /// <summary>One side is a word character, the other is not.</summary>
    WordEdge,

    /// <summary>Both sides or neither are word characters.</summary>
    NoWordEdge,

    /// <summary>A character of a set comes next.</summary>
    SetAfter,

    /// <summary>No character of a set comes next.</summary>
    NoSetAfter,

    /// <summary>A character of a set stands before.</summary>
    SetBefore,

    /// <summary>No character of a set stands before.</summary>
    NoSetBefore,

    /// <summary>A part matches from here.</summary>
    PartAfter,

    /// <summary>A part does not match from here.</summary>
    NoPartAfter,
}
