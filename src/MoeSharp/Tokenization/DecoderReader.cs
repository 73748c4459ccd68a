namespace MoeSharp.Tokenization;

/// <summary>Reads the <c>decoder</c> of a tokenizer.json into the few facts that decoding needs.</summary>
internal static class DecoderReader
{
    private const int DeepestNesting = 16;

    /// <summary>Reads the decoder.</summary>
    public static TokenDecoder Read(JsonPlace place)
    {
        if (place.IsNull)
        {
            return new TokenDecoder();
        }

        List<JsonPlace> steps = [];
        Flatten(place, steps, 0);
        List<KeyValuePair<string, string>> replacements = [];
        bool isByteLevel = false;
        bool hasByteFallback = false;
        bool isFused = false;
        bool stripsFirstTokenOnly = false;
        int numStripped = 0;
        string stripped = " ";
        foreach (JsonPlace step in steps)
        {
            JsonPlace type = step.Member("type");
            switch (type.Text())
            {
                case "ByteLevel":
                    isByteLevel = true;
                    break;
                case "ByteFallback":
                    hasByteFallback = true;
                    break;
                case "Fuse":
                    isFused = true;
                    break;
                case "Replace":
                    replacements.Add(ReadReplacement(step, isFused));
                    break;
                case "Metaspace":
                    replacements.Add(KeyValuePair.Create(step.Member("replacement").TextOrNull() ?? "\u2581", " "));
                    stripsFirstTokenOnly = AddsPrefix(step);
                    numStripped = stripsFirstTokenOnly ? 1 : 0;
                    break;
                case "Strip":
                    type.RejectIf(!isFused, "is Strip before Fuse, which is not supported");
                    stripped = step.Member("content").Text();
                    step.Member("content").RejectIf(stripped.Length != 1, "is not one character of the basic plane");
                    numStripped = step.Member("start").Number(0, int.MaxValue);
                    step.Member("stop").RejectIf(step.Member("stop").Number(0, int.MaxValue) != 0, "is not 0, which is not supported");
                    break;
                default:
                    throw type.Wrong($"is '{type.Text()}', which is not a supported decoder (Sequence, ByteLevel, ByteFallback, Fuse, Replace, Metaspace, Strip)");
            }
        }

        place.RejectIf(isByteLevel && (hasByteFallback || replacements.Count > 0), "mixes ByteLevel with ByteFallback, Replace or Metaspace, which is not supported");
        return new TokenDecoder
        {
            IsByteLevel = isByteLevel,
            HasByteFallback = hasByteFallback,
            Replacements = replacements,
            LeadingStripped = stripped,
            NumLeadingStripped = numStripped,
            StripsFirstTokenOnly = stripsFirstTokenOnly,
        };
    }

    private static void Flatten(JsonPlace place, List<JsonPlace> steps, int depth)
    {
        place.RejectIf(depth > DeepestNesting, $"nests deeper than {DeepestNesting}");
        if (place.Member("type").Text() != "Sequence")
        {
            steps.Add(place);
            return;
        }

        foreach (JsonPlace step in place.Member("decoders").Elements())
        {
            Flatten(step, steps, depth + 1);
        }
    }

    private static KeyValuePair<string, string> ReadReplacement(JsonPlace step, bool isFused)
    {
        JsonPlace pattern = step.Member("pattern");
        JsonPlace literal = pattern.Value.ValueKind == System.Text.Json.JsonValueKind.String ? pattern : pattern.Member("String");
        string text = literal.Text();
        literal.RejectIf(text.Length == 0, "is empty");
        literal.RejectIf(isFused && text.Length > 1, "follows Fuse and is longer than one character, which is not supported");
        return KeyValuePair.Create(text, step.Member("content").Text());
    }

    private static bool AddsPrefix(JsonPlace step)
    {
        string? scheme = step.Member("prepend_scheme").TextOrNull();
        return scheme is null ? step.Member("add_prefix_space").Flag(absent: true) : scheme != "never";
    }
}
