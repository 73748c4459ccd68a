namespace MoeSharp.Tokenization;

/// <summary>The text of a chat template that came with a vocabulary.</summary>
/// <param name="Name">What it is for: <see cref="DefaultName"/>, <see cref="ToolName"/> or a name of the model's own.</param>
/// <param name="Source">The template.</param>
/// <param name="Origin">Where it stands, for messages.</param>
public sealed record ChatTemplateText(string Name, string Source, string Origin)
{
    /// <summary>Name of the template for conversations.</summary>
    public const string DefaultName = "default";

    /// <summary>Name of the template for conversations with tools, where a model has one of its own for them.</summary>
    public const string ToolName = "tool_use";
}
