using System.Globalization;

namespace MoeSharp.Tokenization;

/// <summary>
/// Decompositions, compositions and combining classes. The framework normalises strings through ICU, which machines without it lack
/// and invariant globalization switches off: <c>string.Normalize</c> then returns its input. So the facts travel with the library.
/// </summary>
internal sealed class UnicodeTable
{
    /// <summary>First Hangul syllable.</summary>
    public const int HangulBase = 0xAC00;

    /// <summary>Number of Hangul syllables.</summary>
    public const int NumHangul = 11172;

    private const string ResourceName = "MoeSharp.Tokenization.UnicodeNormalization.txt";

    /// <summary>The one table.</summary>
    public static readonly UnicodeTable Instance = new();

    private readonly Dictionary<int, byte> _combiningClasses = [];
    private readonly Dictionary<int, int[]> _canonical = [];
    private readonly Dictionary<int, int[]> _compatible = [];
    private readonly Dictionary<long, int> _compositions = [];
    private readonly HashSet<int> _seconds = [];

    private UnicodeTable()
    {
        using Stream stream = typeof(UnicodeTable).Assembly.GetManifestResourceStream(ResourceName)
            ?? throw new InvalidOperationException($"resource {ResourceName} is missing from the assembly");
        using StreamReader reader = new(stream);
        string section = "";
        while (reader.ReadLine() is string line)
        {
            if (line.StartsWith('['))
            {
                section = line;
            }
            else if (!line.StartsWith('#'))
            {
                AddRecord(section, line.Split(' '));
            }
        }
    }

    /// <summary>The combining class: 0 for characters that begin a combination, else the order of a mark.</summary>
    public int CombiningClass(int codePoint) => _combiningClasses.GetValueOrDefault(codePoint);

    /// <summary>The one-step decomposition; null when there is none. Hangul syllables are not in the table.</summary>
    public int[]? Decomposition(int codePoint, bool isCompatible)
    {
        if (_canonical.TryGetValue(codePoint, out int[]? parts))
        {
            return parts;
        }

        return isCompatible ? _compatible.GetValueOrDefault(codePoint) : null;
    }

    /// <summary>The character that two compose to, or -1. Hangul included.</summary>
    public int Compose(int first, int second)
    {
        if (first is >= 0x1100 and <= 0x1112 && second is >= 0x1161 and <= 0x1175)
        {
            return HangulBase + ((((first - 0x1100) * 21) + (second - 0x1161)) * 28);
        }

        bool isOpenSyllable = first is >= HangulBase and < HangulBase + NumHangul && (first - HangulBase) % 28 == 0;
        if (isOpenSyllable && second is > 0x11A7 and <= 0x11C2)
        {
            return first + (second - 0x11A7);
        }

        return _compositions.GetValueOrDefault(((long)first << 32) | (uint)second, -1);
    }

    /// <summary>The character may compose with one before it.</summary>
    public bool IsSecond(int codePoint) =>
        codePoint is (>= 0x1161 and <= 0x1175) or (> 0x11A7 and <= 0x11C2) || _seconds.Contains(codePoint);

    /// <summary>The character decomposes canonically and is not made again by composition.</summary>
    public bool IsNeverComposed(int codePoint) =>
        _canonical.TryGetValue(codePoint, out int[]? parts) && (parts.Length == 1 || Compose(parts[0], parts[1]) != codePoint);

    private void AddRecord(string section, string[] fields)
    {
        if (section == "[combining classes]")
        {
            for (int codePoint = Hex(fields[0]); codePoint <= Hex(fields[1]); codePoint++)
            {
                _combiningClasses[codePoint] = byte.Parse(fields[2], CultureInfo.InvariantCulture);
            }

            return;
        }

        bool isExcluded = fields[^1] == "!";
        int[] parts = [.. fields[1..(isExcluded ? ^1 : ^0)].Select(Hex)];
        (section == "[canonical]" ? _canonical : _compatible)[Hex(fields[0])] = parts;
        if (section == "[canonical]" && !isExcluded)
        {
            _compositions[((long)parts[0] << 32) | (uint)parts[1]] = Hex(fields[0]);
            _seconds.Add(parts[1]);
        }
    }

    private static int Hex(string text) => int.Parse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
}
