namespace MoeSharp.Kernels;

/// <summary>Routing weights of chosen experts: their scores, divided by their sum where asked, times a scale.</summary>
/// <remarks>Legend: t token, j slot of a token. A slot with a negative expert has no score and weighs 0.</remarks>
public static unsafe class ChosenWeights
{
    /// <summary>w[t, j] = scale s[t, id[t, j]] / N[t], N the sum of the token's chosen scores plus epsilon; N = 1 without division.</summary>
    /// <param name="workers">Worker pool.</param>
    /// <param name="tokens">Tokens.</param>
    /// <param name="experts">Experts.</param>
    /// <param name="topK">Slots of a token.</param>
    /// <param name="scores">[tokens, experts].</param>
    /// <param name="ids">Chosen experts, [tokens, topK].</param>
    /// <param name="rule">Whether to divide, and by what else to multiply.</param>
    /// <param name="weights">= [tokens, topK].</param>
    /// <exception cref="ShapeException">A span is too short or an expert is none.</exception>
    public static void Forward(WorkerPool workers, int tokens, int experts, int topK, ReadOnlySpan<float> scores, ReadOnlySpan<int> ids, ChosenWeightRule rule, Span<float> weights)
    {
        const string Operation = "ChosenWeights.Forward";
        Check(Operation, tokens, experts, topK, scores.Length, ids);
        Require.Length(weights.Length, (long)tokens * topK, Operation, nameof(weights));
        fixed (float* s = scores, w = weights)
        fixed (int* id = ids)
        {
            ForwardJob job = new() { Experts = experts, TopK = topK, Scores = s, Ids = id, Rule = rule, Weights = w };
            workers.ForRows(tokens, TokensPerChunk, ref job);
        }
    }

    /// <summary>ds[t, id[t, j]] += scale (dw[t, j] - sum_i dw[t, i] s[t, i] / N) / N; without division scale dw[t, j].</summary>
    /// <param name="workers">Worker pool.</param>
    /// <param name="tokens">Tokens.</param>
    /// <param name="experts">Experts.</param>
    /// <param name="topK">Slots of a token.</param>
    /// <param name="scores">The forward's scores, [tokens, experts].</param>
    /// <param name="ids">Chosen experts, [tokens, topK].</param>
    /// <param name="rule">The forward's rule.</param>
    /// <param name="dWeights">[tokens, topK].</param>
    /// <param name="dScores">+= [tokens, experts].</param>
    /// <exception cref="ShapeException">A span is too short or an expert is none.</exception>
    public static void Backward(
        WorkerPool workers, int tokens, int experts, int topK, ReadOnlySpan<float> scores, ReadOnlySpan<int> ids, ChosenWeightRule rule, ReadOnlySpan<float> dWeights, Span<float> dScores)
    {
        const string Operation = "ChosenWeights.Backward";
        Check(Operation, tokens, experts, topK, scores.Length, ids);
        Require.Length(dWeights.Length, (long)tokens * topK, Operation, nameof(dWeights));
        Require.Length(dScores.Length, (long)tokens * experts, Operation, nameof(dScores));
        fixed (float* s = scores, dw = dWeights, ds = dScores)
        fixed (int* id = ids)
        {
            BackwardJob job = new() { Experts = experts, TopK = topK, Scores = s, Ids = id, Rule = rule, DWeights = dw, DScores = ds };
            workers.ForRows(tokens, TokensPerChunk, ref job);
        }
    }

    private const int TokensPerChunk = 512; // some 5 us

    private static void Check(string operation, int tokens, int experts, int topK, int scores, ReadOnlySpan<int> ids)
    {
        Require.Length(scores, (long)tokens * experts, operation, "scores");
        Require.Length(ids.Length, (long)tokens * topK, operation, nameof(ids));
        Require.Indices(ids[..(tokens * topK)], int.MinValue, experts, operation, nameof(ids));
    }

    private struct ForwardJob : IRowJob
    {
        public int Experts;
        public int TopK;
        public float* Scores;
        public int* Ids;
        public ChosenWeightRule Rule;
        public float* Weights;

        public readonly void Run(int begin, int end)
        {
            float* s = Scores + ((long)begin * Experts);
            float* w = Weights + ((long)begin * TopK);
            int* id = Ids + ((long)begin * TopK);
            for (int t = begin; t < end; t++, s += Experts, w += TopK, id += TopK)
            {
                float sum = 0f;
                for (int j = 0; j < TopK; j++)
                {
                    w[j] = id[j] < 0 ? 0f : s[id[j]];
                    sum += w[j];
                }

                float factor = Rule.Divides ? Rule.Scale / (sum + Rule.Epsilon) : Rule.Scale;
                for (int j = 0; j < TopK; j++)
                {
                    w[j] *= factor;
                }
            }
        }
    }

    private struct BackwardJob : IRowJob
    {
        public int Experts;
        public int TopK;
        public float* Scores;
        public int* Ids;
        public ChosenWeightRule Rule;
        public float* DWeights;
        public float* DScores;

        public readonly void Run(int begin, int end)
        {
            float* s = Scores + ((long)begin * Experts);
            float* ds = DScores + ((long)begin * Experts);
            float* dw = DWeights + ((long)begin * TopK);
            int* id = Ids + ((long)begin * TopK);
            for (int t = begin; t < end; t++, s += Experts, ds += Experts, dw += TopK, id += TopK)
            {
                float factor = Rule.Scale;
                float shift = 0f;
                if (Rule.Divides)
                {
                    (float sum, float dot) = (0f, 0f);
                    for (int j = 0; j < TopK; j++)
                    {
                        float score = id[j] < 0 ? 0f : s[id[j]];
                        sum += score;
                        dot += dw[j] * score;
                    }

                    factor = Rule.Scale / (sum + Rule.Epsilon);
                    shift = dot / (sum + Rule.Epsilon);
                }

                for (int j = 0; j < TopK; j++)
                {
                    if (id[j] >= 0)
                    {
                        ds[id[j]] += factor * (dw[j] - shift);
                    }
                }
            }
        }
    }
}

/// <summary>How chosen scores become weights.</summary>
/// <param name="Divides">Whether they are divided by their sum.</param>
/// <param name="Epsilon">Added to the sum.</param>
/// <param name="Scale">Factor.</param>
public readonly record struct ChosenWeightRule(bool Divides, float Epsilon, float Scale);
