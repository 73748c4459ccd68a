using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using MoeSharp.Data;
using MoeSharp.Execution;
using MoeSharp.Model;
using MoeSharp.Model.Routers;
using MoeSharp.Tokenization;

namespace MoeSharp.Training;

/// <summary>Text made ready for training: its tokenizer and its token shards, in a folder that is reused while nothing has changed.</summary>
/// <remarks>A text that changes gets another folder, so that a run which was started with the earlier version still finds it.</remarks>
public sealed class TrainingText : ITrainingSource, IDisposable
{
    private const long TokenizerSampleBytes = 16L << 20; // more text hardly changes the merges of a few thousand tokens (arbitrary)
    private const string SourceFile = "source.txt"; // what the folder was made from; written last, so that it marks a folder that is whole
    private const string TokenizerName = "tokenizer";
    private const string ShardsName = "shards";

    private TrainingText(string folder, Tokenizer tokenizer, TokenDataset dataset) => (Folder, Tokenizer, Dataset) = (folder, tokenizer, dataset);

    /// <summary>Where tokenizer and shards are.</summary>
    public string Folder { get; }

    /// <summary>The tokenizer.</summary>
    public Tokenizer Tokenizer { get; }

    /// <summary>Training and validation tokens.</summary>
    public TokenDataset Dataset { get; }

    /// <inheritdoc/>
    public string Place => Folder;

    /// <inheritdoc/>
    public string ContentHash => Dataset.ContentHash;

    /// <inheritdoc/>
    public string? TokenizerFolder => Path.Combine(Folder, TokenizerName);

