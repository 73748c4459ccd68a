namespace MoeSharp.Tokenization;

/// <summary>A stretch of a text: start and length in bytes.</summary>
internal readonly record struct Piece(int Start, int Length)
{
    /// <summary>The index after the last byte.</summary>
    public int End => Start + Length;
}

/// <summary>A pattern searched in UTF-8 text. The built-in patterns read code points by hand, in time linear in the text.</summary>
internal abstract class SplitPattern
{
    /// <summary>Appends every match in <paramref name="text"/>, in order, none overlapping, none empty.</summary>
    /// <param name="text">Valid UTF-8.</param>
    /// <param name="matches">Receives the matches; earlier content is kept.</param>
    public abstract void FindMatches(ReadOnlySpan<byte> text, List<Piece> matches);
}
