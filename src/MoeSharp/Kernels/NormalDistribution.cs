namespace MoeSharp.Kernels;

/// <summary>The standard normal distribution.</summary>
public static class NormalDistribution
{
    private const double FarthestTail = 6; // erfc beyond it is below 2.2e-17
    private const double InverseSqrt2Pi = 0.3989422804014327;

    /// <summary>Probability of a value below <paramref name="z"/>; absolute error 1e-8.</summary>
    public static double Below(double z)
    {
        double x = Math.Abs(z) * Math.Sqrt(0.5);
        double tail = x > FarthestTail ? 0 : 0.5 * ComplementaryError(x);
        return z < 0 ? tail : 1 - tail;
    }

    /// <summary>Density at <paramref name="z"/>.</summary>
    public static double Density(double z) => InverseSqrt2Pi * Math.Exp(-0.5 * z * z);

    // erfc(x) = t e^(-x^2 + p(u)) with t = 2 / (2 + x) and u = t stretched from [1/4, 1] to [-1, 1], for x from 0 to 6.
    // p: Chebyshev interpolation of log(erfc(x) e^(x^2) / t) at 200 nodes, cut after degree 9; error of erfc at most 1.8e-8.
    private static double ComplementaryError(double x)
    {
        double t = 2 / (2 + x);
        double u = ((8 * t) - 5) / 3;
        double p = 1.213157989695901e-05;
        p = (p * u) + 5.307089459563485e-05;
        p = (p * u) - 0.0001972535718733326;
        p = (p * u) - 0.00030696280206186086;
        p = (p * u) + 0.0020296118480614034;
        p = (p * u) + 0.00048550462347906275;
        p = (p * u) - 0.021523777413450084;
        p = (p * u) + 0.005571744720429277;
        p = (p * u) + 0.5153126932415365;
        p = (p * u) - 0.5014367453037677;
        return t * Math.Exp(p - (x * x));
    }
}
