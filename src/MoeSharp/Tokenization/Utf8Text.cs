using System.Buffers;
using System.Text;
using System.Text.Unicode;

namespace MoeSharp.Tokenization;

/// <summary>Checks that bytes from outside are UTF-8.</summary>
public static class Utf8Text
{
    /// <summary>Finds the first byte that is not part of well-formed UTF-8.</summary>
    /// <param name="text">Bytes to check.</param>
    /// <returns>The offset of the first ill-formed sequence, or -1 when all of <paramref name="text"/> is valid.</returns>
    public static int FindInvalid(ReadOnlySpan<byte> text)
    {
        if (Utf8.IsValid(text))
        {
            return -1;
        }

        for (int index = 0; index < text.Length;)
        {
            if (Rune.DecodeFromUtf8(text[index..], out _, out int length) != OperationStatus.Done)
            {
                return index;
            }

            index += length;
        }

        return -1;
    }

    /// <summary>Throws when bytes are not UTF-8.</summary>
    /// <param name="text">Bytes to check.</param>
    /// <param name="source">What the bytes are, for the message: a file path or "document 12".</param>
    /// <exception cref="ConfigurationException"><paramref name="text"/> is not valid UTF-8; the message names the offset.</exception>
    public static void ThrowIfInvalid(ReadOnlySpan<byte> text, string source)
    {
        int offset = FindInvalid(text);
        if (offset >= 0)
        {
            throw new ConfigurationException(
                $"{source} is not UTF-8 text: byte 0x{text[offset]:X2} at offset {offset} is not part of a valid sequence. Convert it to UTF-8 first.");
        }
    }
}
