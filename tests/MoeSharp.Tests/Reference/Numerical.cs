namespace MoeSharp.Tests.Reference;

/// <summary>Derivatives without any algebra.</summary>
internal static class Numerical
{
    /// <summary>Central differences of a function of many numbers; the error is about step squared.</summary>
    public static double[] Gradient(Func<double[], double> function, double[] at, double step = 1e-5)
    {
        double[] gradient = new double[at.Length];
        double[] x = [.. at];
        for (int i = 0; i < x.Length; i++)
        {
            x[i] = at[i] + step;
            double above = function(x);
            x[i] = at[i] - step;
            gradient[i] = (above - function(x)) / (2 * step);
            x[i] = at[i];
        }

        return gradient;
    }

    /// <summary>Standard normal distribution function by Simpson's rule from -12.</summary>
    public static double NormalBelow(double z)
    {
        const int Intervals = 2000; // even
        if (z < -12)
        {
            return 0;
        }

        double width = (z + 12) / Intervals;
        double sum = 0;
        for (int i = 0; i <= Intervals; i++)
        {
            double x = -12 + (i * width);
            sum += Math.Exp(-x * x / 2) * (i is 0 or Intervals ? 1 : i % 2 == 1 ? 4 : 2);
        }

        return sum * width / 3 / Math.Sqrt(2 * Math.PI);
    }

    public static double[] Softmax(double[] x)
    {
        double[] exponentials = [.. x.Select(value => Math.Exp(value - x.Max()))];
        return [.. exponentials.Select(value => value / exponentials.Sum())];
    }
}
