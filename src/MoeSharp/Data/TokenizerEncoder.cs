using MoeSharp.Tokenization;

namespace MoeSharp.Data;

/// <summary>Encodes documents with a tokenizer. One that names only an end token begins documents with it too, so that every byte of text is predicted.</summary>
/// <param name="tokenizer">The tokenizer.</param>
/// <param name="announcesTasks">Whether documents begin with the token of their domain's task; see <see cref="TaskTokens"/>.</param>
public sealed class TokenizerEncoder(Tokenizer tokenizer, bool announcesTasks = false) : ITextEncoder
{
    /// <inheritdoc/>
    public int VocabSize => tokenizer.VocabSize;

    /// <inheritdoc/>
    public int? BeginToken => tokenizer.BosTokenId ?? tokenizer.EosTokenId;

    /// <inheritdoc/>
    public int? EndToken => tokenizer.EosTokenId;

    /// <inheritdoc/>
    public string Fingerprint => $"tokenizer {tokenizer.ContentHash}{(announcesTasks ? " tasks" : "")}";

    /// <inheritdoc/>
    public int? TaskToken(string domain) => !announcesTasks ? null : TaskTokens.Find(tokenizer, domain) ?? throw new ConfigurationException(
        $"the tokenizer has no token {TaskTokens.Spell(domain)}, which would announce the texts of the task '{domain}'. Leave --tokenizer out, so that one is trained that has it.");

    /// <inheritdoc/>
    public void Encode(ReadOnlySpan<byte> utf8, List<int> ids) => tokenizer.Encode(utf8, ids);
}
