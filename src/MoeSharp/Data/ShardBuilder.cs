using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace MoeSharp.Data;

/// <summary>How text becomes a token dataset.</summary>
public sealed record DatasetOptions
{
    /// <summary>Share of the documents for validation, above 0 and below 1; at least one document lands on each side.</summary>
    public double ValidationFraction { get; init; } = 0.05;

    /// <summary>Chooses other documents for validation.</summary>
    public ulong SplitSeed { get; init; }

    /// <summary>Refuses values out of range.</summary>
    /// <exception cref="ConfigurationException">The fraction is not between 0 and 1.</exception>
    public void Validate()
    {
        if (ValidationFraction is not (> 0 and < 1))
        {
            throw new ConfigurationException($"validation fraction {ValidationFraction.ToString(CultureInfo.InvariantCulture)} is not between 0 and 1; use for example 0.05");
        }
    }
}

/// <summary>How far building is.</summary>
/// <param name="DoneBytes">Bytes of text encoded.</param>
/// <param name="TotalBytes">Bytes of text in all; 0 while they are being counted.</param>
public readonly record struct BuildProgress(long DoneBytes, long TotalBytes);

/// <summary>Encodes documents into memory-mapped shards, or finds that the folder already holds them.</summary>
/// <remarks>
/// The source is read twice: once to check it, count it and choose the split; once to encode. Neither holds more than one passage.
/// Shards are written under temporary names, flushed and renamed; the manifest comes last. A kill at any moment leaves the old dataset or none.
/// </remarks>
public static class ShardBuilder
{
    private const int MaximumDomains = 256; // a label per document is no domain
    private const long RecentTicks = 2 * TimeSpan.TicksPerSecond; // the coarsest clock of common file systems

    /// <summary>Opens the dataset in <paramref name="folder"/> if it is what this source, encoder and options give, else builds it.</summary>
    /// <param name="source">Documents.</param>
    /// <param name="encoder">Tokenizer.</param>
    /// <param name="folder">Folder of the dataset; created if missing. Nothing else should live there.</param>
    /// <param name="options">The split.</param>
    /// <param name="report">Called often while building.</param>
    /// <param name="cancellation">Stops building; the folder keeps what it held before.</param>
    /// <exception cref="ConfigurationException">The source is not text, or too small.</exception>
    public static TokenDataset OpenOrBuild(IDocumentSource source, ITextEncoder encoder, string folder, DatasetOptions options, Action<BuildProgress> report, CancellationToken cancellation)
    {
        options.Validate();
        string recipe = Recipe(source, encoder, options);
        if (TryReuse(source, recipe, folder) is { } dataset)
        {
            return dataset;
        }

        Build(source, encoder, recipe, folder, options, report, cancellation);
        return TokenDataset.Open(folder);
    }

    /// <summary>Opens or builds without telling how far it is.</summary>
    /// <exception cref="ConfigurationException">The source is not text, or too small.</exception>
    public static TokenDataset OpenOrBuild(IDocumentSource source, ITextEncoder encoder, string folder, DatasetOptions options) =>
        OpenOrBuild(source, encoder, folder, options, _ => { }, CancellationToken.None);

    private static string Recipe(IDocumentSource source, ITextEncoder encoder, DatasetOptions options)
    {
        string recipe = string.Create(CultureInfo.InvariantCulture, $"""
            {DatasetManifest.CurrentVersion}
            {source.Settings}
            {encoder.Fingerprint}
            {encoder.VocabSize} {encoder.BeginToken} {encoder.EndToken}
            {options.ValidationFraction:R} {options.SplitSeed} {TextPassage.MaximumBytes}
            """);
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(recipe)));
    }

    private static TokenDataset? TryReuse(IDocumentSource source, string recipe, string folder)
    {
        if (!File.Exists(Path.Combine(folder, DatasetManifest.FileName)))
        {
            return null;
        }

        try
        {
            DatasetManifest manifest = DatasetManifest.Read(folder);
            return manifest.Recipe == recipe && IsUnchanged(source, manifest) ? TokenDataset.Open(folder) : null;
        }
        catch (FileFormatException)
        {
            return null; // damaged: the sources are at hand, so it is built again
        }
    }

    private static bool IsUnchanged(IDocumentSource source, DatasetManifest manifest)
    {
        IReadOnlyList<SourceStamp> stamps = source.Stamps();
        if (stamps.Count != manifest.Sources.Count)
        {
            return false;
        }

        for (int i = 0; i < stamps.Count; i++)
        {
            SourceStamp now = stamps[i];
            BuiltSource then = manifest.Sources[i];
            if (now.Name != then.Name || now.Length != then.Length)
            {
                return false;
            }

            bool isCertain = now.ModifiedTicks != 0 && now.ModifiedTicks == then.ModifiedTicks && now.ModifiedTicks < manifest.BuiltTicks - RecentTicks;
            if (!isCertain && source.ContentHash(now) != then.Sha256)
            {
                return false;
            }
        }

        return true;
    }

    private static void Build(IDocumentSource source, ITextEncoder encoder, string recipe, string folder, DatasetOptions options, Action<BuildProgress> report, CancellationToken cancellation)
    {
        Directory.CreateDirectory(folder);
        long builtTicks = DateTime.UtcNow.Ticks;
        BuiltSource[] sources = source.Stamps().Select(stamp => new BuiltSource
        {
            Name = stamp.Name,
            Length = stamp.Length,
            ModifiedTicks = stamp.ModifiedTicks,
            Sha256 = source.ContentHash(stamp),
        }).ToArray();
        SplitPlan plan = SplitPlan.Make(source, options, bytes =>
        {
            cancellation.ThrowIfCancellationRequested();
            report(new BuildProgress(bytes, 0));
        });
        using SplitEncoding encoding = new(encoder, folder, plan, MaximumDomains);
        foreach (TextPassage passage in source.ReadPassages())
        {
            cancellation.ThrowIfCancellationRequested();
            encoding.Add(passage);
            report(new BuildProgress(encoding.DoneBytes, plan.NumBytes));
        }

        DatasetManifest manifest = encoding.Finish(recipe, builtTicks, sources, source.Warnings, options);
        manifest.Write(folder);
        DeleteOthers(folder, manifest);
    }

    private static void DeleteOthers(string folder, DatasetManifest manifest)
    {
        foreach (string path in Directory.EnumerateFiles(folder, "*.tokens").Where(path => Path.GetFileName(path) != manifest.Train.Name && Path.GetFileName(path) != manifest.Validation.Name))
        {
            try
            {
                File.Delete(path);
            }
            catch (IOException)
            {
                // another process still maps the old shard (Windows); the next build deletes it
            }
        }
    }
}
