using System.Text.Json;

namespace MoeSharp.Tokenization;

/// <summary>What tokenizer_config.json adds: the tokens that begin and end a text, and whether encoding writes them.</summary>
/// <param name="BosTokenId">Id of the token that begins a text.</param>
/// <param name="EosTokenId">Id of the token that ends a text.</param>
/// <param name="Template">Special tokens around a text that replace those of tokenizer.json; null to keep them.</param>
/// <param name="ChatTemplates">How conversations are written.</param>
internal sealed record TokenizerSettings(int? BosTokenId, int? EosTokenId, SpecialTokenTemplate? Template, IReadOnlyList<ChatTemplateText> ChatTemplates)
{
    /// <summary>Nothing is said.</summary>
    public static readonly TokenizerSettings None = new(null, null, null, []);

    // Tokenizers of these classes ignore the post-processor of tokenizer.json and build it from the two add_ switches.
    private static readonly HashSet<string> RebuildingClasses =
        ["LlamaTokenizer", "LlamaTokenizerFast", "CodeLlamaTokenizer", "CodeLlamaTokenizerFast", "GemmaTokenizer", "GemmaTokenizerFast", "CohereTokenizer", "CohereTokenizerFast"];

    /// <summary>Reads the settings.</summary>
    public static TokenizerSettings Read(JsonPlace root, Vocabulary vocabulary)
    {
        root.Expect(JsonValueKind.Object);
        int? bos = ReadToken(root.Member("bos_token"), vocabulary);
        int? eos = ReadToken(root.Member("eos_token"), vocabulary);
        if (!RebuildingClasses.Contains(root.Member("tokenizer_class").TextOrNull() ?? ""))
        {
            return new TokenizerSettings(bos, eos, null, ReadTemplates(root.Member("chat_template")));
        }

        JsonPlace addBos = root.Member("add_bos_token");
        JsonPlace addEos = root.Member("add_eos_token");
        bool addsBos = addBos.Flag(absent: true);
        bool addsEos = addEos.Flag(absent: false);
        addBos.RejectIf(addsBos && bos is null && !addBos.IsNull, "is true, but there is no bos_token");
        addEos.RejectIf(addsEos && eos is null, "is true, but there is no eos_token");
        SpecialTokenTemplate template = new(addsBos && bos is int before ? [before] : [], addsEos && eos is int after ? [after] : []);
        return new TokenizerSettings(bos, eos, template, ReadTemplates(root.Member("chat_template")));
    }

    private static List<ChatTemplateText> ReadTemplates(JsonPlace place)
    {
        string origin = $"{place.File}: {place.Path}";
        if (place.IsNull)
        {
            return [];
        }

        return place.Value.ValueKind == JsonValueKind.String
            ? [new ChatTemplateText(ChatTemplateText.DefaultName, place.Text(), origin)]
            : [.. place.Elements().Select(element => new ChatTemplateText(element.Member("name").Text(), element.Member("template").Text(), $"{origin} '{element.Member("name").Text()}'"))];
    }

    private static int? ReadToken(JsonPlace place, Vocabulary vocabulary)
    {
        if (place.IsNull)
        {
            return null;
        }

        string content = place.Value.ValueKind == JsonValueKind.Object ? place.Member("content").Text() : place.Text();
        return vocabulary.IdOfToken.TryGetValue(content, out int id) ? id : throw place.Wrong($"names '{content}', which is not in the vocabulary");
    }
}
