namespace MoeSharp.Data.Synthetic;

/// <summary>Settings of a <see cref="SharedKeyLanguage"/>.</summary>
public sealed record SharedKeySettings
{
    /// <summary>K: tables that are added, each chosen by a tag of its own.</summary>
    public int Factors { get; init; } = 3;

    /// <summary>n: values of each tag.</summary>
    public int Values { get; init; } = 16;

    /// <summary>V: different symbols.</summary>
    public int Symbols { get; init; } = 32;

    /// <summary>T: symbols of a line.</summary>
    public int LineSymbols { get; init; } = 61;

    /// <summary>Standard deviation of the logits that all lines share.</summary>
    public double SharedScale { get; init; } = 1.5;

    /// <summary>Standard deviation of each factor's logits.</summary>
    public double FactorScale { get; init; } = 1.5;

    /// <summary>Seed of the tables.</summary>
    public ulong Seed { get; init; } = 7;
}

/// <summary>Lines whose knowledge all shares one key, the current symbol: a router can cut the whole problem along it.</summary>
/// <remarks>p(next | current, tags) = softmax(C[current] + sum_f A_f[v_f][current]). The control of <see cref="PairLanguage"/>.</remarks>
public sealed class SharedKeyLanguage : KnownLanguage
{
    private const string LanguageName = "shared_key";

    private readonly double[] _shared; // exp C, [symbols, symbols]
    private readonly double[][] _factors; // exp A, each [values, symbols, symbols]

    /// <summary>Draws the tables.</summary>
    /// <exception cref="ConfigurationException">A setting is out of range.</exception>
    public SharedKeyLanguage(SharedKeySettings settings)
        : base(LanguageName, settings.Factors, settings.Values, settings.Symbols, settings.LineSymbols)
    {
        Require(settings.Factors <= 16, LanguageName, $"factors {settings.Factors}; use 1 to 16");
        _shared = Exponentials(LanguageName, settings.Seed, 0, (long)NumSymbols * NumSymbols, settings.SharedScale);
        _factors = new double[settings.Factors][];
        for (int factor = 0; factor < _factors.Length; factor++)
        {
            _factors[factor] = Exponentials(LanguageName, settings.Seed, (ulong)factor + 1, (long)settings.Values * NumSymbols * NumSymbols, settings.FactorScale);
        }
    }

    /// <inheritdoc/>
    protected override void Weigh(ReadOnlySpan<int> tags, int current, Span<double> weights)
    {
        _shared.AsSpan(current * weights.Length, weights.Length).CopyTo(weights);
        for (int factor = 0; factor < _factors.Length; factor++)
        {
            ReadOnlySpan<double> known = _factors[factor].AsSpan(((tags[factor] * weights.Length) + current) * weights.Length, weights.Length);
            for (int symbol = 0; symbol < weights.Length; symbol++)
            {
                weights[symbol] *= known[symbol];
            }
        }
    }
}
