using System.Buffers;
using System.Text;

namespace MoeSharp.Tokenization;

/// <summary>How the tokens of a vocabulary read back as text; compiled from the decoder steps of a tokenizer file.</summary>
internal sealed class TokenDecoder
{
    /// <summary>Tokens are written in the byte alphabet.</summary>
    public bool IsByteLevel { get; init; }

    /// <summary>Tokens <c>&lt;0xHH&gt;</c> stand for bytes.</summary>
    public bool HasByteFallback { get; init; }

    /// <summary>Replacements inside each token, in order.</summary>
    public IReadOnlyList<KeyValuePair<string, string>> Replacements { get; init; } = [];

    /// <summary>The character removed from the start of the whole text, up to <see cref="NumLeadingStripped"/> times.</summary>
    public string LeadingStripped { get; init; } = " ";

    /// <summary>How many leading characters are removed at most.</summary>
    public int NumLeadingStripped { get; init; }

    /// <summary>The stripping looks at the first token only, not at the text.</summary>
    public bool StripsFirstTokenOnly { get; init; }

    /// <summary>The bytes that a token of the model stands for.</summary>
    public byte[] BytesOf(string token)
    {
        if (IsByteLevel)
        {
            byte[] bytes = new byte[token.Length];
            return ByteAlphabet.TryToBytes(token, bytes) ? bytes : Encoding.UTF8.GetBytes(token);
        }

        if (HasByteFallback && TryReadByteToken(token, out byte value))
        {
            return [value];
        }

        foreach ((string pattern, string content) in Replacements)
        {
            token = token.Replace(pattern, content, StringComparison.Ordinal);
        }

        return Encoding.UTF8.GetBytes(token);
    }

    /// <summary>Reads a token of the form <c>&lt;0xHH&gt;</c>.</summary>
    public static bool TryReadByteToken(string token, out byte value)
    {
        value = 0;
        return token.Length == 6 && token.StartsWith("<0x", StringComparison.Ordinal) && token[5] == '>'
            && byte.TryParse(token.AsSpan(3, 2), System.Globalization.NumberStyles.AllowHexSpecifier, null, out value);
    }
}

/// <summary>
/// Turns the bytes of tokens into text, keeping back the bytes of a character that is not complete yet. Bytes that can never become
/// a character are written as U+FFFD.
/// </summary>
internal sealed class Utf8Assembler
{
    private readonly byte[] _pending = new byte[4];
    private int _numPending;

    /// <summary>Appends the characters that <paramref name="bytes"/> complete.</summary>
    public void Push(ReadOnlySpan<byte> bytes, StringBuilder text)
    {
        while (_numPending > 0 && !bytes.IsEmpty)
        {
            _pending[_numPending++] = bytes[0];
            bytes = bytes[1..];
            DrainPending(text);
        }

        int complete = CompleteLength(bytes);
        text.Append(Encoding.UTF8.GetString(bytes[..complete]));
        bytes[complete..].CopyTo(_pending.AsSpan(_numPending));
        _numPending += bytes.Length - complete;
    }

    /// <summary>Appends U+FFFD for a character that never became complete.</summary>
    public void Flush(StringBuilder text)
    {
        if (_numPending > 0)
        {
            text.Append(Encoding.UTF8.GetString(_pending.AsSpan(0, _numPending)));
            _numPending = 0;
        }
    }

    private void DrainPending(StringBuilder text)
    {
        while (_numPending > 0)
        {
            OperationStatus status = Rune.DecodeFromUtf8(_pending.AsSpan(0, _numPending), out Rune rune, out int used);
            if (status == OperationStatus.NeedMoreData)
            {
                return;
            }

            text.Append(rune.ToString());
            _pending.AsSpan(used, _numPending - used).CopyTo(_pending);
            _numPending -= used;
        }
    }

    /// <summary>Bytes before a last character that is begun and may still be completed.</summary>
    private static int CompleteLength(ReadOnlySpan<byte> bytes)
    {
        int earliest = Math.Max(0, bytes.Length - 3);
        for (int start = bytes.Length - 1; start >= earliest; start--)
        {
            if (bytes[start] >= 0xC0)
            {
                return Rune.DecodeFromUtf8(bytes[start..], out _, out _) == OperationStatus.NeedMoreData ? start : bytes.Length;
            }
        }

        return bytes.Length;
    }
}
