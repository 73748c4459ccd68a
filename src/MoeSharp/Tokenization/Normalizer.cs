using System.Text;

namespace MoeSharp.Tokenization;

/// <summary>One step that rewrites a text before it is cut into pieces.</summary>
internal abstract class Normalizer
{
    /// <summary>The rewritten text; null when nothing changes.</summary>
    /// <param name="text">Valid UTF-8.</param>
    public abstract byte[]? Rewrite(ReadOnlySpan<byte> text);
}

/// <summary>Steps one after another.</summary>
internal sealed class NormalizerSequence(IReadOnlyList<Normalizer> steps) : Normalizer
{
    /// <inheritdoc/>
    public override byte[]? Rewrite(ReadOnlySpan<byte> text)
    {
        byte[]? rewritten = null;
        foreach (Normalizer step in steps)
        {
            rewritten = step.Rewrite(rewritten is null ? text : rewritten) ?? rewritten;
        }

        return rewritten;
    }
}

/// <summary>Leads a text with a string, unless it is empty.</summary>
internal sealed class PrependNormalizer(string prefix) : Normalizer
{
    private readonly byte[] _prefix = Encoding.UTF8.GetBytes(prefix);

    /// <inheritdoc/>
    public override byte[]? Rewrite(ReadOnlySpan<byte> text) => text.IsEmpty ? null : [.. _prefix, .. text];
}

/// <summary>Writes a string in place of every match of a pattern.</summary>
internal sealed class ReplaceNormalizer(SplitPattern pattern, string content) : Normalizer
{
    private readonly byte[] _content = Encoding.UTF8.GetBytes(content);

    /// <inheritdoc/>
    public override byte[]? Rewrite(ReadOnlySpan<byte> text)
    {
        List<Piece> matches = [];
        pattern.FindMatches(text, matches);
        if (matches.Count == 0)
        {
            return null;
        }

        using MemoryStream rewritten = new(text.Length);
        int done = 0;
        foreach (Piece match in matches)
        {
            rewritten.Write(text[done..match.Start]);
            rewritten.Write(_content);
            done = match.End;
        }

        rewritten.Write(text[done..]);
        return rewritten.ToArray();
    }
}

/// <summary>Removes white space from the ends of a text.</summary>
internal sealed class StripNormalizer(bool left, bool right) : Normalizer
{
    /// <inheritdoc/>
    public override byte[]? Rewrite(ReadOnlySpan<byte> text)
    {
        int start = left ? CodePoint.SkipWhile(text, 0, CharacterClass.WhiteSpace) : 0;
        int end = text.Length;
        while (right && end > start && (CodePoint.ClassOf(CodePoint.Before(text, end, out int length)) & CharacterClass.WhiteSpace) != 0)
        {
            end -= length;
        }

        return end - start == text.Length ? null : text[start..end].ToArray();
    }
}

/// <summary>Lower case, character by character, without regard to language.</summary>
internal sealed class LowercaseNormalizer : Normalizer
{
    /// <inheritdoc/>
    public override byte[]? Rewrite(ReadOnlySpan<byte> text)
    {
        StringBuilder lower = new(text.Length);
        foreach (Rune rune in Encoding.UTF8.GetString(text).EnumerateRunes())
        {
            // U+0130 is the one character whose full lower case is two characters.
            lower.Append(rune.Value == 0x130 ? "i\u0307" : Rune.ToLowerInvariant(rune).ToString());
        }

        return Encoding.UTF8.GetBytes(lower.ToString());
    }
}
