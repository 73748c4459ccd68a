namespace MoeSharp.Training.Comparison;

/// <summary>Mean of a few values with its standard error.</summary>
/// <param name="Count">Values.</param>
/// <param name="Mean">Their mean; not a number without values.</param>
/// <param name="StandardError">Standard deviation (n - 1) over the root of n; not a number for fewer than two values.</param>
public readonly record struct SampleMean(int Count, double Mean, double StandardError)
{
    /// <summary>Takes the mean of values.</summary>
    public static SampleMean Of(IReadOnlyCollection<double> values)
    {
        if (values.Count == 0)
        {
            return new SampleMean(0, double.NaN, double.NaN);
        }

        double mean = values.Average();
        double squares = values.Sum(value => (value - mean) * (value - mean));
        return new SampleMean(values.Count, mean, values.Count < 2 ? double.NaN : Math.Sqrt(squares / (values.Count - 1) / values.Count));
    }

    /// <summary>Mean over standard error: Student's t of the hypothesis that the true mean is 0; not a number for fewer than two values.</summary>
    public double T => Count < 2 ? double.NaN : Mean == 0 ? 0 : Mean / StandardError;

    /// <summary>Probability of a mean at least so far from 0 if the true mean is 0 and the values are normally distributed; not a number for fewer than two values.</summary>
    public double PValue => Count < 2 ? double.NaN : StudentT.TwoSided(T, Count - 1);
}

/// <summary>Student's t distribution.</summary>
public static class StudentT
{
    private const int MostTerms = 300;
    private const double Precision = 1e-14;
    private const double Tiny = 1e-300; // in place of 0 in a denominator

    /// <summary>Probability of a value at least as far from 0 as <paramref name="t"/>.</summary>
    /// <param name="t">Value.</param>
    /// <param name="degreesOfFreedom">At least 1.</param>
    /// <remarks>I_x(df / 2, 1 / 2) with x = df / (df + t^2), I the regularised incomplete beta function.</remarks>
    public static double TwoSided(double t, int degreesOfFreedom)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(degreesOfFreedom, 1);
        if (double.IsNaN(t))
        {
            return double.NaN;
        }

        double x = degreesOfFreedom / (degreesOfFreedom + (t * t));
        (double a, double b) = (degreesOfFreedom / 2.0, 0.5);
        // The continued fraction converges fast below (a + 1) / (a + b + 2); above, the symmetry I_x(a, b) = 1 - I_(1-x)(b, a) brings it there.
        return x < (a + 1) / (a + b + 2) ? Beta(x, a, b) : 1 - Beta(1 - x, b, a);
    }

    private static double Beta(double x, double a, double b)
    {
        if (x <= 0)
        {
            return 0;
        }

        double logFront = (a * Math.Log(x)) + (b * Math.Log(1 - x)) + LogGamma(a + b) - LogGamma(a) - LogGamma(b);
        return Math.Exp(logFront) * Fraction(x, a, b) / a;
    }

    // Continued fraction of the incomplete beta function, evaluated by Lentz's method.
    private static double Fraction(double x, double a, double b)
    {
        double c = 1;
        double d = 1 / NotZero(1 - ((a + b) * x / (a + 1)));
        double value = d;
        for (int m = 1; m <= MostTerms; m++)
        {
            double even = m * (b - m) * x / ((a + (2 * m) - 1) * (a + (2 * m)));
            d = 1 / NotZero(1 + (even * d));
            c = NotZero(1 + (even / c));
            value *= d * c;
            double odd = -(a + m) * (a + b + m) * x / ((a + (2 * m)) * (a + (2 * m) + 1));
            d = 1 / NotZero(1 + (odd * d));
            c = NotZero(1 + (odd / c));
            value *= d * c;
            if (Math.Abs((d * c) - 1) < Precision)
            {
                break;
            }
        }

        return value;
    }

    private static double NotZero(double value) => Math.Abs(value) < Tiny ? Tiny : value;

    // a is half a whole number here, so the recurrence from Gamma(1/2) = sqrt(pi) and Gamma(1) = 1 is exact and short.
    private static double LogGamma(double a)
    {
        double log = a == Math.Floor(a) ? 0 : 0.5 * Math.Log(Math.PI);
        for (double at = a == Math.Floor(a) ? 1 : 0.5; at < a - 0.25; at++)
        {
            log += Math.Log(at);
        }

        return log;
    }
}
