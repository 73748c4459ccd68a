using MoeSharp.Execution;
using MoeSharp.Tensors;

namespace MoeSharp.Moe.Balance;

/// <summary>Counts and averages one group of tokens after another; remembers the counts of an optimiser step for the losses over all its micro-batches.</summary>
internal sealed class GroupMeasure
{
    private double[] _slots = []; // slots per expert of the group, then f
    private double[] _firstChoices = []; // first choices per expert of the group, then their f
    private double[] _meanScores = [];
    private double[] _stepSlots = []; // of the step so far
    private double[] _stepFirstChoices = [];
    private long _stepTokens;
    private int[] _expertIds = []; // of real tokens, where there is padding

    private int _numSlots;

    /// <summary>Real tokens of the group.</summary>
    public int NumTokens { get; private set; }

    /// <summary>P of the group, [experts].</summary>
    public ReadOnlySpan<double> MeanScores => _meanScores;

    /// <summary>The group as the losses see it; valid until the next is taken.</summary>
    public GroupUse Use(int topK) => new()
    {
        NumTokens = NumTokens,
        TopK = topK,
        ExpertIds = _expertIds.AsSpan(0, _numSlots),
        Loads = _slots,
        FirstLoads = _firstChoices,
        MeanScores = _meanScores,
    };

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
        ReadOnlySpan<bool> isPadding = context.Batch.IsPadding;
        for (int token = range.Begin; token < range.End; token++)
        {
            if (isPadding.Length == 0 || !isPadding[token])
            {
                Add(expertIds.Slice(token * topK, topK), probs.Data.Slice(token * probs.Columns, probs.Columns));
            }
        }

        if (NumTokens == 0)
        {
            return false;
        }

        long tokens = NumTokens;
        if (isOfStep)
        {
            tokens = AddToStep(context);
        }

        int experts = probs.Columns;
        for (int expert = 0; expert < experts; expert++)
        {
            _slots[expert] *= experts / ((double)topK * tokens);
            _firstChoices[expert] *= experts / (double)tokens;
            _meanScores[expert] /= NumTokens;
        }

        return true;
    }

    private void Begin(int experts, int slots)
    {
        if (_slots.Length != experts)
        {
            (_slots, _firstChoices, _meanScores) = (new double[experts], new double[experts], new double[experts]);
            (_stepSlots, _stepFirstChoices, _stepTokens) = (new double[experts], new double[experts], 0);
        }

        if (_expertIds.Length < slots)
        {
            _expertIds = new int[slots];
        }

        Array.Clear(_slots);
        Array.Clear(_firstChoices);
        Array.Clear(_meanScores);
        (NumTokens, _numSlots) = (0, 0);
    }

    private void Add(ReadOnlySpan<int> chosen, ReadOnlySpan<float> scores)
    {
        NumTokens++;
        if (chosen[0] >= 0)
        {
            _firstChoices[chosen[0]]++;
        }

        foreach (int expert in chosen)
        {
            _expertIds[_numSlots++] = expert;
            if (expert >= 0)
            {
                _slots[expert]++;
            }
        }

        for (int expert = 0; expert < scores.Length; expert++)
        {
            _meanScores[expert] += scores[expert];
        }
    }

    private long AddToStep(ForwardContext context)
    {
        if (context.Tape is null || context.MicroBatch == 0)
        {
            Array.Clear(_stepSlots);
            Array.Clear(_stepFirstChoices);
            _stepTokens = 0;
        }

        _stepTokens += NumTokens;
        for (int expert = 0; expert < _slots.Length; expert++)
        {
            _slots[expert] = _stepSlots[expert] += _slots[expert];
            _firstChoices[expert] = _stepFirstChoices[expert] += _firstChoices[expert];
        }

        return _stepTokens;
    }
}
