using MoeSharp.Tokenization;

namespace MoeSharp.Data;

/// <summary>Encodes documents with a tokenizer. One that names only an end token begins documents with it too, so that every byte of text is predicted.</summary>
/// <param name="tokenizer">The tokenizer.</param>
public sealed class TokenizerEncoder(Tokenizer tokenizer) : ITextEncoder
{
    /// <inheritdoc/>
    public int VocabSize => tokenizer.VocabSize;

    /// <inheritdoc/>
    public int? BeginToken => tokenizer.BosTokenId ?? tokenizer.EosTokenId;

    /// <inheritdoc/>
    public int? EndToken => tokenizer.EosTokenId;

    /// <inheritdoc/>
    public string Fingerprint => $"tokenizer {tokenizer.ContentHash}";

    /// <inheritdoc/>
    public void Encode(ReadOnlySpan<byte> utf8, List<int> ids) => tokenizer.Encode(utf8, ids);
}
