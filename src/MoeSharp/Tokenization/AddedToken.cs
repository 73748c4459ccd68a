namespace MoeSharp.Tokenization;

/// <summary>A token that is matched in the text as a whole, before the model sees it: a special token or a word added later.</summary>
/// <param name="Id">Token id.</param>
/// <param name="Content">The text that it matches.</param>
public sealed record AddedToken(int Id, string Content)
{
    /// <summary>It only matches where no letter, mark, digit or connector touches it.</summary>
    public bool SingleWord { get; init; }

    /// <summary>It swallows the white space before it.</summary>
    public bool StripLeft { get; init; }

    /// <summary>It swallows the white space after it.</summary>
    public bool StripRight { get; init; }

    /// <summary>It is searched in the normalised text, not in the raw text.</summary>
    public bool IsNormalized { get; init; }

    /// <summary>It steers the model and is no text: decoding may skip it.</summary>
    public bool IsSpecial { get; init; }
}
