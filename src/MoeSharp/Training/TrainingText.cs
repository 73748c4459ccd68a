using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using MoeSharp.Data;
using MoeSharp.Tokenization;

namespace MoeSharp.Training;

/// <summary>Text made ready for training: its tokenizer and its token shards, kept in a folder and reused while nothing has changed.</summary>
public sealed class TrainingText : IDisposable
{
    private const long TokenizerSampleBytes = 16L << 20; // more text hardly changes the merges of a few thousand tokens (arbitrary)
    private const string SourceFile = "source.txt";
    private const string TokenizerName = "tokenizer";
    private const string ShardsName = "shards";

    private TrainingText(string folder, Tokenizer tokenizer, TokenDataset dataset) => (Folder, Tokenizer, Dataset) = (folder, tokenizer, dataset);

    /// <summary>Where tokenizer and shards are.</summary>
    public string Folder { get; }

    /// <summary>The tokenizer.</summary>
    public Tokenizer Tokenizer { get; }

    /// <summary>Training and validation tokens.</summary>
    public TokenDataset Dataset { get; }

    /// <summary>Folder of the tokenizer's files.</summary>
    public string TokenizerFolder => Path.Combine(Folder, TokenizerName);

    /// <summary>Trains or loads the tokenizer, and encodes the text, or finds that all is there already.</summary>
    /// <param name="source">Documents.</param>
    /// <param name="tokenizerPath">tokenizer.json or a folder with one; null to train one.</param>
    /// <param name="config">Vocabulary size and split.</param>
    /// <param name="parentFolder">Folder that holds one folder per text and tokenizer.</param>
    /// <param name="report">Told what is being done.</param>
    /// <param name="cancellation">Stops between passages.</param>
    /// <exception cref="ConfigurationException">The source is no text or too small, or the tokenizer does not exist.</exception>
    public static TrainingText Prepare(IDocumentSource source, string? tokenizerPath, DatasetConfig config, string parentFolder, Action<string> report, CancellationToken cancellation)
    {
        string stamps = string.Join('\n', source.Stamps().Select(stamp => string.Create(CultureInfo.InvariantCulture, $"{stamp.Name}\t{stamp.Length}\t{stamp.ModifiedTicks}")));
        string names = string.Join('\n', source.Stamps().Select(stamp => stamp.Name));
        string folder = Path.Combine(parentFolder, Key($"{names}\n{source.Settings}\n{Path.GetFullPath(tokenizerPath ?? ".")}\n{(tokenizerPath is null ? config.VocabSize : 0)}\n{config.ValidationShare:R}"));
        Directory.CreateDirectory(folder);
        Tokenizer tokenizer = tokenizerPath is null
            ? TrainOrReuse(source, config.VocabSize, folder, stamps, report, cancellation)
            : Load(tokenizerPath, folder);
        long reported = -1;
        TokenDataset dataset = ShardBuilder.OpenOrBuild(source, new TokenizerEncoder(tokenizer), Path.Combine(folder, ShardsName), new DatasetOptions { ValidationFraction = config.ValidationShare }, Report, cancellation);
        File.WriteAllText(Path.Combine(folder, SourceFile), stamps);
        return new TrainingText(folder, tokenizer, dataset);

        void Report(BuildProgress progress)
        {
            long tenth = progress.TotalBytes > 0 ? 10 * progress.DoneBytes / progress.TotalBytes : 0; // the total is not known while the text is first read
            if (tenth > reported)
            {
                report(tenth == 0 ? "encoding the text" : $"encoding the text: {10 * tenth} %");
                reported = tenth;
            }
        }
    }

    /// <summary>Opens what <see cref="Prepare"/> left, without looking at the texts themselves.</summary>
    /// <param name="folder">Its <see cref="Folder"/>.</param>
    /// <exception cref="FileFormatException">A file is missing or damaged.</exception>
    public static TrainingText Open(string folder) =>
        new(folder, Tokenizer.Load(Path.Combine(folder, TokenizerName)), TokenDataset.Open(Path.Combine(folder, ShardsName)));

    /// <inheritdoc/>
    public void Dispose() => Dataset.Dispose();

    private static Tokenizer Load(string path, string folder)
    {
        Tokenizer tokenizer = Tokenizer.Load(path);
        tokenizer.Save(Path.Combine(folder, TokenizerName));
        return tokenizer;
    }

    private static Tokenizer TrainOrReuse(IDocumentSource source, int vocabSize, string folder, string stamps, Action<string> report, CancellationToken cancellation)
    {
        string tokenizerFolder = Path.Combine(folder, TokenizerName);
        string sourceFile = Path.Combine(folder, SourceFile);
        if (File.Exists(sourceFile) && File.ReadAllText(sourceFile) == stamps && File.Exists(Path.Combine(tokenizerFolder, "tokenizer.json")))
        {
            return Tokenizer.Load(tokenizerFolder);
        }

        report($"training a tokenizer of {vocabSize} tokens");
        Tokenizer tokenizer = BpeTrainer.Train(Sample(source, cancellation), new BpeTrainerOptions { VocabSize = vocabSize });
        tokenizer.Save(tokenizerFolder);
        return tokenizer;
    }

    /// <summary>Evenly spaced passages, at most about <see cref="TokenizerSampleBytes"/>.</summary>
    private static IEnumerable<ReadOnlyMemory<byte>> Sample(IDocumentSource source, CancellationToken cancellation)
    {
        long stride = 1 + (source.Stamps().Sum(stamp => stamp.Length) / TokenizerSampleBytes);
        long index = 0;
        foreach (TextPassage passage in source.ReadPassages())
        {
            cancellation.ThrowIfCancellationRequested();
            if (index++ % stride == 0)
            {
                yield return passage.Utf8;
            }
        }
    }

    private static string Key(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)))[..16];
}
