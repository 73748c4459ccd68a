namespace MoeSharp.Tokenization;

/// <summary>Reads the <c>post_processor</c> of a tokenizer.json: which special tokens stand around a single text.</summary>
internal static class TemplateReader
{
    private const int DeepestNesting = 16;

    /// <summary>Reads the template.</summary>
    public static SpecialTokenTemplate Read(JsonPlace place, Vocabulary vocabulary) =>
        place.IsNull ? SpecialTokenTemplate.None : Read(place, vocabulary, SpecialTokenTemplate.None, 0);

    private static SpecialTokenTemplate Read(JsonPlace place, Vocabulary vocabulary, SpecialTokenTemplate inner, int depth)
    {
        place.RejectIf(depth > DeepestNesting, $"nests deeper than {DeepestNesting}");
        string type = place.Member("type").Text();
        switch (type)
        {
            case "ByteLevel": // Moves offsets only, which MoeSharp does not report.
                return inner;
            case "TemplateProcessing":
                return Around(inner, ReadTemplate(place, vocabulary));
            case "RobertaProcessing" or "BertProcessing":
                return Around(inner, new SpecialTokenTemplate([ReadPairId(place.Member("cls"), vocabulary)], [ReadPairId(place.Member("sep"), vocabulary)]));
            case "Sequence":
                foreach (JsonPlace step in place.Member("processors").Elements())
                {
                    inner = Read(step, vocabulary, inner, depth + 1);
                }

                return inner;
            default:
                throw place.Member("type").Wrong(
                    $"is '{type}', which is not a supported post-processor (Sequence, ByteLevel, TemplateProcessing, RobertaProcessing, BertProcessing)");
        }
    }

    private static SpecialTokenTemplate Around(SpecialTokenTemplate inner, SpecialTokenTemplate outer) =>
        new([.. outer.Before, .. inner.Before], [.. inner.After, .. outer.After]);

    private static SpecialTokenTemplate ReadTemplate(JsonPlace place, Vocabulary vocabulary)
    {
        List<int> before = [];
        List<int> after = [];
        int numTexts = 0;
        foreach (JsonPlace element in place.Member("single").Elements())
        {
            JsonPlace special = element.Member("SpecialToken");
            if (special.IsNull)
            {
                element.Member("Sequence").RejectIf(element.Member("Sequence").Member("id").Text() != "A", "is not sequence A");
                numTexts++;
            }
            else
            {
                List<int> side = numTexts == 0 ? before : after;
                side.AddRange(ReadSpecialIds(place.Member("special_tokens").Member(special.Member("id").Text()), vocabulary));
            }
        }

        place.Member("single").RejectIf(numTexts != 1, $"holds the text {numTexts} times, expected once");
        return new SpecialTokenTemplate(before, after);
    }

    private static IEnumerable<int> ReadSpecialIds(JsonPlace place, Vocabulary vocabulary)
    {
        foreach (JsonPlace id in place.Member("ids").Elements())
        {
            yield return ReadId(id, vocabulary);
        }
    }

    private static int ReadPairId(JsonPlace pair, Vocabulary vocabulary)
    {
        List<JsonPlace> elements = [.. pair.Elements()];
        pair.RejectIf(elements.Count != 2, "is not a pair of token and id");
        return ReadId(elements[1], vocabulary);
    }

    private static int ReadId(JsonPlace place, Vocabulary vocabulary)
    {
        int id = place.Number(0, vocabulary.Tokens.Length - 1);
        place.RejectIf(vocabulary.Tokens[id] is null, $"is {id}, an id without a token");
        return id;
    }
}
