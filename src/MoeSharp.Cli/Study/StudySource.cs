using System.Globalization;
using System.Text;
using MoeSharp.Analysis.Study;
using MoeSharp.Data;
using MoeSharp.Tokenization;

namespace MoeSharp.Cli.Study;

/// <summary>Which text a study reads: files, or the embedded corpus beyond what a quickstart trains on.</summary>
internal sealed record StudySource
{
    /// <summary>What <c>--data</c> calls the embedded corpus.</summary>
    public const string Embedded = "embedded";

    private static readonly string[] s_languages = ["pair", "shared_key", "dialect"];

    private const long TrainedBytes = 8_000_000; // of the embedded corpus: a quickstart trains on the first 6 MB
    private const int BytesPerToken = 4; // rough, to spread a sample over long texts

    /// <summary>Files, folders, globs, or <see cref="Embedded"/>; empty where there are <see cref="Ids"/>.</summary>
    public required IReadOnlyList<string> Data { get; init; }

    /// <summary>JSON file of token ids, or null for text.</summary>
    public string? Ids { get; init; }

    /// <summary>Field of a .jsonl record that holds the text.</summary>
    public string TextField { get; init; } = "text";

    /// <summary>Field of a .jsonl record that names the domain.</summary>
    public string DomainField { get; init; } = "domain";

    /// <summary>Seed of the embedded corpus.</summary>
    public ulong CorpusSeed { get; init; } = 7;

    /// <summary>Most tokens.</summary>
    public int MostTokens { get; init; }

    /// <summary>The generated language that is asked for, or null for text.</summary>
    public string? Language => Data.Count == 1 && s_languages.Contains(Data[0]) ? Data[0] : null;

    /// <summary>Whether the text is the embedded corpus.</summary>
    public bool IsEmbedded => Data.Count == 1 && Data[0] == Embedded;

    /// <summary>The text in words.</summary>
    public string Name => IsEmbedded ? string.Create(CultureInfo.InvariantCulture, $"embedded corpus, seed {CorpusSeed}, beyond its first {TrainedBytes / 1e6:0} MB")
        : Language is { } language ? $"generated lines of {language}" : Ids ?? string.Join(", ", Data);

    /// <summary>Reads and encodes the text.</summary>
    /// <param name="tokenizer">Tokenizer of the model.</param>
    /// <exception cref="ConfigurationException">A file is missing or no text.</exception>
    public IReadOnlyList<StudyDocument> Read(Tokenizer tokenizer)
    {
        List<StudyDocument> documents = [];
        long left = MostTokens;
        foreach (Document document in IsEmbedded ? EmbeddedDocuments() : FileDocuments())
        {
            int[] ids = Encode(document.Text, tokenizer, left);
            if (ids.Length > 1)
            {
                long bytes = ids.Skip(1).Where(id => id != tokenizer.EosTokenId).Sum(id => (long)tokenizer.TokenBytes(id).Length);
                documents.Add(StudyDocument.Of(ids, document.Domain, bytes));
                left -= ids.Length - 1;
            }

            if (left <= 0)
            {
                break;
            }
        }

        return documents.Count > 0 ? documents : throw new ConfigurationException("the texts hold no token to predict. Give texts with at least two tokens.");
    }

    private static int[] Encode(string text, Tokenizer tokenizer, long most)
    {
        List<int> ids = tokenizer.BosTokenId is { } begin ? [begin] : [];
        tokenizer.Encode(Encoding.UTF8.GetBytes(text), ids);
        if (tokenizer.EosTokenId is { } end)
        {
            ids.Add(end);
        }

        return ids.Count - 1 <= most ? [.. ids] : [.. ids[..(int)(most + 1)]];
    }

    private IEnumerable<Document> EmbeddedDocuments()
    {
        long bytes = 0;
        foreach (Document document in new SyntheticCorpus(CorpusSeed).Documents(long.MaxValue))
        {
            bytes += Encoding.UTF8.GetByteCount(document.Text);
            if (bytes > TrainedBytes)
            {
                yield return document;
            }
        }
    }

    // Every n-th document, so that a sample comes from everywhere. Without a field for it, the domain of a text is its file, where there are several.
    private IEnumerable<Document> FileDocuments()
    {
        TextSourceOptions options = new() { JsonField = TextField, DomainField = DomainField };
        TextSources all = TextSources.Expand(Data, options);
        long bytes = all.Stamps().Sum(stamp => stamp.Length);
        long every = Math.Max(1, bytes / ((long)MostTokens * BytesPerToken));
        long number = 0;
        foreach (string file in all.Files)
        {
            foreach (Document document in TextSources.Expand([file], options).ReadDocuments())
            {
                if (number++ % every == 0)
                {
                    string domain = document.Domain.Length == 0 && all.Files.Count is > 1 and <= 24 ? Path.GetFileNameWithoutExtension(file) : document.Domain;
                    yield return document with { Domain = domain };
                }
            }
        }
    }
}
