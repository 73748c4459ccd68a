namespace MoeSharp.Data;

/// <summary>Tokenised text, split into training and validation, memory-mapped from a folder that <see cref="ShardBuilder"/> wrote.</summary>
public sealed class TokenDataset : IDisposable
{
    private TokenDataset(string folder, DatasetManifest manifest, TokenSplit train, TokenSplit validation)
    {
        Folder = folder;
        Train = train;
        Validation = validation;
        Domains = manifest.Domains;
        Warnings = manifest.Warnings;
        Baselines = new NGramBaselines(manifest.UnigramBitsPerByte, manifest.BigramBitsPerByte);
        ContentHash = manifest.Train.Sha256[..16] + manifest.Validation.Sha256[..16];
    }

    /// <summary>The folder.</summary>
    public string Folder { get; }

    /// <summary>Text to train on.</summary>
    public TokenSplit Train { get; }

    /// <summary>Text to validate with; shares no document with <see cref="Train"/>.</summary>
    public TokenSplit Validation { get; }

    /// <summary>Domains by number; number 0 is the empty name of what has none.</summary>
    public IReadOnlyList<string> Domains { get; }

    /// <summary>What was worth telling the user when the dataset was built.</summary>
    public IReadOnlyList<string> Warnings { get; }

    /// <summary>Bits per byte of the validation text by byte statistics of the training text.</summary>
    public NGramBaselines Baselines { get; }

    /// <summary>Identifies the tokens; two datasets with the same one train the same model.</summary>
    public string ContentHash { get; }

    /// <summary>Tokens of both splits.</summary>
    public long NumTokens => Train.NumTokens + Validation.NumTokens;

    /// <summary>Ids are below this.</summary>
    public int VocabSize => Train.VocabSize;

    /// <summary>Opens a dataset after comparing its shards with their hashes.</summary>
    /// <param name="folder">A folder that holds dataset.json.</param>
    /// <exception cref="FileFormatException">Something is missing or damaged; the message names the file.</exception>
    public static TokenDataset Open(string folder)
    {
        DatasetManifest manifest = DatasetManifest.Read(folder);
        DatasetManifest.Verify(folder, manifest.Train);
        DatasetManifest.Verify(folder, manifest.Validation);
        TokenSplit train = TokenSplit.Open(Path.Combine(folder, manifest.Train.Name), manifest.Domains.Count);
        try
        {
            TokenSplit validation = TokenSplit.Open(Path.Combine(folder, manifest.Validation.Name), manifest.Domains.Count);
            return new TokenDataset(folder, manifest, train, validation);
        }
        catch
        {
            train.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Train.Dispose();
        Validation.Dispose();
    }
}
