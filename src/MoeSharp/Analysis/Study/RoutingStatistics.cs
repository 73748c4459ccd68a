using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;

namespace MoeSharp.Analysis.Study;

/// <summary>Everything that a study counts about routing, gathered in one pass over the text while it is evaluated.</summary>
/// <remarks>It reads what the layers have computed anyway and adds integers; only rows with a target count, so that each token counts once.</remarks>
public sealed class RoutingStatistics
{
    private const long MostLiftCells = 48L << 20; // 192 MB of counters; rarer tokens are left out of the tables (arbitrary)

    private readonly StudyText _text;
    private readonly WorkerPool _workers;
    private readonly TokenSamples _samples;
    private readonly List<LayerStatistics> _layers = [];
    private readonly List<LayerStatistics> _attention = [];
    private readonly int[] _tokens; // the tokens of the lift tables
    private readonly int[] _columnOf; // by token id: column of the lift tables, or -1
    private int[] _rowGroups = []; // by row of the pass: domain * 2 + half, or -1 where the row does not count
    private int[] _rowColumns = [];
    private int _rows;
    private int _nextLayer;
    private int _nextAttention;
    private LayerStatistics[] _seen = []; // in the pass
    private int _nextPart;

    /// <summary>Prepares empty counts.</summary>
    /// <param name="text">Text that will be run.</param>
    /// <param name="config">Model.</param>
    /// <param name="workers">Workers; not owned.</param>
    public RoutingStatistics(StudyText text, ModelConfig config, WorkerPool workers)
    {
        (_text, _workers) = (text, workers);
        int layers = Enumerable.Range(0, config.NumHiddenLayers).Count(config.IsMoeLayer);
        long cellsPerToken = Math.Max(1, ((long)layers * (config.Moe?.NumExperts ?? 0)) + ((long)config.NumHiddenLayers * AttentionExperts(config)));
        _tokens = CommonTokens(text, config.VocabSize, MostLiftCells / cellsPerToken);
        _columnOf = new int[config.VocabSize];
        Array.Fill(_columnOf, -1);
        for (int column = 0; column < _tokens.Length; column++)
        {
            _columnOf[_tokens[column]] = column;
        }

        _samples = new TokenSamples(text, layers);
    }

    /// <summary>Counts per MoE layer; empty before the first pass and for dense models.</summary>
    public IReadOnlyList<LayerStatistics> Layers => _layers;

    /// <summary>The same of experts within attention, in the order in which a pass meets them; empty where there are none.</summary>
    public IReadOnlyList<LayerStatistics> AttentionLayers => _attention;

    /// <summary>Choices of every token of a few documents.</summary>
    public TokenSamples Samples => _samples;

    /// <summary>Different tokens in the tables by lift; fewer than the text has where the tables would be too large.</summary>
    public int NumTokens => _tokens.Length;

    internal void BeginPass(IReadOnlyList<StudyWindow> windows, TokenBatch batch)
    {
        if (_rowGroups.Length < batch.Count)
        {
            (_rowGroups, _rowColumns) = (new int[batch.Count], new int[batch.Count]);
        }

        (_rows, _nextLayer, _nextAttention) = (batch.Count, 0, 0);
        int row = 0;
        foreach (StudyWindow window in windows)
        {
            int group = (2 * _text.DomainOf(window.Document)) + _text.HalfOf(window.Document);
            for (int end = row + window.Rows; row < end; row++)
            {
                _rowGroups[row] = batch.Targets[row] >= 0 ? group : -1;
                _rowColumns[row] = _columnOf[batch.TokenIds[row]];
            }
        }

        _samples.BeginPass(windows);
    }

    internal void ObserveAttention(in MoeView view) => Keep(_attention, _nextAttention++, view);

    internal void Observe(in MoeView view)
    {
        Keep(_layers, _nextLayer, view);
        _samples.Add(view, _nextLayer);
        _nextLayer++;
    }

    internal void EndPass()
    {
        _nextPart = 0;
        _seen = [.. _layers.Take(_nextLayer), .. _attention.Take(_nextAttention)];
        CountJob job = new() { Statistics = this };
        _workers.RunInTurns(ref job);
        foreach (LayerStatistics layer in _seen)
        {
            layer.EndPass();
        }
    }

    // Every part is one worker's, so that sums do not depend on how many there are: first the tables of tokens, which take longest.
    private void CountParts()
    {
        ReadOnlySpan<int> groups = _rowGroups.AsSpan(0, _rows);
        for (int part = Interlocked.Increment(ref _nextPart) - 1; part < 2 * _seen.Length; part = Interlocked.Increment(ref _nextPart) - 1)
        {
            if (part < _seen.Length)
            {
                _seen[part].CountTokens(groups, _rowColumns.AsSpan(0, _rows));
            }
            else
            {
                _seen[part - _seen.Length].CountLoads(groups);
            }
        }
    }

    private void Keep(List<LayerStatistics> layers, int index, in MoeView view)
    {
        if (index == layers.Count)
        {
            layers.Add(new LayerStatistics(view.Layer, view.Part, view.NumExperts, view.TopK, _text.Domains.Length, _tokens));
        }

        layers[index].Keep(view, _rowGroups.AsSpan(0, _rows), _workers);
    }

    private static int AttentionExperts(ModelConfig config) => config.AttentionExperts switch
    {
        null => 0,
        { Kind: AttentionExpertsKind.SwitchHead } heads => heads.NumExperts * (config.NumAttentionHeads + config.NumKeyValueHeads),
        { } experts => experts.NumExperts,
    };

    private static int[] CommonTokens(StudyText text, int vocab, long most)
    {
        int[] counts = new int[vocab];
        foreach (StudyDocument document in text.Documents)
        {
            foreach (int token in document.Inputs)
            {
                if ((uint)token >= (uint)vocab)
                {
                    throw new ConfigurationException($"token {token} is outside the model's vocabulary of {vocab}. Use the model's own tokenizer.");
                }

                counts[token]++;
            }
        }

        int[] seen = [.. Enumerable.Range(0, vocab).Where(token => counts[token] > 0)];
        return seen.Length <= most ? seen : [.. seen.OrderByDescending(token => counts[token]).ThenBy(token => token).Take((int)most).Order()];
    }

    private struct CountJob : IWorkerJob
    {
        public RoutingStatistics Statistics;

        public readonly void Run(int worker, int workers) => Statistics.CountParts();
    }
}
