using System.Globalization;
using System.Text;

namespace MoeSharp.Tokenization;

/// <summary>A set of code points that a regular expression names: <c>\p{Lu}</c>, <c>[^\s\p{Han}]</c>, <c>a</c>.</summary>
/// <param name="contains">Says whether a code point is in it.</param>
internal sealed class CodeSet(Func<int, bool> contains)
{
    private const int PageBits = 8;
    private const int PageSize = 1 << PageBits;

    // Filled page by page when first asked; concurrent askers compute the same page.
    private readonly ulong[]?[] _pages = new ulong[0x10000 / PageSize][];

    /// <summary>Says whether a code point is in the set.</summary>
    public bool Contains(int codePoint)
    {
        if (codePoint >= 0x10000)
        {
            return contains(codePoint);
        }

        ulong[] page = _pages[codePoint >> PageBits] ?? Fill(codePoint >> PageBits);
        return (page[(codePoint & (PageSize - 1)) >> 6] >> (codePoint & 63) & 1) != 0;
    }

    /// <summary>Everything but this.</summary>
    public CodeSet Not() => new(codePoint => !contains(codePoint));

    /// <summary>What is in any of the ranges or sets.</summary>
    /// <param name="ranges">First and last code points, in any order.</param>
    /// <param name="sets">Sets; few, for each is asked.</param>
    public static CodeSet AnyOf(IEnumerable<(int First, int Last)> ranges, IReadOnlyList<CodeSet> sets)
    {
        int[] merged = Merge(ranges);
        Func<int, bool>[] rules = [.. sets.Select(set => set.Rule)];
        return new CodeSet(codePoint => IsInside(merged, codePoint) || Array.Exists(rules, rule => rule(codePoint)));
    }

    /// <summary>What is in both.</summary>
    public CodeSet And(CodeSet other)
    {
        Func<int, bool> left = contains;
        Func<int, bool> right = other.Rule;
        return new CodeSet(codePoint => left(codePoint) && right(codePoint));
    }

    /// <summary>The set without regard to case, in the simple sense: one character to one.</summary>
    public CodeSet IgnoringCase()
    {
        Func<int, bool> exact = contains;
        return new CodeSet(codePoint => exact(codePoint) || (Rune.IsValid(codePoint) && HasOtherCase(exact, new Rune(codePoint))));
    }

    /// <summary>Code points from one to another.</summary>
    public static CodeSet Range(int first, int last) => new(codePoint => codePoint >= first && codePoint <= last);

    /// <summary>Code points of some classes.</summary>
    public static CodeSet Of(CharacterClass classes) => new(codePoint => (CodePoint.ClassOf(codePoint) & classes) != 0);

    /// <summary>Code points of ranges in order, pairs of first and last.</summary>
    public static CodeSet Of(int[] ranges) => new(codePoint => IsInside(ranges, codePoint));

    private Func<int, bool> Rule => contains;

    /// <summary>Ranges in order, as pairs of first and last; those that overlap or touch are joined.</summary>
    public static int[] Merge(IEnumerable<(int First, int Last)> ranges)
    {
        List<int> merged = [];
        foreach ((int first, int last) in ranges.Order())
        {
            if (merged.Count > 0 && first <= merged[^1] + 1)
            {
                merged[^1] = Math.Max(merged[^1], last);
            }
            else
            {
                merged.Add(first);
                merged.Add(last);
            }
        }

        return [.. merged];
    }

    private static bool IsInside(int[] ranges, int codePoint)
    {
        // Found at an odd place, or exactly at the first of a pair, the code point lies inside one.
        int found = Array.BinarySearch(ranges, codePoint);
        return found >= 0 || (~found & 1) != 0;
    }

    private static bool HasOtherCase(Func<int, bool> exact, Rune rune)
    {
        // The two characters beyond ASCII that fold to ASCII letters; the invariant culture leaves them alone.
        Rune plain = rune.Value switch
        {
            0x17F => new Rune('s'),
            0x212A => new Rune('k'),
            _ => rune,
        };
        return exact(Rune.ToUpperInvariant(plain).Value) || exact(Rune.ToLowerInvariant(plain).Value);
    }

    private ulong[] Fill(int page)
    {
        ulong[] bits = new ulong[PageSize / 64];
        for (int index = 0; index < PageSize; index++)
        {
            if (contains((page << PageBits) + index))
            {
                bits[index >> 6] |= 1UL << (index & 63);
            }
        }

        _pages[page] = bits;
        return bits;
    }
}

