using System.Buffers;
using System.Text;
using System.Text.Unicode;

namespace MoeSharp.Data;

/// <summary>Cuts long text into passages at line ends, and checks that bytes are text.</summary>
internal static class TextCutter
{
    private const int LongestCharacter = 4; // bytes of UTF-8

    /// <summary>The passages of one whole document; none for an empty one.</summary>
    public static IEnumerable<TextPassage> Passages(ReadOnlyMemory<byte> document, string domain)
    {
        int begin = 0;
        while (begin < document.Length)
        {
            int length = document.Length - begin;
            if (length > TextPassage.MaximumBytes)
            {
                length = CutLength(document.Span.Slice(begin, TextPassage.MaximumBytes));
            }

            yield return new TextPassage(document.Slice(begin, length), begin == 0, begin + length == document.Length, domain);
            begin += length;
        }
    }

    /// <summary>Where to cut text that goes on: after the last line end, else after the last blank, else after the last whole character.</summary>
    public static int CutLength(ReadOnlySpan<byte> text)
    {
        int line = text.LastIndexOf((byte)'\n') + 1;
        if (line > 0)
        {
            return line;
        }

        int blank = text.LastIndexOf((byte)' ') + 1;
        return blank > 0 ? blank : WholeCharacters(text);
    }

    /// <summary>Refuses bytes that are not UTF-8 text, naming the file and the offset of the first bad byte.</summary>
    /// <param name="bytes">Whole characters, if they are text at all.</param>
    /// <param name="file">The file.</param>
    /// <param name="offset">Place of the first byte in the file.</param>
    /// <exception cref="ConfigurationException">The bytes hold a NUL or break the rules of UTF-8.</exception>
    public static void RequireText(ReadOnlySpan<byte> bytes, string file, long offset)
    {
        int nul = bytes.IndexOf((byte)0);
        if (Utf8.IsValid(bytes) && nul < 0)
        {
            return;
        }

        int bad = FirstBadByte(bytes);
        if (nul >= 0 && (bad < 0 || nul < bad))
        {
            throw new ConfigurationException($"{file}: byte {offset + nul} is NUL, so this is a binary file or UTF-16; give text in UTF-8, or leave the file out with a pattern such as 'folder/**/*.txt'");
        }

        throw new ConfigurationException($"{file}: invalid UTF-8 at byte {offset + bad} (0x{bytes[bad]:X2}); convert the file to UTF-8, for example with iconv, or leave it out");
    }

    /// <summary>Where the last character of the text begins.</summary>
    public static int LastCharacter(ReadOnlySpan<byte> text)
    {
        int at = Math.Max(0, text.Length - 1);
        while (at > 0 && (text[at] & 0xC0) == 0x80)
        {
            at--;
        }

        return at;
    }

    private static int FirstBadByte(ReadOnlySpan<byte> bytes)
    {
        int at = 0;
        while (at < bytes.Length)
        {
            if (Rune.DecodeFromUtf8(bytes[at..], out _, out int consumed) != OperationStatus.Done)
            {
                return at;
            }

            at += consumed;
        }

        return -1;
    }

    private static int WholeCharacters(ReadOnlySpan<byte> text)
    {
        for (int back = 1; back <= LongestCharacter && back < text.Length; back++)
        {
            byte lead = text[^back];
            if ((lead & 0xC0) != 0x80)
            {
                return lead >= 0xC0 ? text.Length - back : text.Length; // a lead byte goes to the next passage with its followers
            }
        }

        return text.Length; // no text; the check that follows says so
    }
}
