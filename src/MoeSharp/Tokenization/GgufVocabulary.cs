namespace MoeSharp.Tokenization;

/// <summary>The vocabulary of a GGUF file: the metadata under <c>tokenizer.</c>, as stored. <see cref="Tokenizer.FromGguf"/> checks it.</summary>
public sealed record GgufVocabulary
{
    /// <summary>The kind of model: <c>gpt2</c> (byte-level merges), <c>llama</c> (SentencePiece that merges) or <c>t5</c> (SentencePiece, unigram).</summary>
    public required string Model { get; init; }

    /// <summary>How text is cut into pieces before merging; only <c>gpt2</c> reads it. Null when the file does not say.</summary>
    public string? Pre { get; init; }

    /// <summary>Spelling of each token.</summary>
    public required IReadOnlyList<string> Tokens { get; init; }

    /// <summary>Score of each token; null when there are none.</summary>
    public IReadOnlyList<float>? Scores { get; init; }

    /// <summary>Kind of each token: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte. Null: all are normal.</summary>
    public IReadOnlyList<int>? TokenTypes { get; init; }

    /// <summary>Merges, best first, as two tokens with a blank between them; null when there are none.</summary>
    public IReadOnlyList<string>? Merges { get; init; }

    /// <summary>Id of the token that begins a text.</summary>
    public int? Bos { get; init; }

    /// <summary>Id of the token that ends a text.</summary>
    public int? Eos { get; init; }

    /// <summary>Id of the token that ends a turn of a conversation.</summary>
    public int? Eot { get; init; }

    /// <summary>Id of the token for what the vocabulary cannot write.</summary>
    public int? Unknown { get; init; }

    /// <summary>Id of the token that fills up batches.</summary>
    public int? Pad { get; init; }

    /// <summary>Encoding begins with <see cref="Bos"/>. Null: as is usual for the model.</summary>
    public bool? AddBos { get; init; }

    /// <summary>Encoding ends with <see cref="Eos"/>. Null: it does for <c>t5</c>, and not for the others.</summary>
    public bool? AddEos { get; init; }

    /// <summary>A blank is put before the text; <c>gpt2</c> does not read it. Null: it is for <c>llama</c>, and not for <c>t5</c>.</summary>
    public bool? AddSpacePrefix { get; init; }

    /// <summary>Blanks at the ends and in runs are dropped; <c>gpt2</c> does not read it.</summary>
    public bool RemoveExtraWhitespaces { get; init; }

    /// <summary>A table of replacements as SentencePiece compiles it, its bytes signed or unsigned; <c>gpt2</c> does not read it. Null when there is none.</summary>
    public IReadOnlyList<int>? CharacterMap { get; init; }

    /// <summary>The chat template; null when there is none.</summary>
    public string? ChatTemplate { get; init; }

    /// <summary>Further chat templates by name; null when there are none.</summary>
    public IReadOnlyDictionary<string, string>? NamedChatTemplates { get; init; }

    /// <summary>A whole tokenizer.json, which then decides everything; null when the file carries none.</summary>
    public string? HuggingFaceJson { get; init; }
}
