using System.Security.Cryptography;
using System.Text;

namespace MoeSharp.Data;

/// <summary>How documents lie in files.</summary>
public sealed record TextSourceOptions
{
    /// <summary>Field of a .jsonl record that holds the text.</summary>
    public string JsonField { get; init; } = "text";

    /// <summary>Field of a .jsonl record that names the domain; a record may lack it.</summary>
    public string DomainField { get; init; } = "domain";

    /// <summary>A line that ends one document and begins the next in plain text files, for example <c>&lt;|endoftext|&gt;</c>; empty: each file is one document.</summary>
    public string Separator { get; init; } = "";

    /// <summary>What names the tasks of the documents; a task's name is then their domain.</summary>
    public TaskNaming TaskFrom { get; init; }
}

/// <summary>Text files as a stream of documents: .jsonl holds one record per line; anything else is one document per file, UTF-8.</summary>
/// <remarks>
/// Files are read in chunks, so a plain text file may be larger than memory. A .jsonl line is held whole and may be up to <see cref="MaximumLineBytes"/>.
/// A byte order mark is left out. Empty files and records are skipped with a warning; whatever is not UTF-8 text is refused.
/// </remarks>
public sealed class TextSources : IDocumentSource
{
    /// <summary>Longest line of a .jsonl file.</summary>
    public const int MaximumLineBytes = 256 * 1024 * 1024;

    private readonly SortedSet<string> _warnings = new(StringComparer.Ordinal);

    private TextSources(IReadOnlyList<string> files, TextSourceOptions options)
    {
        Files = files;
        Options = options;
    }

    /// <summary>Full paths, in the order of reading.</summary>
    public IReadOnlyList<string> Files { get; }

    /// <summary>How documents lie in the files.</summary>
    public TextSourceOptions Options { get; }

    /// <inheritdoc/>
    public string Settings =>
        $"json_field={Options.JsonField};domain_field={Options.DomainField};separator={Options.Separator}{(Options.TaskFrom == TaskNaming.None ? "" : $";task_from={Options.TaskFrom}")}";

    /// <inheritdoc/>
    public IReadOnlyList<string> Warnings => [.. _warnings];

    /// <summary>Finds the files that <paramref name="patterns"/> name: files, folders (everything below them), globs with <c>*</c>, <c>**</c>, <c>?</c>.</summary>
    /// <param name="patterns">At least one; each must match a file.</param>
    /// <param name="jsonField">Field of a .jsonl record that holds the text.</param>
    /// <exception cref="ConfigurationException">A pattern matches nothing; the message names it.</exception>
    public static TextSources Expand(IReadOnlyList<string> patterns, string jsonField = "text") => Expand(patterns, new TextSourceOptions { JsonField = jsonField });

    /// <summary>Finds the files that <paramref name="patterns"/> name, with all options.</summary>
    /// <exception cref="ConfigurationException">A pattern matches nothing, or an option makes no sense.</exception>
    public static TextSources Expand(IReadOnlyList<string> patterns, TextSourceOptions options)
    {
        if (options.JsonField.Length == 0)
        {
            throw new ConfigurationException("the JSON field name is empty; name the field that holds the text, for example text");
        }

        if (options.Separator.AsSpan().ContainsAny('\n', '\r'))
        {
            throw new ConfigurationException("the document separator holds a line break; give the text of one whole line, for example <|endoftext|>");
        }

        return new TextSources(FilePatterns.Expand(patterns), options);
    }

    /// <inheritdoc/>
    public IEnumerable<TextPassage> ReadPassages()
    {
        _warnings.Clear();
        bool isDivided = Options.Separator.Length == 0;
        foreach (string file in Files)
        {
            long numDocuments = 0;
            foreach (TextPassage passage in IsJsonLines(file) ? JsonLinesReader.Read(file, Options, Warn) : PlainTextReader.Read(file, Options.Separator))
            {
                numDocuments += passage.BeginsDocument ? 1 : 0;
                yield return passage with { Domain = DomainOf(passage, file) };
            }

            isDivided |= numDocuments > 1 && !IsJsonLines(file);
            if (numDocuments == 0)
            {
                Warn($"{file} is empty and was skipped");
            }
        }

        if (!isDivided)
        {
            Warn($"the separator {Options.Separator} divides none of the text files; it must be a whole line, and .jsonl files need none");
        }
    }

    /// <summary>Reads whole documents; for texts that fit into memory.</summary>
    public IEnumerable<Document> ReadDocuments()
    {
        List<byte> bytes = [];
        int number = 0;
        foreach (TextPassage passage in ReadPassages())
        {
            bytes.AddRange(passage.Utf8.Span);
            if (passage.EndsDocument)
            {
                yield return new Document(Encoding.UTF8.GetString([.. bytes]), passage.Domain, $"document {number++}");
                bytes.Clear();
            }
        }
    }

    /// <inheritdoc/>
    public IReadOnlyList<SourceStamp> Stamps() => Files.Select(file =>
    {
        FileInfo facts = new(file);
        return new SourceStamp(file, facts.Length, facts.LastWriteTimeUtc.Ticks);
    }).ToArray();

    /// <inheritdoc/>
    public string ContentHash(SourceStamp stamp)
    {
        using FileStream stream = File.OpenRead(stamp.Name);
        return Convert.ToHexStringLower(SHA256.HashData(stream));
    }

    private string DomainOf(in TextPassage passage, string file) => Options.TaskFrom switch
    {
        TaskNaming.File => Path.GetFileNameWithoutExtension(file),
        TaskNaming.Folder => Path.GetFileName(Path.GetDirectoryName(file)) ?? "",
        TaskNaming.Field when passage.Domain.Length == 0 => throw new ConfigurationException(
            $"{file} holds a text that names no task in the field {Options.DomainField}. Give .jsonl files whose records all have it, or name tasks by file or folder."),
        _ => passage.Domain,
    };

    private static bool IsJsonLines(string file) =>
        Path.GetExtension(file) is string extension && (extension.Equals(".jsonl", StringComparison.OrdinalIgnoreCase) || extension.Equals(".ndjson", StringComparison.OrdinalIgnoreCase));

    private void Warn(string warning) => _warnings.Add(warning);
}
