using System.Text;

namespace MoeSharp.Data;

/// <summary>Reads a text file in passages, one document per file or per separator line, without ever holding more than one passage.</summary>
internal static class PlainTextReader
{
    private static readonly byte[] ByteOrderMark = [0xEF, 0xBB, 0xBF];

    /// <summary>Every passage of the file; none when it is empty.</summary>
    /// <param name="file">Path.</param>
    /// <param name="separator">A line between documents; empty for one document per file.</param>
    public static IEnumerable<TextPassage> Read(string file, string separator)
    {
        byte[] mark = Encoding.UTF8.GetBytes(separator);
        bool isBegun = false;
        TextPassage? held = null; // one passage behind, since only the next tells whether this one ends its document
        byte[] heldBytes = new byte[TextPassage.MaximumBytes];
        foreach ((ReadOnlyMemory<byte> text, bool endsDocument) in Stretches(file, mark))
        {
            if (held is { } passage && text.Length > 0)
            {
                yield return passage;
                held = null;
            }

            if (text.Length > 0)
            {
                text.CopyTo(heldBytes);
                held = new TextPassage(heldBytes.AsMemory(0, text.Length), !isBegun, false, "");
                isBegun = true;
            }

            if (endsDocument && held is { } last)
            {
                yield return last with { EndsDocument = true };
                held = null;
                isBegun = false;
            }
        }
    }

    /// <summary>Text without separators, each stretch within one document; an empty stretch may end a document.</summary>
    private static IEnumerable<(ReadOnlyMemory<byte> Text, bool EndsDocument)> Stretches(string file, byte[] mark)
    {
        foreach (ReadOnlyMemory<byte> chunk in Chunks(file))
        {
            ReadOnlyMemory<byte> rest = chunk;
            for (int at = FindMark(rest.Span, mark, out int length); at >= 0; at = FindMark(rest.Span, mark, out length))
            {
                yield return (rest[..at], true);
                rest = rest[(at + length)..];
            }

            yield return (rest, false);
        }

        yield return (ReadOnlyMemory<byte>.Empty, true);
    }

    /// <summary>The file in checked chunks that end at line ends where there are any.</summary>
    private static IEnumerable<ReadOnlyMemory<byte>> Chunks(string file)
    {
        using FileStream stream = new(file, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0, FileOptions.SequentialScan);
        byte[] buffer = new byte[TextPassage.MaximumBytes];
        long offset = 0;
        int filled = stream.ReadAtLeast(buffer, buffer.Length, throwOnEndOfStream: false);
        RefuseUtf16(buffer.AsSpan(0, filled), file);
        int skip = buffer.AsSpan(0, filled).StartsWith(ByteOrderMark) ? ByteOrderMark.Length : 0;
        while (filled > 0)
        {
            int length = filled < buffer.Length ? filled : TextCutter.CutLength(buffer);
            TextCutter.RequireText(buffer.AsSpan(skip, length - skip), file, offset + skip);
            yield return buffer.AsMemory(skip, length - skip);
            skip = 0;
            offset += length;
            buffer.AsSpan(length, filled - length).CopyTo(buffer);
            filled -= length;
            filled += stream.ReadAtLeast(buffer.AsSpan(filled), buffer.Length - filled, throwOnEndOfStream: false);
        }
    }

    private static void RefuseUtf16(ReadOnlySpan<byte> begin, string file)
    {
        if (begin.Length >= 2 && ((begin[0] == 0xFF && begin[1] == 0xFE) || (begin[0] == 0xFE && begin[1] == 0xFF)))
        {
            throw new ConfigurationException($"{file}: invalid UTF-8 at byte 0: the file begins like UTF-16; convert it to UTF-8, for example with iconv -f UTF-16 -t UTF-8");
        }
    }

    /// <summary>Finds a line that equals the mark; its length includes the line end. -1 if there is none.</summary>
    private static int FindMark(ReadOnlySpan<byte> text, byte[] mark, out int length)
    {
        length = 0;
        if (mark.Length == 0)
        {
            return -1;
        }

        int from = 0;
        for (int at = text.IndexOf(mark); at >= 0; at = text[from..].IndexOf(mark))
        {
            at += from;
            int end = at + mark.Length;
            bool beginsLine = at == 0 || text[at - 1] == '\n';
            int lineEnd = end < text.Length && text[end] == '\r' ? end + 1 : end;
            if (beginsLine && (lineEnd == text.Length || text[lineEnd] == '\n'))
            {
                length = Math.Min(lineEnd + 1, text.Length) - at;
                return at;
            }

            from = end;
        }

        return -1;
    }
}
