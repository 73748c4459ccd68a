using System.Globalization;
using MoeSharp.Checkpoints;

namespace MoeSharp.Verification;

/// <summary>Distances between computed and expected values; anything that is not a number counts as infinitely far.</summary>
internal static class Difference
{
    /// <summary>Largest absolute difference of a tensor.</summary>
    public static VerificationCheck MaxAbsolute(string name, ReadOnlySpan<float> actual, SafetensorsFile file, string tensor, double tolerance)
    {
        float[] expected = Read(file, tensor);
        if (expected.Length != actual.Length)
        {
            return WrongLength(name, actual.Length, expected.Length, tolerance);
        }

        (double largest, int at) = (0, 0);
        for (int i = 0; i < expected.Length; i++)
        {
            double difference = Math.Abs(actual[i] - (double)expected[i]);
            if (!(difference <= largest))
            {
                (largest, at) = (double.IsNaN(difference) ? double.PositiveInfinity : difference, i);
            }
        }

        string worst = expected.Length == 0 ? "no values" : Text($"{expected.Length} values, worst at {at}: {actual[at]:G7} for {expected[at]:G7}");
        return new VerificationCheck(name, "max abs", largest, tolerance, worst);
    }

    /// <summary>Number of integers that differ.</summary>
    public static VerificationCheck Mismatches(string name, ReadOnlySpan<int> actual, ReadOnlySpan<long> expected)
    {
        if (expected.Length != actual.Length)
        {
            return WrongLength(name, actual.Length, expected.Length, 0);
        }

        (int count, int first) = (0, -1);
        for (int i = 0; i < expected.Length; i++)
        {
            if (actual[i] != expected[i])
            {
                first = count++ == 0 ? i : first;
            }
        }

        string detail = count == 0 ? Text($"{expected.Length} values") : Text($"{expected.Length} values, first at {first}: {actual[first]} for {expected[first]}");
        return new VerificationCheck(name, "mismatches", count, 0, detail);
    }

    /// <summary>Relative difference of a number.</summary>
    public static VerificationCheck Relative(string name, double actual, double expected, double tolerance)
    {
        double difference = Math.Abs(actual - expected) / Math.Max(Math.Abs(expected), double.Epsilon);
        return new VerificationCheck(name, "relative", actual == expected ? 0 : NotNaN(difference), tolerance, Text($"{actual:G9} for {expected:G9}"));
    }

    /// <summary>||a - e|| / ||e||, and 0 or infinity where the expectation is all zeros.</summary>
    public static double RelativeNorm(ReadOnlySpan<float> actual, ReadOnlySpan<float> expected)
    {
        (double difference, double norm) = (0, 0);
        for (int i = 0; i < expected.Length; i++)
        {
            double distance = actual[i] - (double)expected[i];
            difference += distance * distance;
            norm += expected[i] * (double)expected[i];
        }

        return difference == 0 ? 0 : norm == 0 ? double.PositiveInfinity : NotNaN(Math.Sqrt(difference / norm));
    }

    /// <summary>A whole tensor of floats.</summary>
    public static float[] Read(SafetensorsFile file, string tensor)
    {
        float[] values = new float[file.Tensor(tensor).Length];
        file.ReadFloats(tensor, values);
        return values;
    }

    /// <summary>A whole tensor of integers.</summary>
    public static long[] ReadIntegers(SafetensorsFile file, string tensor)
    {
        long[] values = new long[file.Tensor(tensor).Length];
        file.ReadIntegers(tensor, values);
        return values;
    }

    internal static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    private static double NotNaN(double value) => double.IsNaN(value) ? double.PositiveInfinity : value;

    private static VerificationCheck WrongLength(string name, int actual, int expected, double tolerance) =>
        new(name, "length", double.PositiveInfinity, tolerance, Text($"{actual} values for {expected}"));
}
