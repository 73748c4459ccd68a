using System.Text;
using System.Text.Json;

namespace MoeSharp.Tokenization;

/// <summary>
/// Builds a tokenizer from a SentencePiece model, merging or unigram. Texts are encoded as SentencePiece does, with one addition:
/// control tokens written out in the text are recognised, and the text after one begins anew, with its own leading blank.
/// </summary>
internal static class SentencePieceTokenizer
{
    /// <summary>Name of the file in a model folder.</summary>
    public const string FileName = "tokenizer.model";

    private const char BlankStandIn = '\u2581';

    // Cutting pieces in two costs their length squared; published pieces stay under 50 characters.
    private const int LongestPiece = 512;

    /// <summary>Builds the tokenizer.</summary>
    /// <param name="model">The pieces.</param>
    /// <param name="content">The file they were read from; null to write one.</param>
    /// <param name="file">Its name, for messages.</param>
    /// <param name="config">tokenizer_config.json, or null.</param>
    /// <param name="configFile">Its name, for messages.</param>
    /// <param name="endOfTurn">Id of the token that ends a turn, when known.</param>
    /// <param name="chatTemplates">Chat templates beside the file; those of the configuration are added.</param>
    public static Tokenizer Build(
        SentencePieceModel model, byte[]? content, string file, byte[]? config, string configFile, int? endOfTurn, IReadOnlyList<ChatTemplateText>? chatTemplates = null)
    {
        using JsonDocument? configDocument = config is null ? null : TokenizerFile.ParseJson(config, configFile);
        JsonPlace? configRoot = configDocument is null ? null : new JsonPlace(configDocument.RootElement, configFile, "");
        Vocabulary vocabulary = ReadVocabulary(model, file, configRoot);
        TokenizerSettings settings = configRoot is JsonPlace root ? TokenizerSettings.Read(root, vocabulary) : TokenizerSettings.None;
        return new Tokenizer(new TokenizerParts
        {
            Source = file,
            Tokens = vocabulary.Tokens,
            IdOfToken = vocabulary.IdOfToken,
            AddedTokens = vocabulary.AddedTokens,
            RawTokens = TokenizerFile.Matcher(vocabulary.AddedTokens.Where(token => !token.IsNormalized), null),
            NormalizedTokens = ReadUserDefined(model, vocabulary),
            Normalizer = ReadNormalizer(model, file),
            PreTokenizers = [],
            Model = model.IsUnigram ? ReadUnigram(model, file, vocabulary.ModelTokens) : ReadMerging(model, file, vocabulary.ModelTokens),
            Decoder = new TokenDecoder
            {
                HasByteFallback = model.HasByteFallback,
                Replacements = model.EscapeWhitespaces ? [KeyValuePair.Create(BlankStandIn.ToString(), " ")] : [],
                NumLeadingStripped = model.AddDummyPrefix ? 1 : 0,
            },
            Template = settings.Template ?? SpecialTokenTemplate.None,
            BosTokenId = settings.BosTokenId ?? IdInside(model.BosId, model),
            EosTokenId = settings.EosTokenId ?? IdInside(model.EosId, model),
            EndOfTurnTokenId = endOfTurn,
            ChatTemplates = [.. chatTemplates ?? [], .. settings.ChatTemplates],
            FileName = FileName,
            FileBytes = content ?? model.Write(),
            ConfigBytes = config,
        });
    }

    private static BpeModel ReadMerging(SentencePieceModel model, string file, Dictionary<string, int> modelTokens)
    {
        int[]? byteTokens = model.HasByteFallback ? ReadByteTokens(model) : null;
        MergeTable merges = ReadMerges(model, file, modelTokens, out bool joinsWords);
        bool hasWordStart = !joinsWords && model.EscapeWhitespaces;
        CharacterSymbols symbols = new(ReadCharacters(modelTokens), byteTokens, IdInside(model.UnknownId, model), fuseUnknown: true);
        return new BpeModel(merges, symbols, wholePieces: null, hasWordStart ? Encoding.UTF8.GetBytes([BlankStandIn]) : null);
    }

    private static UnigramModel ReadUnigram(SentencePieceModel model, string file, Dictionary<string, int> modelTokens)
    {
        int unknown = IdInside(model.UnknownId, model)
            ?? throw new FileFormatException($"{file}: the id of the unknown piece is {model.UnknownId}, but there are {model.Pieces.Length} pieces; a unigram model needs one.");
        return new UnigramModel([.. modelTokens.Select(entry => new ScoredToken(entry.Key, entry.Value, model.Scores[entry.Value]))], unknown, model.HasByteFallback ? ReadByteTokens(model) : null);
    }

    private static int? IdInside(int? id, SentencePieceModel model) => id is int given && given < model.Pieces.Length ? given : null;

