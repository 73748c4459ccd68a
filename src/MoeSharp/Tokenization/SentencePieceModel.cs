namespace MoeSharp.Tokenization;

/// <summary>What a piece of a SentencePiece model is; the numbers are those of the format.</summary>
internal enum SentencePieceKind
{
    /// <summary>Made by merging.</summary>
    Normal = 1,

    /// <summary>Stands for what the vocabulary cannot write.</summary>
    Unknown = 2,

    /// <summary>Steers the model.</summary>
    Control = 3,

    /// <summary>Always a piece of its own where the text holds it.</summary>
    UserDefined = 4,

    /// <summary>A row without use.</summary>
    Unused = 5,

    /// <summary>One byte, <c>&lt;0x00&gt;</c> to <c>&lt;0xFF&gt;</c>.</summary>
    Byte = 6,
}

/// <summary>
/// A SentencePiece model (tokenizer.model), merging or unigram: pieces, scores, kinds and the few settings that matter. A protobuf
/// message, read by hand: every length is checked against what is left of the file.
/// </summary>
internal sealed record SentencePieceModel
{
    private const int UnigramModelType = 1;
    private const int MergingModelType = 2;

    /// <summary>The pieces by id.</summary>
    public required string[] Pieces { get; init; }

    /// <summary>Scores by id: the pair whose piece has the highest merges first; in a unigram model, log-probabilities.</summary>
    public required float[] Scores { get; init; }

    /// <summary>Kinds by id.</summary>
    public required SentencePieceKind[] Kinds { get; init; }

    /// <summary>Text is cut where the sum of scores is highest; otherwise pieces merge.</summary>
    public bool IsUnigram { get; init; }

    /// <summary>Characters without a piece are written in bytes.</summary>
    public bool HasByteFallback { get; init; }

    /// <summary>A blank is put before the text.</summary>
    public bool AddDummyPrefix { get; init; } = true;

    /// <summary>Blanks at the ends are dropped, and runs of blanks become one.</summary>
    public bool RemoveExtraWhitespaces { get; init; } = true;

    /// <summary>Blanks are written as U+2581.</summary>
    public bool EscapeWhitespaces { get; init; } = true;

    /// <summary>A table of replacements; empty when there is none.</summary>
    public byte[] CharacterMap { get; init; } = [];

    /// <summary>Id of the piece for what the vocabulary cannot write.</summary>
    public int UnknownId { get; init; }

    /// <summary>Id of the piece that begins a text; null when there is none.</summary>
    public int? BosId { get; init; }

    /// <summary>Id of the piece that ends a text; null when there is none.</summary>
    public int? EosId { get; init; }

    /// <summary>Id of the piece that fills up batches; null when there is none.</summary>
    public int? PadId { get; init; }

    /// <summary>Reads a model.</summary>
    /// <param name="content">The file.</param>
    /// <param name="file">Its name, for messages.</param>
    public static SentencePieceModel Read(byte[] content, string file)
    {
        List<string> pieces = [];
        List<float> scores = [];
        List<SentencePieceKind> kinds = [];
        SentencePieceModel model = new() { Pieces = [], Scores = [], Kinds = [], BosId = 1, EosId = 2 };
        long type = UnigramModelType;
        ProtobufReader reader = new(content, file);
        while (reader.TryReadField(out ProtobufField field))
        {
            switch (field.Number)
            {
                case 1:
                    ReadPiece(reader.Open(field), pieces, scores, kinds);
                    break;
                case 2:
                    model = ReadTrainer(reader.Open(field), model, ref type);
                    break;
                case 3:
                    model = ReadNormalizer(reader.Open(field), model);
                    break;
            }
        }

        RejectIf(pieces.Count is 0 or > Vocabulary.LargestId, file, $"holds {pieces.Count} pieces; between 1 and {Vocabulary.LargestId} are read");
        RejectIf(type is not (UnigramModelType or MergingModelType), file, $"is of the kind (model_type) {type}; unigram ({UnigramModelType}) and BPE ({MergingModelType}) are supported");
        return model with { IsUnigram = type == UnigramModelType, Pieces = [.. pieces], Scores = [.. scores], Kinds = [.. kinds] };
    }

