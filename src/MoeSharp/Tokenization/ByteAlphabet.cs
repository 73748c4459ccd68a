namespace MoeSharp.Tokenization;

/// <summary>
/// The printable stand-ins that byte-level vocabularies write for the 256 bytes: bytes 33-126, 161-172 and 174-255 are the
/// characters of the same number; the other 68 are U+0100, U+0101, ... in order.
/// </summary>
internal static class ByteAlphabet
{
    private static readonly char[] CharacterOfByte = BuildCharacters();
    private static readonly short[] ByteOfCharacter = BuildBytes();

    /// <summary>The stand-in for a byte.</summary>
    public static char ToCharacter(byte value) => CharacterOfByte[value];

    /// <summary>Writes bytes in stand-ins.</summary>
    public static string ToText(ReadOnlySpan<byte> bytes)
    {
        Span<char> text = bytes.Length <= 256 ? stackalloc char[bytes.Length] : new char[bytes.Length];
        for (int index = 0; index < bytes.Length; index++)
        {
            text[index] = CharacterOfByte[bytes[index]];
        }

        return new string(text);
    }

    /// <summary>Reads stand-ins back; false when a character is not one.</summary>
    public static bool TryToBytes(string text, Span<byte> bytes)
    {
        for (int index = 0; index < text.Length; index++)
        {
            if (text[index] >= ByteOfCharacter.Length || ByteOfCharacter[text[index]] < 0)
            {
                return false;
            }

            bytes[index] = (byte)ByteOfCharacter[text[index]];
        }

        return true;
    }

    private static char[] BuildCharacters()
    {
        char[] characters = new char[256];
        int next = 0x100;
        for (int value = 0; value < 256; value++)
        {
            bool standsForItself = value is (>= 33 and <= 126) or (>= 161 and <= 172) or >= 174;
            characters[value] = standsForItself ? (char)value : (char)next++;
        }

        return characters;
    }

    private static short[] BuildBytes()
    {
        short[] bytes = new short[0x100 + 68];
        Array.Fill(bytes, (short)-1);
        for (int value = 0; value < 256; value++)
        {
            bytes[CharacterOfByte[value]] = (short)value;
        }

        return bytes;
    }
}
