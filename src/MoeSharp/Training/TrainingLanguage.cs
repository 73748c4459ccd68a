using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using MoeSharp.Data;
using MoeSharp.Data.Synthetic;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;

namespace MoeSharp.Training;

/// <summary>A language whose truth is known, made ready for training: endless new lines, and fixed lines that are held out.</summary>
public sealed class TrainingLanguage : ITrainingSource
{
    private const ulong HeldOutSeed = 99; // arbitrary
    private const ulong CountedStream = 0xC047; // of the lines whose tokens are counted
    private const int NumCountedLines = 4096; // arbitrary: a token that is one of a thousand occurs some hundred times
    private const ulong HeldOutStream = 0x4E1D; // keeps held-out lines apart from those of any training seed

    private readonly KnownLanguage _language;
    private readonly JsonObject _settings;

    /// <summary>Draws the held-out lines and computes their truth.</summary>
    /// <param name="language">Language.</param>
    /// <param name="settings">The settings that it was made from, for run.json.</param>
    /// <param name="numHeldOutLines">Lines that are held out; the same for every seed.</param>
    /// <exception cref="ConfigurationException">No line is held out.</exception>
    public TrainingLanguage(KnownLanguage language, JsonObject settings, int numHeldOutLines)
    {
        if (numHeldOutLines is < 1 or > 1 << 20)
        {
            throw new ConfigurationException($"corpus {language.Name}: validation_lines {numHeldOutLines} must lie between 1 and {1 << 20}.");
        }

        (_language, _settings) = (language, settings);
        HeldOut = HeldOutTruth.Draw(language, numHeldOutLines, SplitMix64.Mix(HeldOutSeed) ^ HeldOutStream);
        string content = string.Create(CultureInfo.InvariantCulture, $"{settings.ToJsonString()} {numHeldOutLines}");
        ContentHash = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(content)))[..32];
    }

    /// <summary>Held-out lines with their truth.</summary>
    public HeldOutTruth HeldOut { get; }

    /// <inheritdoc/>
    public string Place => $"corpus {_language.Name}";

    /// <inheritdoc/>
    public string ContentHash { get; }

    /// <inheritdoc/>
    public string? TokenizerFolder => null;

    /// <inheritdoc/>
    public TrainingConfig Fit(TrainingConfig config)
    {
        int rows = _language.LineTokens - 1; // the last token of a line is only ever a target
        return config.Batch.SequenceLength == rows
            ? config with { Model = config.RequireModel() with { VocabSize = _language.VocabSize, OutputTokens = _language.NumSymbols, BosTokenId = null, EosTokenId = null } }
            : throw new ConfigurationException($"{Place}: a line has {_language.LineTokens} tokens, so batch.sequence_length must be {rows}, not {config.Batch.SequenceLength}. Set it, and batch.tokens to a multiple of it.");
    }

    /// <inheritdoc/>
    public long[] CountTokens()
    {
        long[] counts = new long[_language.VocabSize];
        int[] line = new int[_language.LineTokens];
        SplitMix64 random = new(HeldOutSeed, CountedStream);
        for (int index = 0; index < NumCountedLines; index++)
        {
            _language.Draw(ref random, line);
            foreach (int token in line)
            {
                counts[token]++;
            }
        }

        return counts;
    }

    /// <inheritdoc/>
    public ITrainingBatches OpenBatches(TrainingConfig config) => new LineBatches(_language, config.Batch.TokensPerPass / config.Batch.SequenceLength, config.Seed);

    /// <inheritdoc/>
    public IHeldOut OpenHeldOut(LanguageModel model, BatchConfig batch, ForwardContext context) => new HeldOutLines(HeldOut, model, batch.TokensPerPass / batch.SequenceLength, context);

    /// <inheritdoc/>
    public JsonObject Describe() => new()
    {
        ["language"] = _settings.DeepClone(),
        ["hash"] = ContentHash,
        ["vocab_size"] = _language.VocabSize,
        ["validation_lines"] = HeldOut.NumLines,
        ["entropy"] = HeldOut.Entropy,
    };
}
