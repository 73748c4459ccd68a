namespace MoeSharp.Tokenization;

/// <summary>What a tokenizer is made of, as read from its files.</summary>
internal sealed record TokenizerParts
{
    /// <summary>Spelling by id; null for ids that are not used.</summary>
    public required string?[] Tokens { get; init; }

    /// <summary>Id by spelling, added tokens included.</summary>
    public required Dictionary<string, int> IdOfToken { get; init; }

    /// <summary>Added tokens by id.</summary>
    public required IReadOnlyList<AddedToken> AddedTokens { get; init; }

    /// <summary>Finds the added tokens of the raw text.</summary>
    public required AddedTokenMatcher RawTokens { get; init; }

    /// <summary>Finds the added tokens of the normalised text; null when there are none.</summary>
    public required AddedTokenMatcher? NormalizedTokens { get; init; }

    /// <summary>Rewrites text; null to leave it.</summary>
    public required Normalizer? Normalizer { get; init; }

    /// <summary>Steps that cut text into pieces.</summary>
    public required IReadOnlyList<PreTokenizer> PreTokenizers { get; init; }

    /// <summary>Turns pieces into ids.</summary>
    public required PieceModel Model { get; init; }

    /// <summary>How tokens read back.</summary>
    public required TokenDecoder Decoder { get; init; }

    /// <summary>Special tokens around a text.</summary>
    public required SpecialTokenTemplate Template { get; init; }

    /// <summary>Id of the token that begins a text.</summary>
    public required int? BosTokenId { get; init; }

    /// <summary>Id of the token that ends a text.</summary>
    public required int? EosTokenId { get; init; }

    /// <summary>The file that it comes from.</summary>
    public required string Source { get; init; }

    /// <summary>Id of the token that ends a turn of a conversation.</summary>
    public int? EndOfTurnTokenId { get; init; }

    /// <summary>How conversations are written.</summary>
    public IReadOnlyList<ChatTemplateText> ChatTemplates { get; init; } = [];

    /// <summary>Name of the file that holds it.</summary>
    public string FileName { get; init; } = TokenizerFile.FileName;

    /// <summary>Content of that file.</summary>
    public required byte[] FileBytes { get; init; }

    /// <summary>Content of tokenizer_config.json; null when there was none.</summary>
    public required byte[]? ConfigBytes { get; init; }
}
