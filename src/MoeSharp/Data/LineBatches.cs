using MoeSharp.Data.Synthetic;
using MoeSharp.Execution;
using MoeSharp.Kernels;

namespace MoeSharp.Data;

/// <summary>Endless training lines of a <see cref="KnownLanguage"/>: new ones every step, line i of a seed always the same.</summary>
/// <remarks>A sequence is one line without its last token, which is only ever a target. Rows whose next token cannot be predicted have no target.</remarks>
public sealed class LineBatches : ITrainingBatches
{
    private const ulong TrainingStream = 0x7A11; // arbitrary: keeps training lines apart from held-out ones

    private readonly KnownLanguage _language;
    private readonly ulong _seed;
    private readonly int _linesPerBatch;
    private readonly int[] _line;
    private long _next; // line

    /// <summary>Starts at the first line.</summary>
    /// <param name="language">Language.</param>
    /// <param name="linesPerBatch">Lines per batch.</param>
    /// <param name="seed">Chooses the lines.</param>
    /// <exception cref="ConfigurationException">The batch is empty.</exception>
    public LineBatches(KnownLanguage language, int linesPerBatch, ulong seed)
    {
        if (linesPerBatch < 1)
        {
            throw new ConfigurationException($"a batch of {linesPerBatch} lines is empty; use at least 1");
        }

        (_language, _linesPerBatch, _seed) = (language, linesPerBatch, SplitMix64.Mix(seed) ^ TrainingStream);
        _line = new int[language.LineTokens];
    }

    /// <inheritdoc/>
    public int RowsPerBatch => _linesPerBatch * (_language.LineTokens - 1);

    /// <inheritdoc/>
    public int TargetsPerBatch => _linesPerBatch * _language.TargetsPerLine;

    /// <inheritdoc/>
    public LoaderPosition Position
    {
        get => new(0, _next * (_language.LineTokens - 1));
        set
        {
            if (value.Epoch != 0 || value.Row < 0 || value.Row % (_language.LineTokens - 1) != 0)
            {
                throw new ConfigurationException($"data position epoch {value.Epoch}, row {value.Row} is not the beginning of a line; the checkpoint belongs to other data");
            }

            _next = value.Row / (_language.LineTokens - 1);
        }
    }

    /// <inheritdoc/>
    public void Next(TokenBatch batch)
    {
        batch.Resize(RowsPerBatch, _language.LineTokens - 1);
        for (int index = 0; index < _linesPerBatch; index++)
        {
            SplitMix64 random = new(_seed, (ulong)_next++);
            _language.Draw(ref random, _line);
            AddLine(_language, _line, batch, index);
        }
    }

    /// <summary>Puts a line into a batch that has its size.</summary>
    /// <param name="language">Language of the line.</param>
    /// <param name="line">The line.</param>
    /// <param name="batch">Batch.</param>
    /// <param name="index">Which of its sequences.</param>
    internal static void AddLine(KnownLanguage language, ReadOnlySpan<int> line, TokenBatch batch, int index)
    {
        int rows = line.Length - 1;
        int begin = index * rows;
        batch.AddSegment(new AttentionSegment(begin, rows, begin, rows), 0);
        line[..rows].CopyTo(batch.TokenIds[begin..]);
        line[language.FirstTarget..].CopyTo(batch.Targets[(begin + language.FirstTarget - 1)..]);
    }
}
