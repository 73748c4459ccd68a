using MoeSharp.Kernels;

namespace MoeSharp.Classic;

/// <summary>Uniform and normal numbers in double precision that depend on a seed and a stream alone.</summary>
internal sealed class SeededNumbers(ulong seed, ulong stream)
{
    private SplitMix64 _random = new(seed, stream);
    private double _spare = double.NaN;

    /// <summary>A number in (0, 1).</summary>
    public double Uniform() => ((_random.Next() >> 11) + 0.5) * (1.0 / (1UL << 53));

    /// <summary>A number from <paramref name="least"/> to <paramref name="most"/>.</summary>
    public double Between(double least, double most) => least + ((most - least) * Uniform());

    /// <summary>A number with mean 0 and deviation 1 (Box-Muller; every second call uses the spare one).</summary>
    public double Normal()
    {
        if (!double.IsNaN(_spare))
        {
            double kept = _spare;
            _spare = double.NaN;
            return kept;
        }

        double radius = Math.Sqrt(-2 * Math.Log(Uniform()));
        (double sin, double cos) = Math.SinCos(2 * Math.PI * Uniform());
        _spare = radius * sin;
        return radius * cos;
    }

    /// <summary>Fills with numbers of mean 0 and the given deviation.</summary>
    public void FillNormal(Span<double> x, double deviation)
    {
        for (int i = 0; i < x.Length; i++)
        {
            x[i] = deviation * Normal();
        }
    }

    /// <summary>Puts items into random order.</summary>
    public void Shuffle<T>(Span<T> items) => _random.Shuffle(items);
}
