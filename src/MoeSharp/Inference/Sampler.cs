using MoeSharp.Kernels;

namespace MoeSharp.Inference;

/// <summary>Draws tokens for one text. It remembers which tokens the text has and where its random sequence stands.</summary>
/// <remarks>A draw allocates nothing.</remarks>
public sealed class Sampler
{
    private readonly SamplingOptions _options;
    private readonly bool[] _isInText; // [vocab], or empty where no penalty asks
    private SplitMix64 _random;

    /// <summary>Starts a text.</summary>
    /// <param name="options">How to draw.</param>
    /// <param name="vocabSize">Number of logits.</param>
    /// <exception cref="ConfigurationException">An option is out of range.</exception>
    public Sampler(SamplingOptions options, int vocabSize)
    {
        options.Validate();
        _options = options;
        _isInText = options.RepetitionPenalty == 1 ? [] : new bool[vocabSize];
        _random = new SplitMix64(options.Seed);
    }

    /// <summary>Notes that the text has this token, for the repetition penalty.</summary>
    public void Observe(int id)
    {
        if (_isInText.Length > 0)
        {
            _isInText[id] = true;
        }
    }

    /// <summary>Draws the next token.</summary>
    /// <param name="logits">[vocab]; negative infinity excludes a token.</param>
    /// <param name="scratch">Memory for a vocabulary of this size; what it holds afterwards means nothing.</param>
    /// <returns>Its id. The caller reports it back through <see cref="Observe"/> when it joins the text.</returns>
    /// <exception cref="ConfigurationException">A logit is not a number or infinite, or all are excluded.</exception>
    public int Sample(ReadOnlySpan<float> logits, SamplerScratch scratch)
    {
        int best = Penalise(logits, scratch.Logits);
        if (_options.Temperature == 0)
        {
            return best;
        }

        Relation relation = new(scratch.Logits[best], 1.0 / _options.Temperature);
        int count = _options.TopK > 0 ? TakeTopK(scratch, relation) : TakeAll(scratch, relation);
        count = KeepTopP(scratch, count);
        count = KeepMinP(scratch, count);
        return Draw(scratch, count);
    }

    /// <summary>Copies the logits with the repetition penalty and finds the largest.</summary>
    private int Penalise(ReadOnlySpan<float> logits, Span<float> penalised)
    {
        int best = -1;
        for (int id = 0; id < penalised.Length; id++)
        {
            float logit = logits[id];
            if (float.IsNaN(logit) || float.IsPositiveInfinity(logit))
            {
                throw new ConfigurationException($"the model gives the logit {logit} for token {id}: its weights are damaged, or its training diverged. Use another checkpoint.");
            }

            if (_isInText.Length > 0 && _isInText[id])
            {
                // A penalty near 0 must not make an infinity of a finite logit: two of them have no difference.
                logit = Math.Min(logit > 0 ? logit / _options.RepetitionPenalty : logit * _options.RepetitionPenalty, float.MaxValue);
            }

            penalised[id] = logit;
            if (logit > float.NegativeInfinity && (best < 0 || logit > penalised[best]))
            {
                best = id;
            }
        }

        return best >= 0 ? best : throw new ConfigurationException("every token is excluded: all logits are negative infinity");
    }

    /// <summary>Lists all tokens that have any probability, by id.</summary>
    private static int TakeAll(SamplerScratch scratch, Relation relation)
    {
        int count = 0;
        for (int id = 0; id < scratch.Logits.Length; id++)
        {
            double probability = relation.Probability(scratch.Logits[id]);
            scratch.Probabilities[id] = probability;
            if (probability > 0)
            {
                scratch.Candidates[count++] = SortKey(scratch.Logits[id], id);
            }
        }

        return count;
    }

