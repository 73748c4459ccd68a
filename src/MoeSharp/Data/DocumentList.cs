using System.Security.Cryptography;
using System.Text;

namespace MoeSharp.Data;

/// <summary>Documents held in memory, such as those of <see cref="SyntheticCorpus"/>.</summary>
public sealed class DocumentList : IDocumentSource
{
    private readonly IReadOnlyList<Document> _documents;
    private readonly string _name;
    private string? _contentHash;

    /// <summary>Wraps documents; empty ones are left out when reading.</summary>
    /// <param name="documents">The documents.</param>
    /// <param name="name">Name of the whole, for messages.</param>
    public DocumentList(IReadOnlyList<Document> documents, string name)
    {
        _documents = documents;
        _name = name;
    }

    /// <inheritdoc/>
    public string Settings => "documents";

    /// <inheritdoc/>
    public IReadOnlyList<string> Warnings => [];

    /// <inheritdoc/>
    public IEnumerable<TextPassage> ReadPassages()
    {
        foreach (Document document in _documents)
        {
            byte[] utf8 = Encoding.UTF8.GetBytes(document.Text);
            foreach (TextPassage passage in TextCutter.Passages(utf8, document.Domain))
            {
                yield return passage;
            }
        }
    }

    /// <inheritdoc/>
    /// <remarks>The name carries the hash, since memory has no time of change.</remarks>
    public IReadOnlyList<SourceStamp> Stamps() =>
        [new SourceStamp($"{_name}#{ContentHash()[..16]}", _documents.Sum(document => (long)Encoding.UTF8.GetByteCount(document.Text)), 0)];

    /// <inheritdoc/>
    public string ContentHash(SourceStamp stamp) => ContentHash();

    private string ContentHash()
    {
        if (_contentHash is null)
        {
            using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            foreach (Document document in _documents)
            {
                hash.AppendData(Encoding.UTF8.GetBytes($"{document.Domain}\0{document.Text}\0"));
            }

            _contentHash = Convert.ToHexStringLower(hash.GetCurrentHash());
        }

        return _contentHash;
    }
}
