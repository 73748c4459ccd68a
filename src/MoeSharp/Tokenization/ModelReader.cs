using System.Text;
using System.Text.Json;

namespace MoeSharp.Tokenization;

/// <summary>Reads the <c>model</c> of a tokenizer.json: byte-pair encoding, merges in both spellings; or unigram, tokens with scores.</summary>
internal static class ModelReader
{
    private const char BlankStandIn = '\u2581';

    /// <summary>Reads the model.</summary>
    /// <param name="model">The object <c>model</c>.</param>
    /// <param name="vocabulary">The tokens.</param>
    /// <param name="isByteLevel">Pieces are merged byte by byte, in the spelling of the byte alphabet.</param>
    public static PieceModel Read(JsonPlace model, Vocabulary vocabulary, bool isByteLevel)
    {
        JsonPlace type = model.Member("type");
        if (type.TextOrNull() == Vocabulary.UnigramType)
        {
            type.RejectIf(isByteLevel, "is Unigram after a ByteLevel step, which is not supported");
            return ReadUnigram(model, vocabulary);
        }

        type.RejectIf(!type.IsNull && type.Text() != "BPE", $"is '{type.TextOrNull()}'; only BPE and Unigram are supported");
        return ReadMerging(model, vocabulary, isByteLevel);
    }

    private static UnigramModel ReadUnigram(JsonPlace model, Vocabulary vocabulary)
    {
        JsonPlace unknown = model.Member("unk_id");
        unknown.RejectIf(unknown.IsNull, "is missing; characters without a token need it");
        int unknownId = unknown.Number(0, vocabulary.ModelTokens.Count - 1);
        List<ScoredToken> tokens = new(vocabulary.ModelTokens.Count);
        foreach (JsonPlace entry in model.Member("vocab").Elements())
        {
            double score = 0;
            bool isNumber = entry.Value[1].ValueKind == JsonValueKind.Number && entry.Value[1].TryGetDouble(out score) && double.IsFinite(score);
            entry.RejectIf(!isNumber, "has a score that is not a number");
            string text = Vocabulary.TokenOf(entry);
            entry.RejectIf(text.Length > UnigramModel.LongestToken, $"is longer than {UnigramModel.LongestToken} characters");
            tokens.Add(new ScoredToken(text, tokens.Count, score));
        }

        return new UnigramModel(tokens, unknownId, model.Member("byte_fallback").Flag(absent: false) ? ReadByteTokens(vocabulary.ModelTokens) : null);
    }

    private static BpeModel ReadMerging(JsonPlace model, Vocabulary vocabulary, bool isByteLevel)
    {
        RejectUnsupported(model);
        MergeTable merges = ReadMerges(model.Member("merges"), vocabulary.ModelTokens, out bool joinsWords);
        int? unknown = ReadUnknown(model.Member("unk_token"), vocabulary.ModelTokens);
        int[]? byteTokens = model.Member("byte_fallback").Flag(absent: false) ? ReadByteTokens(vocabulary.ModelTokens) : null;
        bool fuseUnknown = model.Member("fuse_unk").Flag(absent: false);
        BpeSymbols symbols = isByteLevel
            ? new ByteSymbols(ReadByteAlphabet(vocabulary.ModelTokens), unknown)
            : new CharacterSymbols(ReadCharacters(vocabulary.ModelTokens), byteTokens, unknown, fuseUnknown);
        bool ignoresMerges = model.Member("ignore_merges").Flag(absent: false);
        bool hasWordStart = !isByteLevel && !joinsWords && vocabulary.ModelTokens.ContainsKey(BlankStandIn.ToString());
        byte[]? wordStart = hasWordStart ? Encoding.UTF8.GetBytes([BlankStandIn]) : null;
        return new BpeModel(merges, symbols, ignoresMerges ? ReadWholePieces(vocabulary.ModelTokens, isByteLevel) : null, wordStart);
    }

