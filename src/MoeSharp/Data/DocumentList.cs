using System.Security.Cryptography;
using System.Text;

namespace MoeSharp.Data;

/// <summary>Documents held in memory, such as those of <see cref="SyntheticCorpus"/>.</summary>
public sealed class DocumentList : IDocumentSource
{
    private readonly IReadOnlyList<Document> _documents;
    private readonly string _name;

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
    public IReadOnlyList<SourceStamp> Stamps() => [new SourceStamp(_name, _documents.Sum(document => (long)Encoding.UTF8.GetByteCount(document.Text)), 0)];

    /// <inheritdoc/>
    public string ContentHash(SourceStamp stamp)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (Document document in _documents)
        {
            hash.AppendData(Encoding.UTF8.GetBytes($"{document.Domain}\0{document.Text}\0"));
        }

        return Convert.ToHexStringLower(hash.GetCurrentHash());
    }
}
