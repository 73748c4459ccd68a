using System.Text;

namespace MoeSharp.Tokenization;

/// <summary>
/// Decodes one token after another for streaming. A character whose bytes are spread over several tokens comes out whole with its
/// last token. For one stream; not thread-safe.
/// </summary>
/// <param name="tokenizer">The vocabulary.</param>
/// <param name="skipSpecialTokens">Special tokens give no text.</param>
public sealed class IncrementalDecoder(Tokenizer tokenizer, bool skipSpecialTokens = true)
{
    private readonly Utf8Assembler _assembler = new();
    private readonly StringBuilder _text = new();
    private int _leftToStrip = tokenizer.Decoder.NumLeadingStripped;

    /// <summary>Adds a token.</summary>
    /// <param name="id">Token id. An id that the vocabulary does not have gives no text.</param>
    /// <returns>The text that became complete; often empty inside a character of several tokens.</returns>
    public string Push(int id)
    {
        if (skipSpecialTokens && tokenizer.IsSpecial(id))
        {
            return "";
        }

        return PushBytes(tokenizer.TokenBytes(id));
    }

    /// <summary>Ends the stream.</summary>
    /// <returns>U+FFFD for a character that was begun and not completed, else an empty string.</returns>
    public string Flush()
    {
        _assembler.Flush(_text);
        return TakeText(isFirstTokenDone: true);
    }

    /// <summary>Adds the bytes of a token.</summary>
    internal string PushBytes(ReadOnlySpan<byte> bytes)
    {
        _assembler.Push(bytes, _text);
        return TakeText(isFirstTokenDone: !bytes.IsEmpty);
    }

    private string TakeText(bool isFirstTokenDone)
    {
        TokenDecoder decoder = tokenizer.Decoder;
        while (_leftToStrip > 0 && _text.Length > 0)
        {
            // The stripped character is one UTF-16 unit, which the file loader checks.
            bool strips = _text[0] == decoder.LeadingStripped[0];
            _leftToStrip = strips ? _leftToStrip - 1 : 0;
            _text.Remove(0, strips ? 1 : 0);
        }

        if (decoder.StripsFirstTokenOnly && isFirstTokenDone)
        {
            _leftToStrip = 0;
        }

        string text = _text.ToString();
        _text.Clear();
        return text;
    }
}
