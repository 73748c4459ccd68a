using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Moe.Balance;

/// <summary>Counts and averages one group of tokens after another; remembers the counts of an optimiser step for the losses over all its micro-batches.</summary>
internal sealed class GroupMeasure
{
    private readonly Counts _group = new();
    private readonly Counts _step = new(); // of the optimiser step so far
    private double[] _loads = [];
    private double[] _firstLoads = [];
    private double[] _meanScores = [];
    private int[] _expertIds = []; // of real tokens
    private int _numSlots;

    /// <summary>Real tokens of the group.</summary>
    public int NumTokens => (int)_group.Tokens;

    /// <summary>P of the group, [experts].</summary>
    public ReadOnlySpan<double> MeanScores => _meanScores;

    /// <summary>The group as the losses see it; valid until the next is taken.</summary>
    public GroupUse Use(int topK) => new()
    {
        NumTokens = NumTokens,
        TopK = topK,
        ExpertIds = _expertIds.AsSpan(0, _numSlots),
        Loads = _loads,
        FirstLoads = _firstLoads,
        MeanScores = _meanScores,
    };

    /// <summary>Begins a pass whose loads are those of the optimiser step so far: its first pass, and every pass that is of no step, forgets the counts before it.</summary>
    public void BeginPassOfStep(ForwardContext context)
    {
        if (context.Tape is null || context.MicroBatch == 0)
        {
            _step.Clear(_loads.Length);
        }
    }

    /// <summary>Measures a group.</summary>
    /// <param name="range">Its rows.</param>
    /// <param name="expertIds">Choices of the whole pass, [tokens * topK].</param>
    /// <param name="topK">Experts per token.</param>
    /// <param name="probs">Scores of the whole pass, [tokens, experts].</param>
    /// <param name="isOfStep">Whether loads are those of the optimiser step so far.</param>
    /// <param name="context">Context.</param>
    /// <returns>False when the group has no real token.</returns>
    public bool Take((int Begin, int End) range, ReadOnlySpan<int> expertIds, int topK, Tensor probs, bool isOfStep, ForwardContext context)
    {
        Begin(probs.Columns, (range.End - range.Begin) * topK);
        TokenBatch batch = context.Batch;
        for ((int Begin, int End) run = batch.RealRun(range.Begin, range.End); run.Begin < run.End; run = batch.RealRun(run.End, range.End))
        {
            int rows = run.End - run.Begin;
            ReadOnlySpan<int> chosen = expertIds.Slice(run.Begin * topK, rows * topK);
            _group.Add(chosen, topK);
            chosen.CopyTo(_expertIds.AsSpan(_numSlots));
            _numSlots += chosen.Length;
            RowSums.Add(rows, probs.Columns, probs.Data.Slice(run.Begin * probs.Columns, rows * probs.Columns), _meanScores);
        }

        if (NumTokens == 0)
        {
            return false;
        }

        if (isOfStep)
        {
            _step.Add(_group);
        }

        Scale(isOfStep ? _step : _group, topK);
        return true;
    }

    private void Begin(int experts, int slots)
    {
        if (_loads.Length != experts)
        {
            (_loads, _firstLoads, _meanScores) = (new double[experts], new double[experts], new double[experts]);
            _step.Clear(experts);
        }

        if (_expertIds.Length < slots)
        {
            _expertIds = new int[slots];
        }

        _group.Clear(experts);
        Array.Clear(_meanScores);
        _numSlots = 0;
    }

    // f = N / (K T) * slots, or N / T * first choices; P = sum of scores / tokens of the group
    private void Scale(Counts counts, int topK)
    {
        double share = _loads.Length / (double)counts.Tokens;
        for (int expert = 0; expert < _loads.Length; expert++)
        {
            _loads[expert] = counts.Slots[expert] * share / topK;
            _firstLoads[expert] = counts.FirstChoices[expert] * share;
            _meanScores[expert] /= NumTokens;
        }
    }

    // How often real tokens chose each expert.
    private sealed class Counts
    {
        public long[] Slots { get; private set; } = []; // [experts]

        public long[] FirstChoices { get; private set; } = []; // [experts]

        public long Tokens { get; private set; }

        public void Clear(int experts)
        {
            if (Slots.Length != experts)
            {
                (Slots, FirstChoices) = (new long[experts], new long[experts]);
            }

            Array.Clear(Slots);
            Array.Clear(FirstChoices);
            Tokens = 0;
        }

        public void Add(ReadOnlySpan<int> expertIds, int topK)
        {
            (long[] slots, long[] firstChoices) = (Slots, FirstChoices);
            Tokens += expertIds.Length / topK;
            foreach (int expert in expertIds)
            {
                if (expert >= 0)
                {
                    slots[expert]++;
                }
            }

            for (int slot = 0; slot < expertIds.Length; slot += topK)
            {
                if (expertIds[slot] >= 0)
                {
                    firstChoices[expertIds[slot]]++;
                }
            }
        }

        public void Add(Counts other)
        {
            Tokens += other.Tokens;
            for (int expert = 0; expert < Slots.Length; expert++)
            {
                Slots[expert] += other.Slots[expert];
                FirstChoices[expert] += other.FirstChoices[expert];
            }
        }
    }
}
