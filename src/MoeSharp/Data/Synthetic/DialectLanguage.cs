using MoeSharp.Kernels;

namespace MoeSharp.Data.Synthetic;

/// <summary>Settings of a <see cref="DialectLanguage"/>.</summary>
public sealed record DialectSettings
{
    /// <summary>Dialects, each with a table of its own.</summary>
    public int Dialects { get; init; } = 48;

    /// <summary>Different symbols.</summary>
    public int Symbols { get; init; } = 90;

    /// <summary>Symbols of a line.</summary>
    public int LineSymbols { get; init; } = 40;

    /// <summary>Probability of the likelier of the two symbols that may follow.</summary>
    public double LikelierShare { get; init; } = 0.85;

    /// <summary>Seed of the tables.</summary>
    public ulong Seed { get; init; } = 7;
}

/// <summary>Made-up dialects: in each, two symbols may follow any symbol, one of them mostly. A pure look-up table.</summary>
public sealed class DialectLanguage : KnownLanguage
{
    private const string LanguageName = "dialect";

    private readonly double _likelierShare;
    private readonly int[] _likelier; // [dialects, symbols]
    private readonly int[] _other; // [dialects, symbols]

    /// <summary>Draws the tables.</summary>
    /// <exception cref="ConfigurationException">A setting is out of range.</exception>
    public DialectLanguage(DialectSettings settings)
        : base(LanguageName, 1, settings.Dialects, settings.Symbols, settings.LineSymbols)
    {
        Require(settings.LikelierShare is > 0 and < 1, LanguageName, $"likelier_share {settings.LikelierShare} must lie between 0 and 1");
        _likelierShare = settings.LikelierShare;
        _likelier = new int[settings.Dialects * settings.Symbols];
        _other = new int[_likelier.Length];
        SplitMix64 random = new(settings.Seed, 0);
        for (int entry = 0; entry < _likelier.Length; entry++)
        {
            _likelier[entry] = random.Below(NumSymbols);
            _other[entry] = (_likelier[entry] + random.Between(1, NumSymbols - 1)) % NumSymbols; // never the same
        }
    }

    /// <inheritdoc/>
    protected override void Weigh(ReadOnlySpan<int> tags, int current, Span<double> weights)
    {
        int entry = (tags[0] * weights.Length) + current;
        weights.Clear();
        weights[_likelier[entry]] = _likelierShare;
        weights[_other[entry]] = 1 - _likelierShare;
    }
}
