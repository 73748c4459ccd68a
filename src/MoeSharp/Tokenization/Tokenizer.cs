using System.Security.Cryptography;
using System.Text;

namespace MoeSharp.Tokenization;

/// <summary>
/// A vocabulary and the rules that turn text into its ids and back: a Hugging Face tokenizer.json with byte-pair encoding (byte-level
/// or with byte fallback), a SentencePiece tokenizer.model that merges, or the vocabulary of a GGUF file. Immutable; may be used by
/// many threads at once. It carries the chat templates that came with it; <see cref="Chat.ChatTemplate"/> renders them.
/// </summary>
/// <remarks>
/// Encoding takes the order of the format: added tokens of the raw text; normalisers; added tokens of the normalised text;
/// pre-tokenizers; merging inside each piece; special tokens around the whole.
/// </remarks>
public sealed class Tokenizer
{
    private readonly TokenizerParts _parts;
    private readonly byte[] _tokenBytes;
    private readonly int[] _tokenStarts;
    private readonly bool[] _isSpecial;
    private readonly bool[] _isByteToken;
    private EncodeScratch? _idleScratch;

    /// <summary>Assembles what a file holds.</summary>
    internal Tokenizer(TokenizerParts parts)
    {
        _parts = parts;
        VocabSize = parts.Tokens.Length;
        _isSpecial = new bool[VocabSize];
        _isByteToken = new bool[VocabSize];
        _tokenStarts = new int[VocabSize + 1];
        byte[][] bytes = new byte[VocabSize][];
        for (int id = 0; id < VocabSize; id++)
        {
            string? token = parts.Tokens[id];
            bytes[id] = token is null ? [] : parts.Decoder.BytesOf(token);
            _isByteToken[id] = token is not null && parts.Decoder.HasByteFallback && TokenDecoder.TryReadByteToken(token, out _);
        }

        foreach (AddedToken token in parts.AddedTokens)
        {
            bytes[token.Id] = Encoding.UTF8.GetBytes(token.Content);
            _isSpecial[token.Id] = token.IsSpecial;
            _isByteToken[token.Id] = false;
        }

        for (int id = 0; id < VocabSize; id++)
        {
            _tokenStarts[id + 1] = checked(_tokenStarts[id] + bytes[id].Length);
        }

        _tokenBytes = new byte[_tokenStarts[VocabSize]];
        for (int id = 0; id < VocabSize; id++)
        {
            bytes[id].CopyTo(_tokenBytes, _tokenStarts[id]);
        }
    }

    /// <summary>The largest id plus one. A model may have more rows than that; never fewer.</summary>
    public int VocabSize { get; }

    /// <summary>Id of the token that begins a text; null when the vocabulary names none.</summary>
    public int? BosTokenId => _parts.BosTokenId;

    /// <summary>Id of the token that ends a text; null when the vocabulary names none.</summary>
    public int? EosTokenId => _parts.EosTokenId;

    /// <summary>Id of the token that ends a turn of a conversation, where it is another than <see cref="EosTokenId"/>; null when not known.</summary>
    public int? EndOfTurnTokenId => _parts.EndOfTurnTokenId;

    /// <summary>The file that it comes from.</summary>
    public string Source => _parts.Source;

    /// <summary>The chat templates that came with it; empty for most base models.</summary>
    public IReadOnlyList<ChatTemplateText> ChatTemplates => _parts.ChatTemplates;

    /// <summary>Tokens matched in the text as a whole, by id.</summary>
    public IReadOnlyList<AddedToken> AddedTokens => _parts.AddedTokens;

    /// <summary>SHA-256 of the files it was read from or would write, in hexadecimal.</summary>
    public string ContentHash => Convert.ToHexStringLower(SHA256.HashData([.. _parts.FileBytes, 0, .. _parts.ConfigBytes ?? []]));

    /// <summary>How tokens read back.</summary>
    internal TokenDecoder Decoder => _parts.Decoder;

    /// <summary>
    /// Reads a tokenizer.json, or a SentencePiece tokenizer.model (a file whose name ends in .model, or the one of a folder without
    /// tokenizer.json), with the tokenizer_config.json and the chat_template.jinja beside it when there are any.
    /// </summary>
    /// <param name="path">The file, or a folder that holds it.</param>
    /// <returns>The tokenizer.</returns>
    /// <exception cref="ConfigurationException">There is no such file.</exception>
    /// <exception cref="FileFormatException">A file breaks the rules of its format, or asks for something that is not supported.</exception>
    public static Tokenizer Load(string path) => TokenizerFile.Load(path);

