using System.Globalization;
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
    /// <summary>Published vocabularies stay under 300 000 ids; the bound keeps a hostile id from allocating gigabytes.</summary>
    public const int LargestId = (1 << 24) - 1;

    /// <summary>The search for added tokens costs up to their length at each place; published ones stay under 100 characters.</summary>
    public const int LongestAddedToken = 1024;

    /// <summary>The <c>model.type</c> whose <c>vocab</c> is a list of tokens and scores, not a mapping from tokens to ids.</summary>
    public const string UnigramType = "Unigram";

    /// <summary>Reads <c>model.vocab</c> and <c>added_tokens</c>.</summary>
    public static Vocabulary Read(JsonPlace root)
    {
        List<AddedToken> addedTokens = ReadAddedTokens(root.Member("added_tokens"));
        JsonPlace model = root.Member("model");
        Dictionary<string, int> modelTokens = model.Member("type").TextOrNull() == UnigramType ? ReadScoredTokens(model.Member("vocab")) : ReadModelTokens(model.Member("vocab"));
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

    /// <summary>Adds the <c>added_tokens_decoder</c> of a tokenizer_config.json to the pieces of a model that has no tokenizer.json.</summary>
    /// <returns>Spelling by id of all tokens.</returns>
    public static string?[] AddFromConfig(JsonPlace place, string[] pieces, Dictionary<string, int> idOfToken, List<AddedToken> addedTokens)
    {
        List<AddedToken> given = [];
        foreach (JsonProperty property in place.IsNull ? [] : place.Entries())
        {
            string name = NameOf(property, place);
            JsonPlace element = new(property.Value, place.File, $"{place.Path}['{name}']");
            element.RejectIf(!int.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out int id) || id > LargestId, $"is not an id up to {LargestId}");
            given.Add(ReadAddedToken(element, id) with { IsNormalized = false });
        }

        string?[] tokens = new string?[Math.Max(pieces.Length, given.Count == 0 ? 0 : given.Max(token => token.Id) + 1)];
        pieces.CopyTo(tokens, 0);
        Dictionary<int, AddedToken> byId = addedTokens.ToDictionary(token => token.Id);
        foreach (AddedToken token in given)
        {
            AddToken(place, token, tokens, idOfToken);
            byId[token.Id] = token;
        }

        addedTokens.Clear();
        addedTokens.AddRange(byId.Values);
        RejectIfTooLong(place, addedTokens);
        addedTokens.Sort((left, right) => left.Id.CompareTo(right.Id));
        return tokens;
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

    private static Dictionary<string, int> ReadScoredTokens(JsonPlace place)
    {
        place.Expect(JsonValueKind.Array);
        int count = place.Value.GetArrayLength();
        place.RejectIf(count is 0 or > LargestId, $"has {count} tokens; between 1 and {LargestId} are read");
        Dictionary<string, int> idOfToken = new(count, StringComparer.Ordinal);
        foreach (JsonPlace entry in place.Elements())
        {
            string token = TokenOf(entry);
            place.RejectIf(!idOfToken.TryAdd(token, idOfToken.Count), $"holds '{token}' twice");
        }

        return idOfToken;
    }

    /// <summary>The token of a pair of token and score.</summary>
    public static string TokenOf(JsonPlace entry)
    {
        entry.Expect(JsonValueKind.Array);
        entry.RejectIf(entry.Value.GetArrayLength() != 2, "is not a token and its score");
        return new JsonPlace(entry.Value[0], entry.File, $"{entry.Path}[0]").Text();
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
            tokens.Add(ReadAddedToken(element, element.Member("id").Number(0, LargestId)));
        }

        RejectIfTooLong(place, tokens);
        tokens.Sort((left, right) => left.Id.CompareTo(right.Id));
        return tokens;
    }

    private static AddedToken ReadAddedToken(JsonPlace element, int id)
    {
        string content = element.Member("content").Text();
        element.Member("content").RejectIf(content.Length > LongestAddedToken, $"is longer than {LongestAddedToken} characters");
        return new AddedToken(id, content)
        {
            SingleWord = element.Member("single_word").Flag(absent: false),
            StripLeft = element.Member("lstrip").Flag(absent: false),
            StripRight = element.Member("rstrip").Flag(absent: false),
            IsNormalized = element.Member("normalized").Flag(absent: true),
            IsSpecial = element.Member("special").Flag(absent: false),
        };
    }

    // Search-tree nodes are numbered in 23 bits.
    private static void RejectIfTooLong(JsonPlace place, List<AddedToken> tokens) =>
        place.RejectIf(tokens.Sum(token => 4L * token.Content.Length) >= 1 << 23, "is too long altogether");

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
