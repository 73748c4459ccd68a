namespace MoeSharp.Data;

/// <summary>One text with where it comes from.</summary>
/// <param name="Text">The whole text.</param>
/// <param name="Domain">Kind of text, for statistics by kind; empty where unknown.</param>
/// <param name="Source">File, or generator with seed and number.</param>
public sealed record Document(string Text, string Domain, string Source);

/// <summary>A natural language of the synthetic corpus.</summary>
public enum Language
{
    /// <summary>English.</summary>
    English,

    /// <summary>Chinese.</summary>
    Chinese,
}