    /// <summary>Writes the model as a file.</summary>
    public byte[] Write()
    {
        ProtobufWriter writer = new();
        for (int id = 0; id < Pieces.Length; id++)
        {
            ProtobufWriter piece = new();
            piece.WriteText(1, Pieces[id]);
            piece.WriteFloat(2, Scores[id]);
            piece.WriteNumber(3, (int)Kinds[id]);
            writer.WriteMessage(1, piece);
        }

        ProtobufWriter trainer = new();
        trainer.WriteNumber(3, IsUnigram ? UnigramModelType : MergingModelType);
        trainer.WriteNumber(35, HasByteFallback ? 1 : 0);
        trainer.WriteNumber(40, UnknownId);
        trainer.WriteNumber(41, BosId ?? -1);
        trainer.WriteNumber(42, EosId ?? -1);
        trainer.WriteNumber(43, PadId ?? -1);
        writer.WriteMessage(2, trainer);
        ProtobufWriter normalizer = new();
        normalizer.WriteBytes(2, CharacterMap);
        normalizer.WriteNumber(3, AddDummyPrefix ? 1 : 0);
        normalizer.WriteNumber(4, RemoveExtraWhitespaces ? 1 : 0);
        normalizer.WriteNumber(5, EscapeWhitespaces ? 1 : 0);
        writer.WriteMessage(3, normalizer);
        return writer.ToArray();
    }

    private static void ReadPiece(ProtobufReader reader, List<string> pieces, List<float> scores, List<SentencePieceKind> kinds)
    {
        string text = "";
        float score = 0;
        SentencePieceKind kind = SentencePieceKind.Normal;
        while (reader.TryReadField(out ProtobufField field))
        {
            switch (field.Number)
            {
                case 1:
                    text = reader.Text(field);
                    break;
                case 2:
                    score = reader.Float(field);
                    break;
                case 3:
                    long number = reader.Number(field);
                    kind = number is >= 1 and <= 6 ? (SentencePieceKind)number : throw reader.Wrong($"piece {pieces.Count} has the unknown type {number}");
                    break;
            }
        }

        pieces.Add(text);
        scores.Add(score);
        kinds.Add(kind);
    }

    private static SentencePieceModel ReadTrainer(ProtobufReader reader, SentencePieceModel model, ref long type)
    {
        while (reader.TryReadField(out ProtobufField field))
        {
            switch (field.Number)
            {
                case 3:
                    type = reader.Number(field);
                    break;
                case 24 when reader.Number(field) != 0:
                    throw reader.Wrong("treat_whitespace_as_suffix is not supported");
                case 35:
                    model = model with { HasByteFallback = reader.Number(field) != 0 };
                    break;
                case 40:
                    model = model with { UnknownId = ReadId(reader.Number(field)) ?? 0 };
                    break;
                case 41:
                    model = model with { BosId = ReadId(reader.Number(field)) };
                    break;
                case 42:
                    model = model with { EosId = ReadId(reader.Number(field)) };
                    break;
                case 43:
                    model = model with { PadId = ReadId(reader.Number(field)) };
                    break;
            }
        }

        return model;
    }

    private static int? ReadId(long number) => number is >= 0 and <= int.MaxValue ? (int)number : null;

    private static SentencePieceModel ReadNormalizer(ProtobufReader reader, SentencePieceModel model)
    {
        while (reader.TryReadField(out ProtobufField field))
        {
            model = field.Number switch
            {
                2 => model with { CharacterMap = reader.Bytes(field).ToArray() },
                3 => model with { AddDummyPrefix = reader.Number(field) != 0 },
                4 => model with { RemoveExtraWhitespaces = reader.Number(field) != 0 },
                5 => model with { EscapeWhitespaces = reader.Number(field) != 0 },
                _ => model,
            };
        }

        return model;
    }

    private static void RejectIf(bool broken, string file, string rule)
    {
        if (broken)
        {
            throw new FileFormatException($"{file} {rule}.");
        }
    }
}
