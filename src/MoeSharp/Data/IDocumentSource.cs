namespace MoeSharp.Data;

/// <summary>Where documents come from: files, or memory. It can be read any number of times, with the same documents in the same order.</summary>
public interface IDocumentSource
{
    /// <summary>How the documents are cut out of the source; part of what makes a token dataset out of date.</summary>
    string Settings { get; }

    /// <summary>What was worth telling the user while reading.</summary>
    IReadOnlyList<string> Warnings { get; }

    /// <summary>Reads every document as passages of at most <see cref="TextPassage.MaximumBytes"/>.</summary>
    /// <exception cref="ConfigurationException">A file is not text, or a record lacks its field.</exception>
    IEnumerable<TextPassage> ReadPassages();

    /// <summary>Name, length and time of change of each part, cheap to ask for.</summary>
    IReadOnlyList<SourceStamp> Stamps();

    /// <summary>SHA-256 of a part's content, in hexadecimal.</summary>
    string ContentHash(SourceStamp stamp);
}

/// <summary>A stretch of one document; long documents are several passages.</summary>
/// <param name="Utf8">The text, valid UTF-8 of whole characters; the memory is reused when the next passage is asked for.</param>
/// <param name="BeginsDocument">It is the document's first.</param>
/// <param name="EndsDocument">It is the document's last.</param>
/// <param name="Domain">Kind of text; empty where unknown.</param>
public readonly record struct TextPassage(ReadOnlyMemory<byte> Utf8, bool BeginsDocument, bool EndsDocument, string Domain)
{
    /// <summary>Largest passage; bounds the memory that reading and encoding take, whatever the documents' size.</summary>
    public const int MaximumBytes = 64 * 1024;
}

/// <summary>Identifies the state of a part of a source.</summary>
/// <param name="Name">Full path, or a name.</param>
/// <param name="Length">Bytes.</param>
/// <param name="ModifiedTicks">Time of last change (UTC ticks), 0 where there is none.</param>
public readonly record struct SourceStamp(string Name, long Length, long ModifiedTicks);
