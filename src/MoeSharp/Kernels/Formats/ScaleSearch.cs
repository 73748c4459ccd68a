using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace MoeSharp.Kernels.Formats;

/// <summary>A line through the levels 0, 1, 2, ...: value = Scale * level + Offset.</summary>
/// <param name="Scale">Never negative.</param>
/// <param name="Offset">Value of level 0.</param>
internal readonly record struct LevelLine(float Scale, float Offset);

/// <summary>Finds scales for a group of values so that the weighted squared error of the nearest levels is small.</summary>
/// <remarks>
/// For given levels q the best scale is the least-squares solution, s = sum(w x q) / sum(w q^2), which lowers the error by sum(w x q)^2 / sum(w q^2). The levels themselves
/// depend on the scale, so a few scales near the one that just covers the group are tried, and the best is improved by turns: levels for the scale, scale for the levels.
/// Groups are multiples of 16 values. Sums run over 16 lanes that are folded in halves, so every machine chooses the same scales.
/// </remarks>
internal static unsafe class ScaleSearch
{
    /// <summary>Groups without a value of this size become zeros: their scale would not be distinguishable from zero as a half.</summary>
    public const float Negligible = 1e-12f;

    private const int Lanes = 16;
    private const int LowSteps = 7; // each way, where the extreme value meets the lowest level; measured: more steps gain less than 0.1 % of the error
    private const int HighSteps = 4; // each way, where it meets the highest
    private const float Step = 0.15f; // of a level
    private const int LineSteps = 6; // each way
    private const float LineStep = 0.17f; // of a level
    private const int Turns = 2;
    private const double SingleLevel = 1e-5; // of the products: below the least that two different levels of 32 give, above rounding

    /// <summary>Sum of the lanes, folded in halves.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(Vector512<float> lanes)
    {
        Vector256<float> eight = lanes.GetLower() + lanes.GetUpper();
        Vector128<float> four = eight.GetLower() + eight.GetUpper();
        Vector128<float> two = four + Vector128.Shuffle(four, Vector128.Create(2, 3, 0, 1));
        return two.GetElement(0) + two.GetElement(1);
    }

    /// <summary>The value of largest size, with its sign.</summary>
    public static float Extreme(float* x, int n)
    {
        Vector512<float> lowest = Vector512.Load(x);
        Vector512<float> highest = lowest;
        for (int i = Lanes; i < n; i += Lanes)
        {
            lowest = Vector512.Min(lowest, Vector512.Load(x + i));
            highest = Vector512.Max(highest, Vector512.Load(x + i));
        }

        float low = Lowest(lowest);
        float high = -Lowest(-highest);
        return -low > high ? low : high;
    }

    /// <summary>Best scale for levels on both sides of zero; its sign says which end the extreme value takes.</summary>
    /// <param name="x">Values, [n].</param>
    /// <param name="w">Weights of their errors, positive, [n].</param>
    /// <param name="n">A multiple of 16.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static float Symmetric<T>(float* x, float* w, int n)
        where T : struct, ILevels
    {
        float extreme = Extreme(x, n);
        if (MathF.Abs(extreme) < Negligible)
        {
            return 0;
        }

        Best best = new() { Gain = -1 };
        for (int step = -LowSteps; step <= LowSteps; step++)
        {
            Try<T>(x, w, n, (T.Lowest - (step * Step * T.Spacing)) / extreme, ref best);
        }

        for (int step = -HighSteps; step <= HighSteps; step++)
        {
            Try<T>(x, w, n, (T.Highest + (step * Step * T.Spacing)) / extreme, ref best);
        }

        for (int turn = 0; turn < Turns && best.Scale != 0; turn++)
        {
            Try<T>(x, w, n, 1 / best.Scale, ref best);
        }

        return best.Scale;
    }

    /// <summary>Weighted squared error of a scale.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Error<T>(float* x, float* w, int n, float scale)
        where T : struct, ILevels
    {
        Vector512<float> inverses = Vector512.Create(scale == 0 ? 0 : 1 / scale);
        Vector512<float> scales = Vector512.Create(scale);
        Vector512<float> error = Vector512<float>.Zero;
        for (int i = 0; i < n; i += Lanes)
        {
            Vector512<float> value = Vector512.Load(x + i);
            Vector512<float> rest = value - (scales * T.Nearest(value * inverses));
            error += Vector512.Load(w + i) * rest * rest;
        }

        return Sum(error);
    }

