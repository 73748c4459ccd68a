using MoeSharp.Data;
using MoeSharp.Execution;
using MoeSharp.Model;

namespace MoeSharp.Analysis;

/// <summary>A token with how much more often an expert gets it than the text has it.</summary>
/// <param name="Token">Id.</param>
/// <param name="Lift">p(token | expert) / p(token); 1 where the expert does not care.</param>
/// <param name="Count">Slots of this token that the expert took.</param>
public readonly record struct LiftedToken(int Token, double Lift, long Count);

/// <summary>Which tokens the experts of one layer take, counted over text.</summary>
public sealed class TokenLift
{
    private readonly int[] _slots; // [tokens, experts]
    private readonly long[] _expertSlots; // [experts]
    private readonly long[] _tokenSlots; // [tokens]
    private readonly IReadOnlyList<int> _tokens; // id of each column
    private long _numSlots;
    private bool _areSumsKnown;

    /// <summary>Prepares an empty table.</summary>
    /// <param name="layer">Decoder layer.</param>
    /// <param name="experts">Routed experts.</param>
    /// <param name="tokens">The tokens that are counted, by id.</param>
    internal TokenLift(int layer, int experts, IReadOnlyList<int> tokens)
    {
        (Layer, _tokens) = (layer, tokens);
        _slots = new int[checked(tokens.Count * experts)];
        _expertSlots = new long[experts];
        _tokenSlots = new long[tokens.Count];
    }

    /// <summary>Decoder layer.</summary>
    public int Layer { get; }

    /// <summary>Routed experts.</summary>
    public int NumExperts => _expertSlots.Length;

    /// <summary>Slots counted.</summary>
    public long NumSlots
    {
        get
        {
            Sum();
            return _numSlots;
        }
    }

    /// <summary>Counts the choices of every MoE layer over text.</summary>
    /// <param name="model">Model with experts.</param>
    /// <param name="batches">Text, from its beginning.</param>
    /// <param name="context">Context for the passes.</param>
    /// <returns>One table per MoE layer.</returns>
    public static IReadOnlyList<TokenLift> Measure(LanguageModel model, SequentialBatches batches, ForwardContext context)
    {
        List<TokenLift> layers = [];
        TokenBatch batch = new();
        float[] losses = [];
        context.Routing.CaptureTokens = true;
        try
        {
            while (batches.Next(batch))
            {
                Array.Resize(ref losses, batch.Count);
                model.Loss(batch, losses, context);
                for (int index = 0; index < context.Routing.Layers.Count; index++)
                {
                    LayerRouting routing = context.Routing.Layers[index];
                    if (index == layers.Count)
                    {
                        layers.Add(new TokenLift(routing.Layer, routing.TokensPerExpert.Length, [.. Enumerable.Range(0, model.Config.VocabSize)]));
                    }

                    layers[index].Add(batch, routing.ExpertIds);
                }
            }
        }
        finally
        {
            context.Routing.CaptureTokens = false;
        }

        return layers;
    }

    /// <summary>Mutual information of token and expert, bits per slot: 0 when experts take tokens without looking at which they are.</summary>
    public double MutualInformation()
    {
        Sum();
        double bits = 0;
        for (int expert = 0; expert < NumExperts; expert++)
        {
            for (int token = 0; token < _tokenSlots.Length; token++)
            {
                long joint = _slots[(token * NumExperts) + expert];
                if (joint > 0)
                {
                    bits += (double)joint / _numSlots * Math.Log2((double)joint * _numSlots / ((double)_expertSlots[expert] * _tokenSlots[token]));
                }
            }
        }

        return bits;
    }

    /// <summary>Share of all slots that an expert took.</summary>
    public double Share(int expert) => NumSlots == 0 ? 0 : (double)_expertSlots[expert] / NumSlots;

    /// <summary>The tokens with the highest lift.</summary>
    /// <param name="expert">Expert.</param>
    /// <param name="count">Most tokens to return.</param>
    /// <param name="minCount">Tokens that the expert took less often are left out: their lift is chance.</param>
    public IReadOnlyList<LiftedToken> Top(int expert, int count, long minCount)
    {
        Sum();
        List<LiftedToken> tokens = [];
        for (int token = 0; token < _tokenSlots.Length; token++)
        {
            long joint = _slots[(token * NumExperts) + expert];
            if (joint >= Math.Max(1, minCount))
            {
                double lift = (double)joint * _numSlots / ((double)_expertSlots[expert] * _tokenSlots[token]);
                tokens.Add(new LiftedToken(_tokens[token], lift, joint));
            }
        }

        return [.. tokens.OrderByDescending(token => token.Lift).ThenByDescending(token => token.Count).Take(count)];
    }

    private void Add(TokenBatch batch, int[] expertIds)
    {
        int topK = expertIds.Length / batch.Count;
        for (int row = 0; row < batch.Count; row++)
        {
            if (batch.Targets[row] < 0)
            {
                continue; // filling rows are no text
            }

            Add(batch.TokenIds[row], expertIds.AsSpan(row * topK, topK));
        }
    }

    /// <summary>Counts one token's choices.</summary>
    /// <param name="column">Which of the tokens.</param>
    /// <param name="experts">Experts that took it; negative ones did not.</param>
    internal void Add(int column, ReadOnlySpan<int> experts)
    {
        _areSumsKnown = false;
        Span<int> slots = _slots.AsSpan(column * NumExperts, NumExperts);
        foreach (int expert in experts)
        {
            if (expert >= 0)
            {
                slots[expert]++;
            }
        }
    }

    // Sums of the table; counting goes on for millions of slots before anyone asks.
    private void Sum()
    {
        if (_areSumsKnown)
        {
            return;
        }

        Array.Clear(_expertSlots);
        _numSlots = 0;
        for (int token = 0; token < _tokenSlots.Length; token++)
        {
            long sum = 0;
            ReadOnlySpan<int> slots = _slots.AsSpan(token * NumExperts, NumExperts);
            for (int expert = 0; expert < slots.Length; expert++)
            {
                _expertSlots[expert] += slots[expert];
                sum += slots[expert];
            }

            _tokenSlots[token] = sum;
            _numSlots += sum;
        }

        _areSumsKnown = true;
    }
}
