using System.Diagnostics;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;

namespace MoeSharp.Bench;

/// <summary>Passes of a model over cached sequences, timed.</summary>
internal sealed class DecodeRun : IDisposable
{
    private const int PromptRepeats = 2;
    private const int Warmups = 2;
    private const double StepBudgetSeconds = 3;
    private const int MinSteps = 5;
    private const int MaxSteps = 48;
    private const int MaxBegunTokens = 64; // that sequences hold before they write

    /// <summary>Most tokens that a sequence holds in the end.</summary>
    public const int TokensPerSequence = MaxBegunTokens + Warmups + MaxSteps;

    private readonly RandomModel _weights;
    private readonly LanguageModel _model;
    private readonly KeyValuePages _pages;
    private readonly ForwardContext _context;
    private readonly TokenBatch _batch = new();
    private readonly Random _random = new(1);
    private readonly int[] _prompt;
    private CachedSequence? _begun;

    /// <summary>Makes a run with a random prompt.</summary>
    public DecodeRun(RandomModel model, int prompt, WorkerPool workers)
    {
        _weights = model;
        _model = model.Model;
        _pages = new KeyValuePages(ModelCacheLayout.Of(_model.Config), 8L << 30);
        _context = new ForwardContext(workers);
        _prompt = [.. Enumerable.Range(0, prompt).Select(_ => _random.Next(_model.Config.VocabSize))];
    }

    /// <summary>Seconds of the last measurement, and where they went.</summary>
    public double Seconds { get; private set; }

    /// <summary>Median bandwidth of reading the weights, GB/s, probed between the steps of the last measurement.</summary>
    public double ReadGbps { get; private set; }

    /// <summary>Part of the experts that a step of the last measurement used, on average.</summary>
    public double UsedExperts { get; private set; }

    /// <summary>Bytes of keys and values that the sequences of the last measurement held, on average over its steps; what they share counts once.</summary>
    public double CachedBytes { get; private set; }

    /// <summary>Seconds per part in the last measurement.</summary>
    public IReadOnlyList<(string Part, double Seconds)> Parts { get; private set; } = [];

    /// <summary>Seconds of reading the prompt in one pass; the better of two.</summary>
    public double PromptSeconds()
    {
        double best = double.MaxValue;
        for (int repeat = 0; repeat < PromptRepeats; repeat++)
        {
            CachedSequence sequence = new(_pages);
            sequence.Reserve(_prompt.Length);
            _batch.Clear();
            _batch.AddContinuation(sequence, _prompt);
            _context.Sequences = [sequence];
            float[] logits = new float[_model.Config.VocabSize];
            _context.Timer.Reset();
            long start = Stopwatch.GetTimestamp();
            _model.Logits(_batch, 1, logits, _context);
            double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
            if (seconds < best)
            {
                best = seconds;
                Keep(seconds, 1);
            }

            sequence.Dispose();
        }

        return best;
    }

    /// <summary>Median seconds of a step in which so many sequences, all behind the first 64 tokens of the prompt, take a random token each.</summary>
    public double StepSeconds(int count)
    {
        _begun ??= Begin();
        CachedSequence[] sequences = [.. Enumerable.Range(0, count).Select(_ => _begun.Fork())];
        float[] logits = new float[count * _model.Config.VocabSize];
        int[] rows = [.. Enumerable.Range(0, count)];
        int[] token = new int[1];
        _context.Sequences = sequences;
        List<double> seconds = [];
        List<double> reads = [];
        double used = 0, held = 0;
        for (int step = 0; step < Warmups + MaxSteps && (step < Warmups + MinSteps || seconds.Sum() < StepBudgetSeconds); step++)
        {
            if (step == Warmups)
            {
                _context.Timer.Reset();
            }

            _batch.Clear();
            foreach (CachedSequence sequence in sequences)
            {
                token[0] = _random.Next(_model.Config.VocabSize);
                sequence.Reserve(1);
                _batch.AddContinuation(sequence, token);
            }

            reads.Add(_weights.ReadGbps());
            _context.Timer.Switch(StepPart.Other);
            long start = Stopwatch.GetTimestamp();
            _model.LogitsOf(_batch, rows, logits, _context);
            double time = Stopwatch.GetElapsedTime(start).TotalSeconds;
            _context.Timer.Switch(StepPart.Idle);
            if (step >= Warmups)
            {
                seconds.Add(time);
                used += ShareOfExperts();
                held += _begun.Length + sequences.Sum(sequence => (long)sequence.Length - _begun.Length);
            }

            for (int s = 0; s < count; s++)
            {
                token[0] = _batch.TokenIds[s];
                sequences[s].Advance(token);
            }
        }

        Keep(seconds.Sum(), seconds.Count);
        foreach (CachedSequence sequence in sequences)
        {
            sequence.Dispose();
        }

        seconds.Sort();
        reads.Sort();
        ReadGbps = reads[reads.Count / 2];
        UsedExperts = used / seconds.Count;
        CachedBytes = held / seconds.Count * _pages.Layout.PageBytes / PagedHeads.PageTokens;
        return seconds[seconds.Count / 2];
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _context.Dispose();
        _begun?.Dispose();
        _pages.Dispose();
    }

    private double ShareOfExperts()
    {
        IReadOnlyList<LayerRouting> layers = _context.Routing.Layers;
        return layers.Count == 0 ? 0 : layers.Average(layer => layer.TokensPerExpert.Count(tokens => tokens > 0) / (double)layer.TokensPerExpert.Length);
    }

    private CachedSequence Begin()
    {
        CachedSequence sequence = new(_pages);
        ReadOnlySpan<int> tokens = _prompt.AsSpan(0, Math.Min(_prompt.Length, MaxBegunTokens));
        sequence.Reserve(tokens.Length);
        _batch.Clear();
        _batch.AddContinuation(sequence, tokens);
        _context.Sequences = [sequence];
        _model.Logits(_batch, 0, [], _context);
        sequence.Advance(tokens);
        return sequence;
    }

    private void Keep(double seconds, int passes)
    {
        _context.Timer.Switch(StepPart.Idle);
        Seconds = seconds / passes;
        Parts =
        [
            .. Enum.GetValues<StepPart>()
                .Where(part => part is not (StepPart.Idle or StepPart.Optimizer))
                .Select(part => (part.ToString().ToLowerInvariant(), _context.Timer.Seconds(part) / passes)),
        ];
    }
}
