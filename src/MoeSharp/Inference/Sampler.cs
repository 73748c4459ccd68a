using MoeSharp.Kernels;

namespace MoeSharp.Inference;

/// <summary>Draws tokens for one text. It remembers which tokens the text has and where its random sequence stands.</summary>
/// <remarks>A draw allocates nothing.</remarks>
public sealed class Sampler
{
    private readonly SamplingOptions _options;
    private readonly float[] _logits; // [vocab] of the current draw, after penalty
    private readonly double[] _probabilities; // [vocab], relative to the most probable token until normalised
    private readonly ulong[] _candidates; // sort keys of the tokens still in the race
    private readonly bool[] _isInText; // [vocab]
    private SplitMix64 _random;

    /// <summary>Starts a text.</summary>
    /// <param name="options">How to draw.</param>
    /// <param name="vocabSize">Number of logits.</param>
    /// <exception cref="ConfigurationException">An option is out of range.</exception>
    public Sampler(SamplingOptions options, int vocabSize)
    {
        options.Validate();
        _options = options;
        _logits = new float[vocabSize];
        _probabilities = new double[vocabSize];
        _candidates = new ulong[vocabSize];
        _isInText = new bool[vocabSize];
        _random = new SplitMix64(options.Seed);
    }

    /// <summary>Notes that the text has this token, for the repetition penalty.</summary>
    public void Observe(int id) => _isInText[id] = true;

    /// <summary>Draws the next token.</summary>
    /// <param name="logits">[vocab]; negative infinity excludes a token.</param>
    /// <returns>Its id. The caller reports it back through <see cref="Observe"/> when it joins the text.</returns>
    /// <exception cref="ConfigurationException">A logit is not a number or infinite, or all are excluded.</exception>
    public int Sample(ReadOnlySpan<float> logits)
    {
        int best = Penalise(logits);
        if (_options.Temperature == 0)
        {
            return best;
        }

        int count = Weigh(_logits[best]);
        count = KeepTopK(count);
        count = KeepTopP(count);
        count = KeepMinP(count);
        return Draw(count);
    }

    /// <summary>Copies the logits with the repetition penalty and finds the largest.</summary>
    private int Penalise(ReadOnlySpan<float> logits)
    {
        int best = -1;
        for (int id = 0; id < _logits.Length; id++)
        {
            float logit = logits[id];
            if (float.IsNaN(logit) || float.IsPositiveInfinity(logit))
            {
                throw new ConfigurationException($"the model gives the logit {logit} for token {id}: its weights are damaged, or its training diverged. Use another checkpoint.");
            }

            if (_isInText[id])
            {
                logit = logit > 0 ? logit / _options.RepetitionPenalty : logit * _options.RepetitionPenalty;
            }

            _logits[id] = logit;
            if (logit > float.NegativeInfinity && (best < 0 || logit > _logits[best]))
            {
                best = id;
            }
        }

        return best >= 0 ? best : throw new ConfigurationException("every token is excluded: all logits are negative infinity");
    }

    /// <summary>Applies the temperature: probabilities relative to the best token. Lists the tokens that have any.</summary>
    private int Weigh(float bestLogit)
    {
        int count = 0;
        double scale = 1.0 / _options.Temperature;
        for (int id = 0; id < _logits.Length; id++)
        {
            double probability = Math.Exp((_logits[id] - (double)bestLogit) * scale);
            _probabilities[id] = probability;
            if (probability > 0)
            {
                _candidates[count++] = SortKey(_logits[id], id);
            }
        }

        return count;
    }

    private int KeepTopK(int count)
    {
        if (_options.TopK == 0 || _options.TopK >= count)
        {
            return count;
        }

        // The k smallest keys: a full sort is n log n, so a heap of k keeps it near n.
        Span<ulong> heap = _candidates.AsSpan(0, _options.TopK);
        for (int root = (heap.Length / 2) - 1; root >= 0; root--)
        {
            SiftDown(heap, root);
        }

        for (int i = heap.Length; i < count; i++)
        {
            if (_candidates[i] < heap[0])
            {
                heap[0] = _candidates[i];
                SiftDown(heap, 0);
            }
        }

        heap.Sort();
        return heap.Length;
    }

    private int KeepTopP(int count)
    {
        if (_options.TopP >= 1)
        {
            return count;
        }

        double total = Total(count);

        // Tokens below this share cannot be needed: together they hold less than the 1 - p that may be cut. Dropping them first keeps the sort short.
        double negligible = (1 - _options.TopP) * total / count;
        int kept = 0;
        for (int i = 0; i < count; i++)
        {
            if (_probabilities[Id(_candidates[i])] >= negligible)
            {
                _candidates[kept++] = _candidates[i];
            }
        }

        _candidates.AsSpan(0, kept).Sort();
        double sum = 0;
        for (int i = 0; i < kept; i++)
        {
            sum += _probabilities[Id(_candidates[i])];
            if (sum >= _options.TopP * total)
            {
                return i + 1;
            }
        }

        return kept;
    }

    private int KeepMinP(int count)
    {
        if (_options.MinP == 0)
        {
            return count;
        }

        int kept = 0;
        for (int i = 0; i < count; i++)
        {
            if (_probabilities[Id(_candidates[i])] >= _options.MinP) // relative to the best token's 1
            {
                _candidates[kept++] = _candidates[i];
            }
        }

        return kept;
    }

    private int Draw(int count)
    {
        const double Step = 1.0 / (1L << 53); // 53 random bits fill a double's mantissa: uniform in [0, 1)
        double target = (_random.Next() >> 11) * Step * Total(count);
        for (int i = 0; i < count - 1; i++)
        {
            target -= _probabilities[Id(_candidates[i])];
            if (target < 0)
            {
                return Id(_candidates[i]);
            }
        }

        return Id(_candidates[count - 1]);
    }

    private double Total(int count)
    {
        double total = 0;
        for (int i = 0; i < count; i++)
        {
            total += _probabilities[Id(_candidates[i])];
        }

        return total;
    }

    /// <summary>A key that sorts by falling logit, then by rising id.</summary>
    private static ulong SortKey(float logit, int id)
    {
        // Bits of a float as an integer that rises with its value: negatives are inverted, positives get the top bit.
        uint bits = BitConverter.SingleToUInt32Bits(logit + 0f); // -0 becomes 0
        uint rising = (bits & 0x8000_0000) != 0 ? ~bits : bits | 0x8000_0000;
        return ((ulong)~rising << 32) | (uint)id;
    }

    private static int Id(ulong key) => (int)(uint)key;

    /// <summary>Restores a heap whose largest key is first.</summary>
    private static void SiftDown(Span<ulong> heap, int root)
    {
        while (true)
        {
            int child = (2 * root) + 1;
            if (child >= heap.Length)
            {
                return;
            }

            if (child + 1 < heap.Length && heap[child + 1] > heap[child])
            {
                child++;
            }

            if (heap[root] >= heap[child])
            {
                return;
            }

            (heap[root], heap[child]) = (heap[child], heap[root]);
            root = child;
        }
    }
}
