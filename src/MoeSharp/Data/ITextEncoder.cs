namespace MoeSharp.Data;

/// <summary>Turns text into token ids: a tokenizer, or plain bytes.</summary>
public interface ITextEncoder
{
    /// <summary>Ids are below this.</summary>
    int VocabSize { get; }

    /// <summary>Token before each document; null if documents begin with their text, whose first token is then never a target.</summary>
    int? BeginToken { get; }

    /// <summary>Token after each document, or null.</summary>
    int? EndToken { get; }

    /// <summary>Token before each document of a domain in place of <see cref="BeginToken"/>; null for that one.</summary>
    /// <exception cref="ConfigurationException">The vocabulary lacks it.</exception>
    int? TaskToken(string domain) => null;

    /// <summary>Changes whenever the encoding of any text may change.</summary>
    string Fingerprint { get; }

    /// <summary>Appends the ids of a passage, without begin and end.</summary>
    void Encode(ReadOnlySpan<byte> utf8, List<int> ids);
}

/// <summary>Text as its bytes: ids 0 to 255, then one id that begins and ends documents. Needs no tokenizer.</summary>
public sealed class ByteEncoder : ITextEncoder
{
    private const int Boundary = 256;

    /// <inheritdoc/>
    public int VocabSize => Boundary + 1;

    /// <inheritdoc/>
    public int? BeginToken => Boundary;

    /// <inheritdoc/>
    public int? EndToken => Boundary;

    /// <inheritdoc/>
    public string Fingerprint => "bytes-1";

    /// <inheritdoc/>
    public void Encode(ReadOnlySpan<byte> utf8, List<int> ids)
    {
        foreach (byte value in utf8)
        {
            ids.Add(value);
        }
    }
}