    /// <summary>Lists the k most probable tokens, the most probable first; by id where no more have any probability. Only theirs is computed.</summary>
    private int TakeTopK(SamplerScratch scratch, Relation relation)
    {
        // The k smallest keys: a full sort is n log n, so a heap of k keeps it near n.
        Span<float> logits = scratch.Logits;
        Span<ulong> kept = scratch.Candidates.AsSpan(0, Math.Min(_options.TopK, logits.Length));
        int count = 0;
        int next = 0;
        for (; next < logits.Length; next++)
        {
            if (relation.Probability(logits[next]) > 0)
            {
                if (count == kept.Length)
                {
                    break;
                }

                kept[count++] = SortKey(logits[next], next);
            }
        }

        if (next < logits.Length)
        {
            KeepSmallest(kept, logits, next);
        }

        for (int i = 0; i < count; i++)
        {
            int id = Id(kept[i]);
            scratch.Probabilities[id] = relation.Probability(logits[id]);
        }

        return count;
    }

    /// <summary>Puts the keys of tokens from <paramref name="next"/> on in the place of larger ones, and sorts.</summary>
    private static void KeepSmallest(Span<ulong> heap, ReadOnlySpan<float> logits, int next)
    {
        for (int root = (heap.Length / 2) - 1; root >= 0; root--)
        {
            SiftDown(heap, root);
        }

        float least = logits[Id(heap[0])];
        for (int id = next; id < logits.Length; id++)
        {
            if (logits[id] > least) // among equals, those in the heap have the lower ids
            {
                heap[0] = SortKey(logits[id], id);
                SiftDown(heap, 0);
                least = logits[Id(heap[0])];
            }
        }

        heap.Sort();
    }

    private int KeepTopP(SamplerScratch scratch, int count)
    {
        if (_options.TopP >= 1)
        {
            return count;
        }

        double total = Total(scratch, count);

        // Tokens below this share cannot be needed: together they hold less than the 1 - p that may be cut. Dropping them first keeps the sort short.
        double negligible = (1 - _options.TopP) * total / count;
        int kept = 0;
        for (int i = 0; i < count; i++)
        {
            if (scratch.Probabilities[Id(scratch.Candidates[i])] >= negligible)
            {
                scratch.Candidates[kept++] = scratch.Candidates[i];
            }
        }

        scratch.Candidates.AsSpan(0, kept).Sort();
        double sum = 0;
        for (int i = 0; i < kept; i++)
        {
            sum += scratch.Probabilities[Id(scratch.Candidates[i])];
            if (sum >= _options.TopP * total)
            {
                return i + 1;
            }
        }

        return kept;
    }

    private int KeepMinP(SamplerScratch scratch, int count)
    {
        if (_options.MinP == 0)
        {
            return count;
        }

        int kept = 0;
        for (int i = 0; i < count; i++)
        {
            if (scratch.Probabilities[Id(scratch.Candidates[i])] >= _options.MinP) // relative to the best token's 1
            {
                scratch.Candidates[kept++] = scratch.Candidates[i];
            }
        }

        return kept;
    }

    private int Draw(SamplerScratch scratch, int count)
    {
        const double Step = 1.0 / (1L << 53); // 53 random bits fill a double's mantissa: uniform in [0, 1)
        double target = (_random.Next() >> 11) * Step * Total(scratch, count);
        for (int i = 0; i < count - 1; i++)
        {
            target -= scratch.Probabilities[Id(scratch.Candidates[i])];
            if (target < 0)
            {
                return Id(scratch.Candidates[i]);
            }
        }

        return Id(scratch.Candidates[count - 1]);
    }

    private static double Total(SamplerScratch scratch, int count)
    {
        double total = 0;
        for (int i = 0; i < count; i++)
        {
            total += scratch.Probabilities[Id(scratch.Candidates[i])];
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

    /// <summary>From a logit to a probability, relative to that of the largest logit.</summary>
    private readonly record struct Relation(float BestLogit, double Scale)
    {
        public double Probability(float logit) => Math.Exp((logit - (double)BestLogit) * Scale);
    }
}
