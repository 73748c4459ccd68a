using System.Text.Json;

namespace MoeSharp.Tokenization;

/// <summary>The tokens of a tokenizer.json: those of the model and those added.</summary>
/// <param name="Tokens">Spelling by id; null for ids that are not used.</param>
/// <param name="ModelTokens">Id by spelling of the tokens that merging may produce.</param>
/// <param name="IdOfToken">Id by spelling of all tokens.</param>
/// <param name="AddedTokens">Added tokens by id.</param>
internal sealed record Vocabulary(
    string?[] Tokens, Dictionary<string, int> ModelTokens, Dictionary<string, int> IdOfToken, IReadOnlyList<AddedToken> AddedTokens)
{
    // Published vocabularies stay under 300 000 ids; the bound keeps a hostile id from allocating gigabytes.
    private const int LargestId = (1 << 24) - 1;

    // The search for added tokens costs up to their length at each place; published ones stay under 100 characters.
    private const int LongestAddedToken = 1024;

    /// <summary>Reads <c>model.vocab</c> and <c>added_tokens</c>.</summary>
    public static Vocabulary Read(JsonPlace root)
    {
        List<AddedToken> addedTokens = ReadAddedTokens(root.Member("added_tokens"));
        Dictionary<string, int> modelTokens = ReadModelTokens(root.Member("model").Member("vocab"));
        string?[] tokens = new string?[Math.Max(modelTokens.Values.Max(), addedTokens.Count == 0 ? -1 : addedTokens[^1].Id) + 1];
        foreach ((string token, int id) in modelTokens)
        {
            root.Member("model").Member("vocab").RejectIf(tokens[id] is not null, $"gives id {id} to both '{tokens[id]}' and '{token}'");
            tokens[id] = token;
        }

        Dictionary<string, int> idOfToken = new(modelTokens, StringComparer.Ordinal);
        foreach (AddedToken token in addedTokens)
        {
            AddToken(root.Member("added_tokens"), token, tokens, idOfToken);
        }

        return new Vocabulary(tokens, modelTokens, idOfToken, addedTokens);
    }

    private static Dictionary<string, int> ReadModelTokens(JsonPlace place)
    {
        place.Expect(JsonValueKind.Object);
        Dictionary<string, int> idOfToken = new(StringComparer.Ordinal);
        foreach (JsonProperty property in place.Value.EnumerateObject())
        {
            string token = NameOf(property, place);
            int id = new JsonPlace(property.Value, place.File, $"{place.Path}['{token}']").Number(0, LargestId);
            place.RejectIf(!idOfToken.TryAdd(token, id), $"holds '{token}' twice");
        }

        place.RejectIf(idOfToken.Count == 0, "is empty");
        return idOfToken;
    }

    private static string NameOf(JsonProperty property, JsonPlace place)
    {
        try
        {
            return property.Name;
        }
        catch (InvalidOperationException)
        {
            throw place.Wrong("has a name that holds half of a surrogate pair, which is no text");
        }
    }

    private static List<AddedToken> ReadAddedTokens(JsonPlace place)
    {
        List<AddedToken> tokens = [];
        foreach (JsonPlace element in place.IsNull ? [] : place.Elements())
        {
            string content = element.Member("content").Text();
            element.Member("content").RejectIf(content.Length > LongestAddedToken, $"is longer than {LongestAddedToken} characters");
            tokens.Add(new AddedToken(element.Member("id").Number(0, LargestId), content)
            {
                SingleWord = element.Member("single_word").Flag(absent: false),
                StripLeft = element.Member("lstrip").Flag(absent: false),
                StripRight = element.Member("rstrip").Flag(absent: false),
                IsNormalized = element.Member("normalized").Flag(absent: true),
                IsSpecial = element.Member("special").Flag(absent: false),
            });
        }

        // Search-tree nodes are numbered in 23 bits.
        place.RejectIf(tokens.Sum(token => 4L * token.Content.Length) >= 1 << 23, "is too long altogether");
        tokens.Sort((left, right) => left.Id.CompareTo(right.Id));
        return tokens;
    }

    private static void AddToken(JsonPlace place, AddedToken token, string?[] tokens, Dictionary<string, int> idOfToken)
    {
        if (idOfToken.TryGetValue(token.Content, out int known))
        {
            place.RejectIf(known != token.Id, $"gives id {token.Id} to '{token.Content}', which already has id {known}");
            return;
        }

        place.RejectIf(tokens[token.Id] is not null, $"gives id {token.Id} to '{token.Content}', but that id is '{tokens[token.Id]}'");
        tokens[token.Id] = token.Content;
        idOfToken.Add(token.Content, token.Id);
    }
}
