namespace MoeSharp.Data.Synthetic;

/// <summary>Settings of a <see cref="PairLanguage"/>.</summary>
public sealed record PairSettings
{
    /// <summary>K: independent pieces of knowledge that every symbol of a line needs at once.</summary>
    public int Factors { get; init; } = 4;

    /// <summary>n: values of each of the two tags of a factor; a factor has n * n vectors to know.</summary>
    public int Values { get; init; } = 10;

    /// <summary>V: different symbols.</summary>
    public int Symbols { get; init; } = 32;

    /// <summary>T: symbols of a line.</summary>
    public int LineSymbols { get; init; } = 12;

    /// <summary>Standard deviation of the logits that all lines share.</summary>
    public double SharedScale { get; init; } = 1;

    /// <summary>Standard deviation of each factor's logits.</summary>
    public double FactorScale { get; init; } = 1.5;

    /// <summary>Seed of the tables.</summary>
    public ulong Seed { get; init; } = 7;
}

/// <summary>Lines in which every symbol needs several independent pieces of knowledge at once, each keyed by a pair of tags.</summary>
/// <remarks>
/// Tags v_1 w_1 v_2 w_2 ...; p(next | current, tags) = softmax(C[current] + sum_f A_f[v_f][w_f]). No single key tells the lines apart, so a wide expert
/// that takes one combination has to repeat what others know as well; with one factor it is a plain table.
/// </remarks>
public sealed class PairLanguage : KnownLanguage
{
    private const string LanguageName = "pair";

    private readonly int _numValues;
    private readonly double[] _shared; // exp C, [symbols, symbols]
    private readonly double[][] _factors; // exp A, each [values * values, symbols]

    /// <summary>Draws the tables.</summary>
    /// <exception cref="ConfigurationException">A setting is out of range.</exception>
    public PairLanguage(PairSettings settings)
        : base(LanguageName, CheckedTags(settings.Factors), settings.Values, settings.Symbols, settings.LineSymbols)
    {
        _numValues = settings.Values;
        _shared = Exponentials(LanguageName, settings.Seed, 0, (long)NumSymbols * NumSymbols, settings.SharedScale);
        _factors = new double[settings.Factors][];
        for (int factor = 0; factor < _factors.Length; factor++)
        {
            _factors[factor] = Exponentials(LanguageName, settings.Seed, (ulong)factor + 1, (long)_numValues * _numValues * NumSymbols, settings.FactorScale);
        }
    }

    /// <inheritdoc/>
    protected override void Weigh(ReadOnlySpan<int> tags, int current, Span<double> weights)
    {
        _shared.AsSpan(current * weights.Length, weights.Length).CopyTo(weights);
        for (int factor = 0; factor < _factors.Length; factor++)
        {
            int pair = (tags[2 * factor] * _numValues) + tags[(2 * factor) + 1];
            ReadOnlySpan<double> known = _factors[factor].AsSpan(pair * weights.Length, weights.Length);
            for (int symbol = 0; symbol < weights.Length; symbol++)
            {
                weights[symbol] *= known[symbol];
            }
        }
    }

    private static int CheckedTags(int factors)
    {
        Require(factors is >= 1 and <= 16, LanguageName, $"factors {factors}; use 1 to 16");
        return 2 * factors;
    }
}