    /// <summary>Builds a tokenizer from the vocabulary of a GGUF file.</summary>
    /// <param name="vocabulary">What the file says; nothing of it is trusted.</param>
    /// <param name="source">The file, for messages.</param>
    /// <returns>The tokenizer; saving it writes the files that the model came with.</returns>
    /// <exception cref="FileFormatException">The vocabulary breaks the rules of its format, or asks for something that is not supported.</exception>
    public static Tokenizer FromGguf(GgufVocabulary vocabulary, string source) => GgufVocabularyReader.Read(vocabulary, source);

    /// <summary>Encodes a text. Special tokens written out in the text are recognised.</summary>
    /// <param name="text">Any text; unpaired surrogates are read as U+FFFD.</param>
    /// <param name="addSpecialTokens">Put the special tokens of the vocabulary around the text (usually one that begins it).</param>
    /// <returns>Token ids.</returns>
    public int[] Encode(string text, bool addSpecialTokens)
    {
        List<int> ids = [];
        if (addSpecialTokens)
        {
            ids.AddRange(_parts.Template.Before);
        }

        EncodeValid(Encoding.UTF8.GetBytes(text), ids);
        if (addSpecialTokens)
        {
            ids.AddRange(_parts.Template.After);
        }

        return [.. ids];
    }

    /// <summary>Encodes a text without special tokens around it. Special tokens written out in the text are recognised.</summary>
    /// <param name="utf8">The text in UTF-8.</param>
    /// <param name="ids">Receives the ids, after what it holds.</param>
    /// <exception cref="ConfigurationException">The bytes are not UTF-8.</exception>
    public void Encode(ReadOnlySpan<byte> utf8, List<int> ids)
    {
        Utf8Text.ThrowIfInvalid(utf8, "text to encode");
        EncodeValid(utf8, ids);
    }

    /// <summary>
    /// Decodes ids. Bytes that are no character are written as U+FFFD; in a run of byte-fallback tokens that is not UTF-8, every byte.
    /// </summary>
    /// <param name="ids">Token ids; ids that the vocabulary does not have give no text.</param>
    /// <param name="skipSpecialTokens">Special tokens give no text.</param>
    /// <returns>The text.</returns>
    public string Decode(ReadOnlySpan<int> ids, bool skipSpecialTokens)
    {
        IncrementalDecoder decoder = new(this, skipSpecialTokens);
        StringBuilder text = new();
        for (int index = 0; index < ids.Length; index++)
        {
            int end = index;
            while (end < ids.Length && IsByteToken(ids[end]))
            {
                end++;
            }

            if (end == index)
            {
                text.Append(decoder.Push(ids[index]));
                continue;
            }

            text.Append(decoder.PushBytes(ReadByteRun(ids[index..end])));
            index = end - 1;
        }

        return text.Append(decoder.Flush()).ToString();
    }

    /// <summary>The bytes that a token stands for in a text; they need not be whole characters.</summary>
    /// <param name="id">Token id.</param>
    /// <returns>The bytes; empty for an id that the vocabulary does not have.</returns>
    public ReadOnlySpan<byte> TokenBytes(int id) =>
        HasToken(id) ? _tokenBytes.AsSpan(_tokenStarts[id], _tokenStarts[id + 1] - _tokenStarts[id]) : [];

    /// <summary>A token as the vocabulary spells it.</summary>
    /// <param name="id">Token id.</param>
    /// <returns>The spelling; null for an id that the vocabulary does not have.</returns>
    public string? TokenText(int id) => HasToken(id) ? _parts.Tokens[id] : null;

    /// <summary>The id of a token in the vocabulary's spelling.</summary>
    /// <param name="token">The spelling, for example <c>&lt;|end_of_text|&gt;</c>.</param>
    /// <returns>The id; null when there is no such token.</returns>
    public int? FindToken(string token) => _parts.IdOfToken.TryGetValue(token, out int id) ? id : null;

    /// <summary>Says whether the vocabulary has a token with this id.</summary>
    /// <param name="id">Token id.</param>
    /// <returns>True when it has.</returns>
    public bool HasToken(int id) => (uint)id < (uint)VocabSize && _parts.Tokens[id] is not null;

    /// <summary>Says whether a token steers the model and is no text.</summary>
    /// <param name="id">Token id.</param>
    /// <returns>True for special tokens.</returns>
    public bool IsSpecial(int id) => (uint)id < (uint)VocabSize && _isSpecial[id];