    /// <summary>Products for the best scale given the levels that a scale leads to.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ScaleProducts Products<T>(float* x, float* w, int n, float inverse)
        where T : struct, ILevels
    {
        Vector512<float> inverses = Vector512.Create(inverse);
        Vector512<float> valueLevel = Vector512<float>.Zero;
        Vector512<float> levelLevel = Vector512<float>.Zero;
        for (int i = 0; i < n; i += Lanes)
        {
            Vector512<float> value = Vector512.Load(x + i);
            Vector512<float> level = T.Nearest(value * inverses);
            Vector512<float> weighted = Vector512.Load(w + i) * level;
            valueLevel += weighted * value;
            levelLevel += weighted * level;
        }

        return new ScaleProducts(Sum(valueLevel), Sum(levelLevel));
    }

    /// <summary>Best line through the levels 0 to <paramref name="highest"/>.</summary>
    /// <param name="x">Values, [n].</param>
    /// <param name="w">Weights of their errors, positive, [n].</param>
    /// <param name="n">A multiple of 16.</param>
    /// <param name="highest">Largest level.</param>
    /// <param name="isBelowZero">Whether the offset must not be positive.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static LevelLine Line(float* x, float* w, int n, float highest, bool isBelowZero)
    {
        LineTotals totals = Totals(x, w, n);
        float low = isBelowZero ? Math.Min(totals.Low, 0) : totals.Low;
        float range = totals.High - low;
        if (range < Negligible)
        {
            return new LevelLine(0, low);
        }

        BestLine best = new() { Line = new LevelLine(range / highest, low), Gain = double.NegativeInfinity };
        for (int step = -LineSteps; step <= LineSteps; step++)
        {
            // Level 0 meets the lowest value, or the highest level meets the highest.
            float inverse = (highest + (step * LineStep)) / range;
            Try(x, w, n, inverse, low, highest, isBelowZero, totals, ref best);
            if (step != 0)
            {
                Try(x, w, n, inverse, totals.High - (highest / inverse), highest, isBelowZero, totals, ref best);
            }
        }

        for (int turn = 0; turn < Turns; turn++)
        {
            Try(x, w, n, 1 / best.Line.Scale, best.Line.Offset, highest, isBelowZero, totals, ref best);
        }

        return best.Line;
    }

    /// <summary>Levels of a line: the nearest from 0 to <paramref name="highest"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Levels(Vector512<float> values, Vector512<float> inverses, Vector512<float> offsets, Vector512<float> highest) =>
        Vector512.Min(Vector512.Max(Vector512.Round((values - offsets) * inverses), Vector512<float>.Zero), highest);

    /// <summary>Weighted squared error of a line.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Error(float* x, float* w, int n, LevelLine line, float highest)
    {
        Vector512<float> inverses = Vector512.Create(line.Scale == 0 ? 0 : 1 / line.Scale);
        Vector512<float> scales = Vector512.Create(line.Scale);
        Vector512<float> offsets = Vector512.Create(line.Offset);
        Vector512<float> top = Vector512.Create(highest);
        Vector512<float> error = Vector512<float>.Zero;
        for (int i = 0; i < n; i += Lanes)
        {
            Vector512<float> value = Vector512.Load(x + i);
            Vector512<float> rest = value - offsets - (scales * Levels(value, inverses, offsets, top));
            error += Vector512.Load(w + i) * rest * rest;
        }

        return Sum(error);
    }

    /// <summary>Products for the best line given the levels that a line leads to.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static LineProducts Products(float* x, float* w, int n, float inverse, float offset, float highest)
    {
        Vector512<float> inverses = Vector512.Create(inverse);
        Vector512<float> offsets = Vector512.Create(offset);
        Vector512<float> top = Vector512.Create(highest);
        Vector512<float> levels = Vector512<float>.Zero;
        Vector512<float> valueLevel = Vector512<float>.Zero;
        Vector512<float> levelLevel = Vector512<float>.Zero;
        for (int i = 0; i < n; i += Lanes)
        {
            Vector512<float> value = Vector512.Load(x + i);
            Vector512<float> level = Levels(value, inverses, offsets, top);
            Vector512<float> weighted = Vector512.Load(w + i) * level;
            levels += weighted;
            valueLevel += weighted * value;
            levelLevel += weighted * level;
        }

        return new LineProducts(Sum(levels), Sum(valueLevel), Sum(levelLevel));
    }