/// <summary>The sets that expressions call by name: general categories, and the scripts of East Asia.</summary>
internal static class NamedCodeSets
{
    // The two-letter names of the general categories, in the order of UnicodeCategory.
    private static readonly string[] CategoryNames =
        ["Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Cn"];

    // Unicode 16, Scripts.txt; pairs of first and last code point.
    private static readonly Dictionary<string, int[]> Scripts = new(StringComparer.OrdinalIgnoreCase)
    {
        ["Han"] =
        [
            0x2E80, 0x2E99, 0x2E9B, 0x2EF3, 0x2F00, 0x2FD5, 0x3005, 0x3005, 0x3007, 0x3007, 0x3021, 0x3029, 0x3038, 0x303B, 0x3400, 0x4DBF, 0x4E00, 0x9FFF,
            0xF900, 0xFA6D, 0xFA70, 0xFAD9, 0x16FE2, 0x16FE3, 0x16FF0, 0x16FF1, 0x20000, 0x2A6DF, 0x2A700, 0x2B739, 0x2B740, 0x2B81D, 0x2B820, 0x2CEA1,
            0x2CEB0, 0x2EBE0, 0x2EBF0, 0x2EE5D, 0x2F800, 0x2FA1D, 0x30000, 0x3134A, 0x31350, 0x323AF,
        ],
        ["Hiragana"] = [0x3041, 0x3096, 0x309D, 0x309F, 0x1B001, 0x1B11F, 0x1B132, 0x1B132, 0x1B150, 0x1B152, 0x1F200, 0x1F200],
        ["Katakana"] =
        [
            0x30A1, 0x30FA, 0x30FD, 0x30FF, 0x31F0, 0x31FF, 0x32D0, 0x32FE, 0x3300, 0x3357, 0xFF66, 0xFF6F, 0xFF71, 0xFF9D, 0x1AFF0, 0x1AFF3, 0x1AFF5, 0x1AFFB,
            0x1AFFD, 0x1AFFE, 0x1B000, 0x1B000, 0x1B120, 0x1B122, 0x1B155, 0x1B155, 0x1B164, 0x1B167,
        ],
        ["Hangul"] =
        [
            0x1100, 0x11FF, 0x302E, 0x302F, 0x3131, 0x318E, 0x3200, 0x321E, 0x3260, 0x327E, 0xA960, 0xA97C, 0xAC00, 0xD7A3, 0xD7B0, 0xD7C6, 0xD7CB, 0xD7FB,
            0xFFA0, 0xFFBE, 0xFFC2, 0xFFC7, 0xFFCA, 0xFFCF, 0xFFD2, 0xFFD7, 0xFFDA, 0xFFDC,
        ],
    };

    /// <summary>The set of a name such as <c>L</c>, <c>Lu</c>, <c>Han</c> or <c>Script=Han</c>; null when it is not known.</summary>
    public static CodeSet? Find(string name)
    {
        int equals = name.IndexOf('=', StringComparison.Ordinal);
        if (equals >= 0 && name[..equals] is not ("Script" or "sc" or "General_Category" or "gc"))
        {
            return null;
        }

        name = name[(equals + 1)..];
        if (Scripts.TryGetValue(name, out int[]? ranges))
        {
            return CodeSet.Of(ranges);
        }

        if (name is "L&" or "LC")
        {
            return OfCategories("Lu", "Ll", "Lt");
        }

        string[] categories = [.. CategoryNames.Where(category => name.Length is 1 or 2 && category.StartsWith(name, StringComparison.Ordinal))];
        return categories.Length == 0 ? null : OfCategories(categories);
    }

    /// <summary>Letters, marks, decimal digits, connectors and the two joiners: <c>\w</c>.</summary>
    public static CodeSet Word() => CodeSet.AnyOf(
        [(0x200C, 0x200D)], [OfCategories("Lu", "Ll", "Lt", "Lm", "Lo", "Nl", "Mn", "Mc", "Me", "Nd", "Pc")]);

    private static CodeSet OfCategories(params string[] names)
    {
        uint mask = 0;
        foreach (string name in names)
        {
            mask |= 1u << Array.IndexOf(CategoryNames, name);
        }

        return new CodeSet(codePoint => (mask >> (int)CharUnicodeInfo.GetUnicodeCategory(codePoint) & 1) != 0);
    }
}