    /// <summary>
    /// Writes tokenizer.json (tokenizer.model for SentencePiece) and, where there are any, tokenizer_config.json and chat_template.jinja, as
    /// they were read or trained.
    /// </summary>
    /// <param name="folder">Folder to write to; created when it does not exist.</param>
    public void Save(string folder)
    {
        Directory.CreateDirectory(folder);
        File.WriteAllBytes(Path.Combine(folder, _parts.FileName), _parts.FileBytes);
        if (_parts.ConfigBytes is byte[] config)
        {
            File.WriteAllBytes(Path.Combine(folder, TokenizerFile.ConfigFileName), config);
        }

        if (_parts.ChatTemplates.FirstOrDefault(template => template.Origin.EndsWith(TokenizerFile.TemplateFileName, StringComparison.Ordinal)) is ChatTemplateText file)
        {
            File.WriteAllText(Path.Combine(folder, TokenizerFile.TemplateFileName), file.Source);
        }
    }

    /// <summary>Text is cut where the sum of scores is highest, not merged.</summary>
    internal bool IsUnigram => _parts.Model is UnigramModel;

    /// <summary>Encodes valid UTF-8 with the caller's scratch; its counters tell the work.</summary>
    internal void EncodeValid(ReadOnlySpan<byte> text, List<int> ids, EncodeScratch scratch)
    {
        List<Section> sections = [];
        _parts.RawTokens.Split(text, sections);
        bool isStartOfInput = true;
        foreach (Section section in sections)
        {
            if (section.TokenId >= 0)
            {
                ids.Add(section.TokenId);
            }
            else
            {
                EncodeRawText(text.Slice(section.Piece.Start, section.Piece.Length), isStartOfInput, ids, scratch);
            }

            isStartOfInput = false;
        }
    }

    private bool IsByteToken(int id) => (uint)id < (uint)VocabSize && _isByteToken[id];

    private byte[] ReadByteRun(ReadOnlySpan<int> ids)
    {
        byte[] run = new byte[ids.Length];
        for (int index = 0; index < run.Length; index++)
        {
            run[index] = TokenBytes(ids[index])[0];
        }

        return Utf8Text.FindInvalid(run) < 0 ? run : Encoding.UTF8.GetBytes(new string('\uFFFD', run.Length));
    }

    // Concurrent callers that find no idle scratch work with one of their own; the last to finish leaves his.
    private void EncodeValid(ReadOnlySpan<byte> text, List<int> ids)
    {
        EncodeScratch scratch = Interlocked.Exchange(ref _idleScratch, null) ?? new EncodeScratch();
        EncodeValid(text, ids, scratch);
        Volatile.Write(ref _idleScratch, scratch);
    }

    private void EncodeRawText(ReadOnlySpan<byte> text, bool isStartOfInput, List<int> ids, EncodeScratch scratch)
    {
        if (_parts.Normalizer?.Rewrite(text) is byte[] normalized)
        {
            text = normalized;
        }

        if (_parts.NormalizedTokens is null)
        {
            EncodeText(text, isStartOfInput, ids, scratch);
            return;
        }

        List<Section> sections = [];
        _parts.NormalizedTokens.Split(text, sections);
        foreach (Section section in sections)
        {
            if (section.TokenId >= 0)
            {
                ids.Add(section.TokenId);
            }
            else
            {
                EncodeText(text.Slice(section.Piece.Start, section.Piece.Length), isStartOfInput && section.Piece.Start == 0, ids, scratch);
            }
        }
    }

    private void EncodeText(ReadOnlySpan<byte> text, bool isStartOfInput, List<int> ids, EncodeScratch scratch)
    {
        if (text.IsEmpty)
        {
            return;
        }

        List<Piece> pieces = scratch.Pieces;
        pieces.Clear();
        pieces.Add(new Piece(0, text.Length));
        foreach (PreTokenizer step in _parts.PreTokenizers)
        {
            if (step.Rewrite(text, pieces, isStartOfInput) is byte[] rewritten)
            {
                text = rewritten;
            }

            List<Piece> next = scratch.NextPieces;
            next.Clear();
            foreach (Piece piece in pieces)
            {
                step.Split(text, piece, scratch.Split, next);
            }

            (scratch.Pieces, scratch.NextPieces) = (next, pieces);
            pieces = next;
        }

        foreach (Piece piece in pieces)
        {
            _parts.Model.Encode(text.Slice(piece.Start, piece.Length), ids, scratch);
        }
    }
}