    /// <summary>Trains or loads the tokenizer, and encodes the text, or finds that all is there already.</summary>
    /// <param name="source">Documents.</param>
    /// <param name="tokenizerPath">tokenizer.json or a folder with one; null to train one.</param>
    /// <param name="config">Vocabulary size and split.</param>
    /// <param name="parentFolder">Folder that holds one folder per version of a text and tokenizer.</param>
    /// <param name="report">Told what is being done.</param>
    /// <param name="cancellation">Stops between passages.</param>
    /// <exception cref="ConfigurationException">The source is no text or too small, or the tokenizer does not exist.</exception>
    public static TrainingText Prepare(IDocumentSource source, string? tokenizerPath, DatasetConfig config, string parentFolder, Action<string> report, CancellationToken cancellation)
    {
        Tokenizer? given = tokenizerPath is null ? null : Tokenizer.Load(tokenizerPath);
        string version = Version(source, given, config);
        string folder = Path.Combine(parentFolder, Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(version)))[..16]);
        Directory.CreateDirectory(folder);
        Tokenizer tokenizer = PrepareTokenizer(source, given, config, folder, report, cancellation);
        long reported = -1;
        TokenDataset dataset = ShardBuilder.OpenOrBuild(source, new TokenizerEncoder(tokenizer, config.TaskFrom != TaskNaming.None), Path.Combine(folder, ShardsName), new DatasetOptions { ValidationFraction = config.ValidationShare }, Report, cancellation);
        File.WriteAllText(Path.Combine(folder, SourceFile), version);
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
    public TrainingConfig Fit(TrainingConfig config)
    {
        ModelConfig model = config.RequireModel() with { VocabSize = Tokenizer.VocabSize, OutputTokens = 0, BosTokenId = Tokenizer.BosTokenId, EosTokenId = Tokenizer.EosTokenId };
        if (config.Data.TaskFrom != TaskNaming.None && model.Moe is { Router: TaskLevelRouterConfig router } moe)
        {
            model = model with { Moe = moe with { Router = WithTasks(router) } };
        }

        return config with { Model = model };
    }

    /// <inheritdoc/>
    public long[] CountTokens() => TokenFrequencies.Count(Dataset.Train);

    /// <inheritdoc/>
    public ITrainingBatches OpenBatches(TrainingConfig config) =>
        new BatchLoader(Dataset, config.Batch.SequenceLength, config.Batch.TokensPerPass / config.Batch.SequenceLength, config.Seed);

    /// <inheritdoc/>
    public IHeldOut OpenHeldOut(LanguageModel model, BatchConfig batch, ForwardContext context) => new HeldOutText(Dataset.Validation, model, batch, context);

    /// <inheritdoc/>
    public JsonObject Describe() => new()
    {
        ["folder"] = Path.GetFullPath(Folder),
        ["hash"] = Dataset.ContentHash,
        ["vocab_size"] = Dataset.VocabSize,
        ["train_documents"] = Dataset.Train.NumDocuments,
        ["train_bytes"] = Dataset.Train.NumBytes,
        ["train_tokens"] = Dataset.Train.NumTokens,
        ["validation_documents"] = Dataset.Validation.NumDocuments,
        ["validation_bytes"] = Dataset.Validation.NumBytes,
        ["validation_tokens"] = Dataset.Validation.NumTokens,
        ["unigram_bits_per_byte"] = Dataset.Baselines.UnigramBitsPerByte,
        ["bigram_bits_per_byte"] = Dataset.Baselines.BigramBitsPerByte,
    };

    /// <inheritdoc/>
    public void Dispose() => Dataset.Dispose();

    /// <summary>All that tokenizer and shards depend on, a line each: settings, tokenizer or its size, share for validation, and every file with length and time.</summary>
    private static string Version(IDocumentSource source, Tokenizer? given, DatasetConfig config)
    {
        string tokenizer = given is null ? $"vocabulary {config.VocabSize}" : $"tokenizer {given.ContentHash}";
        string settings = string.Create(CultureInfo.InvariantCulture, $"{source.Settings}\n{tokenizer}\nvalidation {config.ValidationShare:R}\n");
        return settings + string.Join('\n', source.Stamps().Select(stamp => string.Create(CultureInfo.InvariantCulture, $"{stamp.Name}\t{stamp.Length}\t{stamp.ModifiedTicks}")));
    }

    // The router's tasks are those that the texts are named after.
    private TaskLevelRouterConfig WithTasks(TaskLevelRouterConfig router)
    {
        IReadOnlyList<NamedTask> tasks = TaskTokens.In(Tokenizer);
        int[] tokens = [.. tasks.Select(task => task.Token)];
        bool isFitting = (router.NumTasks == 1 || router.NumTasks == tasks.Count) && (router.TaskTokens.Count == 0 || router.TaskTokens.SequenceEqual(tokens));
        return isFitting ? router with { NumTasks = tasks.Count, TaskTokens = tokens } : throw new ConfigurationException(
            $"data.task_from gives the model the {tasks.Count} tasks {string.Join(", ", tasks.Select(task => task.Name))}, and model.moesharp names others. Leave num_tasks and task_tokens out.");
    }

    private static Tokenizer PrepareTokenizer(IDocumentSource source, Tokenizer? given, DatasetConfig config, string folder, Action<string> report, CancellationToken cancellation)
    {
        string tokenizerFolder = Path.Combine(folder, TokenizerName);
        if (File.Exists(Path.Combine(folder, SourceFile)))
        {
            return given ?? Tokenizer.Load(tokenizerFolder);
        }

        if (given is null)
        {
            report($"training a tokenizer of {config.VocabSize} tokens");
        }

        Tokenizer tokenizer = given ?? BpeTrainer.Train(Sample(source, cancellation), new BpeTrainerOptions { VocabSize = config.VocabSize, AdditionalSpecialTokens = Tasks(source, config) });
        tokenizer.Save(tokenizerFolder);
        return tokenizer;
    }

    private static IReadOnlyList<string> Tasks(IDocumentSource source, DatasetConfig config) =>
        config.TaskFrom == TaskNaming.None ? [] : [.. source.ReadPassages().Select(passage => passage.Domain).Distinct().Order(StringComparer.Ordinal).Select(TaskTokens.Spell)];

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
}
