using System.Buffers.Binary;

namespace MoeSharp.Tokenization;

/// <summary>
/// A table of replacements as SentencePiece compiles it: at each place the longest entry is replaced. The table is a double-array
/// trie of 32-bit units and the replacements, each ended by a zero byte.
/// </summary>
internal sealed class PrecompiledNormalizer : Normalizer
{
    // Published tables stay under 20 bytes for both; the bounds keep hostile ones from quadratic time and from blowing text up.
    private const int LongestEntry = 256;
    private const int LongestReplacement = 1024;

    private readonly uint[] _units;
    private readonly byte[] _replacements;
    private readonly string _file;

    private PrecompiledNormalizer(uint[] units, byte[] replacements, string file)
    {
        _units = units;
        _replacements = replacements;
        _file = file;
    }

    /// <summary>Reads a table.</summary>
    /// <param name="content">Length of the trie in bytes, trie, replacements.</param>
    /// <param name="file">Where it stands, for messages.</param>
    public static PrecompiledNormalizer Parse(ReadOnlySpan<byte> content, string file)
    {
        uint length = content.Length < 4 ? 0 : BinaryPrimitives.ReadUInt32LittleEndian(content);
        if (length < 4 || length % 4 != 0 || length > content.Length - 4)
        {
            throw new FileFormatException($"{file}: the table of replacements (precompiled_charsmap) is cut off or damaged.");
        }

        uint[] units = new uint[length / 4];
        for (int index = 0; index < units.Length; index++)
        {
            units[index] = BinaryPrimitives.ReadUInt32LittleEndian(content[(4 + (4 * index))..]);
        }

        return new PrecompiledNormalizer(units, content[(4 + (int)length)..].ToArray(), file);
    }

    /// <inheritdoc/>
    public override byte[]? Rewrite(ReadOnlySpan<byte> text)
    {
        using MemoryStream rewritten = new(text.Length);
        bool isChanged = false;
        for (int index = 0; index < text.Length;)
        {
            int length = LongestAt(text[index..], out int value);
            if (length > 0)
            {
                rewritten.Write(ReplacementAt(value));
                isChanged = true;
            }
            else
            {
                CodePoint.At(text, index, out length);
                rewritten.Write(text.Slice(index, length));
            }

            index += length;
        }

        // Entries that end inside a character would leave half of it; no published table has any.
        byte[] result = rewritten.ToArray();
        if (isChanged && Utf8Text.FindInvalid(result) >= 0)
        {
            throw Damaged();
        }

        return isChanged ? result : null;
    }

    private int LongestAt(ReadOnlySpan<byte> text, out int value)
    {
        value = 0;
        int longest = 0;
        uint node = Offset(_units[0]);
        for (int index = 0; index < text.Length && index < LongestEntry; index++)
        {
            node ^= text[index];
            uint unit = UnitAt(node);
            if ((unit & 0x800000FF) != text[index])
            {
                break;
            }

            node ^= Offset(unit);
            if ((unit & 0x100) != 0)
            {
                longest = index + 1;
                value = (int)(UnitAt(node) & 0x7FFFFFFF);
            }
        }

        return longest;
    }

    private static uint Offset(uint unit) => (unit >> 10) << (int)((unit & 0x200) >> 6);

    private uint UnitAt(uint node) => node < (uint)_units.Length ? _units[node] : throw Damaged();

    private ReadOnlySpan<byte> ReplacementAt(int start)
    {
        ReadOnlySpan<byte> rest = start < _replacements.Length ? _replacements.AsSpan(start) : throw Damaged();
        int end = rest[..Math.Min(rest.Length, LongestReplacement)].IndexOf((byte)0);
        return end >= 0 ? rest[..end] : throw Damaged();
    }

    private FileFormatException Damaged() => new($"{_file}: the table of replacements (precompiled_charsmap) is damaged.");
}

/// <summary>Drops blanks at the ends of a text and makes one of each run.</summary>
internal sealed class ExtraBlankNormalizer : Normalizer
{
    /// <inheritdoc/>
    public override byte[]? Rewrite(ReadOnlySpan<byte> text)
    {
        byte[] kept = new byte[text.Length];
        int count = 0;
        bool afterBlank = true;
        foreach (byte value in text)
        {
            if (!(value == ' ' && afterBlank))
            {
                kept[count++] = value;
            }

            afterBlank = value == ' ';
        }

        count -= count > 0 && kept[count - 1] == ' ' ? 1 : 0;
        return count == text.Length ? null : kept[..count];
    }
}
