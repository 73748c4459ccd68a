namespace MoeSharp.Tokenization;

/// <summary>Which special tokens stand before and after an encoded text.</summary>
/// <param name="Before">Ids before the text.</param>
/// <param name="After">Ids after the text.</param>
internal sealed record SpecialTokenTemplate(IReadOnlyList<int> Before, IReadOnlyList<int> After)
{
    /// <summary>Nothing before, nothing after.</summary>
    public static readonly SpecialTokenTemplate None = new([], []);
}