    private static Vocabulary ReadVocabulary(SentencePieceModel model, string file, JsonPlace? config)
    {
        Dictionary<string, int> modelTokens = new(StringComparer.Ordinal);
        Dictionary<string, int> idOfToken = new(StringComparer.Ordinal);
        List<AddedToken> addedTokens = [];
        for (int id = 0; id < model.Pieces.Length; id++)
        {
            string piece = model.Pieces[id];
            SentencePieceKind kind = model.Kinds[id];
            RejectIf(piece.Length == 0 || !idOfToken.TryAdd(piece, id), file, id, piece, "is empty, or there is another of its spelling");
            if (kind == SentencePieceKind.Normal)
            {
                RejectIf(piece.Length > LongestPiece, file, id, piece, $"is longer than {LongestPiece} characters");
                RejectIf(!float.IsFinite(model.Scores[id]), file, id, piece, "has a score that is not a number");
                modelTokens.Add(piece, id);
            }
            else if (kind is SentencePieceKind.Control or SentencePieceKind.Unknown or SentencePieceKind.UserDefined)
            {
                RejectIf(piece.Length > Vocabulary.LongestAddedToken, file, id, piece, $"is longer than {Vocabulary.LongestAddedToken} characters");
                bool isUserDefined = kind == SentencePieceKind.UserDefined;
                string content = isUserDefined && model.EscapeWhitespaces ? piece.Replace(BlankStandIn, ' ') : piece;
                addedTokens.Add(new AddedToken(id, content) { IsSpecial = !isUserDefined, IsNormalized = isUserDefined });
            }
            else if (kind == SentencePieceKind.Byte)
            {
                RejectIf(!TokenDecoder.TryReadByteToken(piece, out _), file, id, piece, "is not a byte such as <0x0A>");
            }
        }

        JsonPlace more = config is JsonPlace root ? root.Member("added_tokens_decoder") : new JsonPlace(default, file, "the list of user-defined pieces");
        string?[] tokens = Vocabulary.AddFromConfig(more, model.Pieces, idOfToken, addedTokens);
        return new Vocabulary(tokens, modelTokens, idOfToken, addedTokens);
    }

    private static void RejectIf(bool broken, string file, int id, string piece, string rule)
    {
        if (broken)
        {
            throw new FileFormatException($"{file}: token {id} ('{(piece.Length > 40 ? piece[..40] : piece)}') {rule}.");
        }
    }

    /// <summary>Every way to cut a piece in two pieces is a merge; its rank is the place of the score among all scores.</summary>
    private static MergeTable ReadMerges(SentencePieceModel model, string file, Dictionary<string, int> modelTokens, out bool joinsWords)
    {
        joinsWords = false;
        float[] scores = [.. modelTokens.Values.Select(id => model.Scores[id]).Distinct().OrderDescending()];
        Dictionary<float, int> rankOfScore = [];
        for (int rank = 0; rank < scores.Length; rank++)
        {
            rankOfScore.TryAdd(scores[rank], rank);
        }

        List<(int Left, int Right, int Merged)> pairs = [];
        Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> ids = modelTokens.GetAlternateLookup<ReadOnlySpan<char>>();
        foreach ((string piece, int id) in modelTokens)
        {
            for (int cut = 1; cut < piece.Length; cut++)
            {
                if (ids.TryGetValue(piece.AsSpan(0, cut), out int left) && ids.TryGetValue(piece.AsSpan(cut), out int right))
                {
                    pairs.Add((left, right, id));
                    joinsWords |= piece[cut - 1] != BlankStandIn && piece[cut] == BlankStandIn;
                }
            }
        }

        if (pairs.Count > Vocabulary.LargestId)
        {
            throw new FileFormatException($"{file}: the pieces can be put together in {pairs.Count} ways; at most {Vocabulary.LargestId} are read.");
        }

        MergeTable table = new(pairs.Count);
        foreach ((int left, int right, int merged) in pairs)
        {
            table.Add(left, right, rankOfScore[model.Scores[merged]], merged);
        }

        return table;
    }

    private static Dictionary<int, int> ReadCharacters(Dictionary<string, int> modelTokens)
    {
        Dictionary<int, int> ids = [];
        foreach ((string piece, int id) in modelTokens)
        {
            if (Rune.TryGetRuneAt(piece, 0, out Rune rune) && rune.Utf16SequenceLength == piece.Length)
            {
                ids[rune.Value] = id;
            }
        }

        return ids;
    }

    private static int[] ReadByteTokens(SentencePieceModel model)
    {
        int[] ids = new int[256];
        Array.Fill(ids, -1);
        for (int id = 0; id < model.Pieces.Length; id++)
        {
            if (model.Kinds[id] == SentencePieceKind.Byte && TokenDecoder.TryReadByteToken(model.Pieces[id], out byte value))
            {
                ids[value] = id;
            }
        }

        return ids;
    }

    /// <summary>User-defined pieces are searched as spelled, in the text with its blanks rewritten.</summary>
    private static AddedTokenMatcher? ReadUserDefined(SentencePieceModel model, Vocabulary vocabulary)
    {
        AddedTokenMatcher matcher = new(vocabulary.AddedTokens.Where(token => token.IsNormalized)
            .Select(token => KeyValuePair.Create(token, Encoding.UTF8.GetBytes(model.Pieces[token.Id]))));
        return matcher.IsEmpty ? null : matcher;
    }

    private static NormalizerSequence ReadNormalizer(SentencePieceModel model, string file)
    {
        List<Normalizer> steps = [];
        if (model.CharacterMap.Length > 0)
        {
            steps.Add(PrecompiledNormalizer.Parse(model.CharacterMap, file));
        }

        if (model.RemoveExtraWhitespaces)
        {
            steps.Add(new ExtraBlankNormalizer());
        }

        string blank = model.EscapeWhitespaces ? BlankStandIn.ToString() : " ";
        if (model.AddDummyPrefix)
        {
            steps.Add(new PrependNormalizer(blank));
        }

        if (model.EscapeWhitespaces)
        {
            steps.Add(new ReplaceNormalizer(new LiteralPattern(" "), blank));
        }

        return new NormalizerSequence(steps);
    }
}
