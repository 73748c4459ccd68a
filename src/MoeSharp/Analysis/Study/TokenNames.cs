using System.Globalization;
using MoeSharp.Tokenization;

namespace MoeSharp.Analysis.Study;

/// <summary>Tokens as people read them.</summary>
public sealed class TokenNames
{
    private readonly Tokenizer? _tokenizer;

    /// <summary>Takes the names from a tokenizer.</summary>
    /// <param name="tokenizer">Tokenizer; null for token ids that spell nothing.</param>
    public TokenNames(Tokenizer? tokenizer) => _tokenizer = tokenizer;

    /// <summary>A token's text, with line breaks; incomplete characters as their bytes, tokens without text as their number.</summary>
    public string Text(int id)
    {
        if (_tokenizer is null)
        {
            return string.Create(CultureInfo.InvariantCulture, $"{id} ");
        }

        string decoded = _tokenizer.Decode([id], skipSpecialTokens: false);
        return decoded.Contains('\ufffd') ? "<" + Convert.ToHexString(_tokenizer.TokenBytes(id)) + ">" : decoded;
    }

    /// <summary>A token within a list: line breaks and tabulators are visible.</summary>
    public string Quoted(int id) => _tokenizer is null
        ? id.ToString(CultureInfo.InvariantCulture)
        : $"'{Text(id).Replace("\n", "\\n", StringComparison.Ordinal).Replace("\r", "\\r", StringComparison.Ordinal).Replace("\t", "\\t", StringComparison.Ordinal)}'";
}