    private static void RejectUnsupported(JsonPlace model)
    {
        JsonPlace dropout = model.Member("dropout");
        bool drops = !dropout.IsNull && !(dropout.Value.ValueKind == JsonValueKind.Number && dropout.Value.TryGetDouble(out double rate) && rate == 0);
        dropout.RejectIf(drops, "asks for random merges, which are not supported; set it to null");
        foreach (string name in (string[])["continuing_subword_prefix", "end_of_word_suffix"])
        {
            JsonPlace place = model.Member(name);
            place.RejectIf(!string.IsNullOrEmpty(place.TextOrNull()), "is not supported; only null or an empty string is");
        }
    }

    private static MergeTable ReadMerges(JsonPlace place, Dictionary<string, int> idOfToken, out bool joinsWords)
    {
        joinsWords = false;
        place.Expect(JsonValueKind.Array);
        MergeTable table = new(place.Value.GetArrayLength());
        int rank = 0;
        foreach (JsonPlace merge in place.Elements())
        {
            (string left, string right) = ReadPair(merge);
            merge.RejectIf(left.Length == 0 || right.Length == 0, "holds an empty token");
            table.Add(IdOf(left, merge, idOfToken), IdOf(right, merge, idOfToken), rank++, IdOf(left + right, merge, idOfToken));
            joinsWords |= left[^1] != BlankStandIn && right[0] == BlankStandIn;
        }

        return table;
    }

    private static (string Left, string Right) ReadPair(JsonPlace merge)
    {
        if (merge.Value.ValueKind == JsonValueKind.Array)
        {
            merge.RejectIf(merge.Value.GetArrayLength() != 2, "is not a pair");
            return (new JsonPlace(merge.Value[0], merge.File, $"{merge.Path}[0]").Text(), new JsonPlace(merge.Value[1], merge.File, $"{merge.Path}[1]").Text());
        }

        string text = merge.Text();
        int blank = text.IndexOf(' ');
        merge.RejectIf(blank <= 0 || blank == text.Length - 1 || text.IndexOf(' ', blank + 1) >= 0, "is not two tokens with one blank between them");
        return (text[..blank], text[(blank + 1)..]);
    }

    private static int IdOf(string token, JsonPlace merge, Dictionary<string, int> idOfToken) =>
        idOfToken.TryGetValue(token, out int id) ? id : throw merge.Wrong($"uses '{token}', which is not in the vocabulary");

    private static int? ReadUnknown(JsonPlace place, Dictionary<string, int> idOfToken)
    {
        if (place.IsNull)
        {
            return null;
        }

        string token = place.Text();
        return idOfToken.TryGetValue(token, out int id) ? id : throw place.Wrong($"is '{token}', which is not in the vocabulary");
    }

    private static int[] ReadByteTokens(Dictionary<string, int> idOfToken)
    {
        int[] ids = new int[256];
        for (int value = 0; value < 256; value++)
        {
            ids[value] = idOfToken.GetValueOrDefault($"<0x{value:X2}>", -1);
        }

        return ids;
    }

    private static int[] ReadByteAlphabet(Dictionary<string, int> idOfToken)
    {
        int[] ids = new int[256];
        for (int value = 0; value < 256; value++)
        {
            ids[value] = idOfToken.GetValueOrDefault(ByteAlphabet.ToCharacter((byte)value).ToString(), -1);
        }

        return ids;
    }

    private static Dictionary<int, int> ReadCharacters(Dictionary<string, int> idOfToken)
    {
        Dictionary<int, int> ids = [];
        foreach ((string token, int id) in idOfToken)
        {
            if (token.Length > 0 && Rune.TryGetRuneAt(token, 0, out Rune rune) && rune.Utf16SequenceLength == token.Length)
            {
                ids[rune.Value] = id;
            }
        }

        return ids;
    }

    private static Dictionary<byte[], int> ReadWholePieces(Dictionary<string, int> idOfToken, bool isByteLevel)
    {
        Dictionary<byte[], int> ids = new(new ByteStringComparer());
        foreach ((string token, int id) in idOfToken)
        {
            byte[] bytes = isByteLevel ? new byte[token.Length] : Encoding.UTF8.GetBytes(token);
            if (!isByteLevel || ByteAlphabet.TryToBytes(token, bytes))
            {
                ids[bytes] = id;
            }
        }

        return ids;
    }
}