    /// <summary>Sums over a group that do not depend on levels.</summary>
    public static LineTotals Totals(float* x, float* w, int n)
    {
        Vector512<float> lowest = Vector512.Load(x);
        Vector512<float> highest = lowest;
        Vector512<float> weights = Vector512<float>.Zero;
        Vector512<float> values = Vector512<float>.Zero;
        for (int i = 0; i < n; i += Lanes)
        {
            Vector512<float> value = Vector512.Load(x + i);
            Vector512<float> weight = Vector512.Load(w + i);
            lowest = Vector512.Min(lowest, value);
            highest = Vector512.Max(highest, value);
            weights += weight;
            values += weight * value;
        }

        return new LineTotals(Lowest(lowest), -Lowest(-highest), Sum(weights), Sum(values));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Try<T>(float* x, float* w, int n, float inverse, ref Best best)
        where T : struct, ILevels
    {
        ScaleProducts products = Products<T>(x, w, n, inverse);
        float gain = products.ValueLevel * products.ValueLevel / products.LevelLevel;
        if (gain > best.Gain)
        {
            best.Gain = gain;
            best.Scale = products.ValueLevel / products.LevelLevel;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Try(float* x, float* w, int n, float inverse, float offset, float highest, bool isBelowZero, in LineTotals totals, ref BestLine best)
    {
        LineProducts products = Products(x, w, n, inverse, offset, highest);
        double largest = (double)totals.Weight * products.LevelLevel;
        double determinant = largest - ((double)products.Level * products.Level);
        if (!(determinant > SingleLevel * largest))
        {
            return; // every value takes the same level
        }

        double scale = (((double)totals.Weight * products.ValueLevel) - ((double)totals.Value * products.Level)) / determinant;
        double intercept = (((double)products.LevelLevel * totals.Value) - ((double)products.Level * products.ValueLevel)) / determinant;
        if (isBelowZero && intercept > 0)
        {
            intercept = 0;
            scale = (double)products.ValueLevel / products.LevelLevel;
        }

        // The error is the weighted sum of squares of the values minus this.
        double gain = (scale * products.ValueLevel) + (intercept * totals.Value);
        if (scale > 0 && gain > best.Gain)
        {
            best.Gain = gain;
            best.Line = new LevelLine((float)scale, (float)intercept);
        }
    }

    private static float Lowest(Vector512<float> lanes)
    {
        Vector256<float> eight = Vector256.Min(lanes.GetLower(), lanes.GetUpper());
        Vector128<float> four = Vector128.Min(eight.GetLower(), eight.GetUpper());
        return Math.Min(Math.Min(four.GetElement(0), four.GetElement(1)), Math.Min(four.GetElement(2), four.GetElement(3)));
    }

    private struct Best
    {
        public float Gain;
        public float Scale;
    }

    private struct BestLine
    {
        public double Gain;
        public LevelLine Line;
    }
}

/// <summary>Weighted products of values and levels.</summary>
/// <param name="ValueLevel">sum(w x q).</param>
/// <param name="LevelLevel">sum(w q^2).</param>
internal readonly record struct ScaleProducts(float ValueLevel, float LevelLevel);

/// <summary>Weighted products of values and levels of a line.</summary>
/// <param name="Level">sum(w q).</param>
/// <param name="ValueLevel">sum(w x q).</param>
/// <param name="LevelLevel">sum(w q^2).</param>
internal readonly record struct LineProducts(float Level, float ValueLevel, float LevelLevel);

/// <summary>Range and weighted sums of a group.</summary>
/// <param name="Low">Smallest value.</param>
/// <param name="High">Largest value.</param>
/// <param name="Weight">sum(w).</param>
/// <param name="Value">sum(w x).</param>
internal readonly record struct LineTotals(float Low, float High, float Weight, float Value);
