using System.Text.Json;

namespace MoeSharp.Tokenization;

/// <summary>Reads the <c>normalizer</c> and the <c>pre_tokenizer</c> of a tokenizer.json.</summary>
internal static class StageReader
{
    // Sequences inside sequences are legal; published files nest once.
    private const int DeepestNesting = 16;

    /// <summary>Reads the normalizer; null when text stays as it is.</summary>
    public static Normalizer? ReadNormalizer(JsonPlace place)
    {
        if (place.IsNull)
        {
            return null;
        }

        List<Normalizer> steps = [];
        AddNormalizers(place, steps, 0);
        return steps.Count switch
        {
            0 => null,
            1 => steps[0],
            _ => new NormalizerSequence(steps),
        };
    }

    /// <summary>Reads the steps that cut text into pieces.</summary>
    public static IReadOnlyList<PreTokenizer> ReadPreTokenizers(JsonPlace place)
    {
        List<PreTokenizer> steps = [];
        if (!place.IsNull)
        {
            AddPreTokenizers(place, steps, 0);
        }

        int byteLevel = steps.FindIndex(step => step is ByteLevelPreTokenizer);
        place.RejectIf(byteLevel >= 0 && byteLevel != steps.Count - 1, "has a step after ByteLevel, which must be the last");
        return steps;
    }

    /// <summary>Reads a pattern: <c>{"String": ...}</c> or <c>{"Regex": ...}</c>.</summary>
    public static SplitPattern ReadPattern(JsonPlace place)
    {
        if (place.Value.ValueKind == JsonValueKind.String)
        {
            return Literal(place);
        }

        JsonPlace literal = place.Member("String");
        if (!literal.IsNull)
        {
            return Literal(literal);
        }

        JsonPlace regex = place.Member("Regex");
        return KnownPatterns.TryGet(regex.Text(), out SplitPattern? known) ? known : LinearRegex.Parse(regex);
    }

    private static LiteralPattern Literal(JsonPlace place)
    {
        place.RejectIf(place.Text().Length == 0, "is empty");
        return new LiteralPattern(place.Text());
    }

    private static void AddNormalizers(JsonPlace place, List<Normalizer> steps, int depth)
    {
        place.RejectIf(depth > DeepestNesting, $"nests deeper than {DeepestNesting}");
        string type = place.Member("type").Text();
        switch (type)
        {
            case "Sequence":
                foreach (JsonPlace step in place.Member("normalizers").Elements())
                {
                    AddNormalizers(step, steps, depth + 1);
                }

                break;
            case "NFC" or "NFD" or "NFKC" or "NFKD":
                steps.Add(new UnicodeNormalizer(isCompatible: type.Contains('K', StringComparison.Ordinal), composes: type.EndsWith('C')));
                break;
            case "Prepend":
                steps.Add(new PrependNormalizer(place.Member("prepend").Text()));
                break;
            case "Replace":
                steps.Add(new ReplaceNormalizer(ReadPattern(place.Member("pattern")), place.Member("content").Text()));
                break;
            case "Lowercase":
                steps.Add(new LowercaseNormalizer());
                break;
            case "Strip":
                steps.Add(new StripNormalizer(place.Member("strip_left").Flag(absent: true), place.Member("strip_right").Flag(absent: true)));
                break;
            case "Precompiled":
                steps.Add(ReadPrecompiled(place.Member("precompiled_charsmap")));
                break;
            default:
                throw place.Member("type").Wrong($"is '{type}', which is not a supported normalizer (Sequence, NFC, NFD, NFKC, NFKD, Prepend, Replace, Lowercase, Strip, Precompiled)");
        }
    }

    private static PrecompiledNormalizer ReadPrecompiled(JsonPlace place)
    {
        place.Text();
        return place.Value.TryGetBytesFromBase64(out byte[]? table) ? PrecompiledNormalizer.Parse(table, place.File) : throw place.Wrong("is not base64");
    }

    private static void AddPreTokenizers(JsonPlace place, List<PreTokenizer> steps, int depth)
    {
        place.RejectIf(depth > DeepestNesting, $"nests deeper than {DeepestNesting}");
        string type = place.Member("type").Text();
        switch (type)
        {
            case "Sequence":
                foreach (JsonPlace step in place.Member("pretokenizers").Elements())
                {
                    AddPreTokenizers(step, steps, depth + 1);
                }

                break;
            case "Split":
                steps.Add(new SplitPreTokenizer(
                    ReadPattern(place.Member("pattern")), ReadBehavior(place.Member("behavior")), place.Member("invert").Flag(absent: false)));
                break;
            case "Digits":
                SplitPattern numbers = place.Member("individual_digits").Flag(absent: false) ? CharacterPatterns.SingleNumber : CharacterPatterns.Numbers;
                steps.Add(new SplitPreTokenizer(numbers, SplitBehavior.Isolated, invert: false));
                break;
            case "ByteLevel":
                steps.Add(new ByteLevelPreTokenizer(place.Member("add_prefix_space").Flag(absent: true), place.Member("use_regex").Flag(absent: true)));
                break;
            case "Metaspace":
                steps.Add(ReadMetaspace(place));
                break;
            case "Punctuation":
                SplitBehavior behavior = place.Member("behavior").IsNull ? SplitBehavior.Isolated : ReadBehavior(place.Member("behavior"));
                steps.Add(new SplitPreTokenizer(CharacterPatterns.SinglePunctuation, behavior, invert: false));
                break;
            case "WhitespaceSplit":
                steps.Add(new SplitPreTokenizer(CharacterPatterns.SingleWhiteSpace, SplitBehavior.Removed, invert: false));
                break;
            default:
                throw place.Member("type").Wrong(
                    $"is '{type}', which is not a supported pre-tokenizer (Sequence, Split, Digits, ByteLevel, Metaspace, Punctuation, WhitespaceSplit)");
        }
    }

    private static SplitBehavior ReadBehavior(JsonPlace place) => place.Text() switch
    {
        "Removed" => SplitBehavior.Removed,
        "Isolated" => SplitBehavior.Isolated,
        "MergedWithPrevious" => SplitBehavior.MergedWithPrevious,
        "MergedWithNext" => SplitBehavior.MergedWithNext,
        "Contiguous" => SplitBehavior.Contiguous,
        string other => throw place.Wrong($"is '{other}', expected Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous"),
    };

    private static MetaspacePreTokenizer ReadMetaspace(JsonPlace place)
    {
        // Older files say add_prefix_space, newer ones prepend_scheme.
        PrependScheme absent = place.Member("add_prefix_space").Flag(absent: true) ? PrependScheme.Always : PrependScheme.Never;
        PrependScheme scheme = place.Member("prepend_scheme").TextOrNull() switch
        {
            null => absent,
            "always" => PrependScheme.Always,
            "first" => PrependScheme.First,
            "never" => PrependScheme.Never,
            string other => throw place.Member("prepend_scheme").Wrong($"is '{other}', expected always, first or never"),
        };
        string replacement = place.Member("replacement").TextOrNull() ?? "\u2581";
        place.Member("replacement").RejectIf(replacement.Length == 0, "is empty");
        return new MetaspacePreTokenizer(replacement, scheme, place.Member("split").Flag(absent: true));
    }
}
