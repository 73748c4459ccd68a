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
/// depend on the scale, so 16 scales near the one that just covers the group are tried, one per lane, and the best is improved by turns: levels for the scale, scale for the levels.
/// Groups are multiples of 16 values. Sums run over 16 lanes that are folded in halves, so every machine chooses the same scales.
/// </remarks>
internal static unsafe class ScaleSearch
{
    /// <summary>Groups without a value of this size become zeros: their scale would not be distinguishable from zero as a half.</summary>
    public const float Negligible = 1e-12f;

    private const int Lanes = 16;
    // Scales tried, one per lane: where the extreme value meets the lowest level (10 lanes) or the highest (6), moved by so many spacings.
    private static Vector512<float> ScaleSteps => Vector512.Create(-0.9f, -0.7f, -0.5f, -0.3f, -0.1f, 0.1f, 0.3f, 0.5f, 0.7f, 0.9f, -0.5f, -0.3f, -0.1f, 0.1f, 0.3f, 0.5f);

    private static Vector512<float> IsLowStep => Vector512.Create(1f, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0);

    // Lines tried, one per lane: level 0 meets the lowest value (9 lanes), or the highest level the highest value (7).
    private static Vector512<float> LineSteps => Vector512.Create(-1f, -0.75f, -0.5f, -0.25f, 0, 0.25f, 0.5f, 0.75f, 1, -0.9f, -0.6f, -0.3f, 0.2f, 0.4f, 0.7f, 1);

    private static Vector512<float> IsLowLine => Vector512.Create(1f, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0);

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
            lowest = Vector512.MinNative(lowest, Vector512.Load(x + i));
            highest = Vector512.MaxNative(highest, Vector512.Load(x + i));
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

        Vector512<float> ends = (IsLowStep * (T.Lowest - T.Highest)) + Vector512.Create(T.Highest);
        Vector512<float> inverses = (ends + (ScaleSteps * T.Spacing)) * Vector512.Create(1 / extreme);
        Vector512<float> valueLevel = Vector512<float>.Zero;
        Vector512<float> levelLevel = Vector512<float>.Zero;
        for (int i = 0; i < n; i++)
        {
            Vector512<float> level = T.Nearest(Vector512.Create(x[i]) * inverses);
            Vector512<float> weighted = Vector512.Create(w[i]) * level;
            valueLevel += weighted * Vector512.Create(x[i]);
            levelLevel += weighted * level;
        }

        Best best = new() { Gain = -1 };
        Try<T>(x, w, n, inverses.GetElement(LargestLane(valueLevel * valueLevel / levelLevel)), ref best);
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
        Vector512<float> inverses = (Vector512.Create(highest) + LineSteps) * Vector512.Create(1 / range);
        Vector512<float> top = Vector512.Create(highest);
        Vector512<float> offsets = (IsLowLine * low) + ((Vector512<float>.One - IsLowLine) * (Vector512.Create(totals.High) - (top / inverses)));
        int lane = LargestLane(Gains(x, w, n, inverses, offsets, top, isBelowZero, totals));
        Try(x, w, n, inverses.GetElement(lane), offsets.GetElement(lane), highest, isBelowZero, totals, ref best);
        for (int turn = 0; turn < Turns; turn++)
        {
            Try(x, w, n, 1 / best.Line.Scale, best.Line.Offset, highest, isBelowZero, totals, ref best);
        }

        return best.Line;
    }

    /// <summary>Levels of a line: the nearest from 0 to <paramref name="highest"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Levels(Vector512<float> values, Vector512<float> inverses, Vector512<float> offsets, Vector512<float> highest) =>
        Vector512.MinNative(Vector512.MaxNative(Vector512.Round((values - offsets) * inverses), Vector512<float>.Zero), highest);

    /// <summary>Weighted squared error of the best of 16 lines.</summary>
    /// <param name="x">Values, [n].</param>
    /// <param name="w">Weights, [n].</param>
    /// <param name="n">Values.</param>
    /// <param name="scales">Scales, 0 or more.</param>
    /// <param name="offsets">Offsets.</param>
    /// <param name="highest">Largest level.</param>
    /// <param name="lane">= the first line with that error.</param>
    public static float LeastError(float* x, float* w, int n, Vector512<float> scales, Vector512<float> offsets, float highest, out int lane)
    {
        Vector512<float> isFlat = Vector512.Equals(scales, Vector512<float>.Zero);
        Vector512<float> inverses = Vector512.ConditionalSelect(isFlat, Vector512<float>.Zero, Vector512<float>.One / scales);
        Vector512<float> top = Vector512.Create(highest);
        Vector512<float> errors = Vector512<float>.Zero;
        for (int i = 0; i < n; i++)
        {
            Vector512<float> value = Vector512.Create(x[i]);
            Vector512<float> rest = value - offsets - (scales * Levels(value, inverses, offsets, top));
            errors += Vector512.Create(w[i]) * rest * rest;
        }

        lane = LargestLane(-errors);
        return errors.GetElement(lane);
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
            lowest = Vector512.MinNative(lowest, value);
            highest = Vector512.MaxNative(highest, value);
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

    // What each lane's line takes off the weighted sum of squares; the algebra of Try, in float32, which is enough to choose.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Gains(float* x, float* w, int n, Vector512<float> inverses, Vector512<float> offsets, Vector512<float> top, bool isBelowZero, in LineTotals totals)
    {
        Vector512<float> level = Vector512<float>.Zero;
        Vector512<float> valueLevel = Vector512<float>.Zero;
        Vector512<float> levelLevel = Vector512<float>.Zero;
        for (int i = 0; i < n; i++)
        {
            Vector512<float> nearest = Levels(Vector512.Create(x[i]), inverses, offsets, top);
            Vector512<float> weighted = Vector512.Create(w[i]) * nearest;
            level += weighted;
            valueLevel += weighted * Vector512.Create(x[i]);
            levelLevel += weighted * nearest;
        }

        Vector512<float> weight = Vector512.Create(totals.Weight);
        Vector512<float> value = Vector512.Create(totals.Value);
        Vector512<float> largest = weight * levelLevel;
        Vector512<float> determinant = largest - (level * level);
        Vector512<float> scale = ((weight * valueLevel) - (value * level)) / determinant;
        Vector512<float> intercept = ((levelLevel * value) - (level * valueLevel)) / determinant;
        Vector512<float> gains = (scale * valueLevel) + (intercept * value);
        if (isBelowZero)
        {
            Vector512<float> throughZero = valueLevel * valueLevel / levelLevel;
            gains = Vector512.ConditionalSelect(Vector512.GreaterThan(intercept, Vector512<float>.Zero), throughZero, gains);
        }

        Vector512<float> isLine = Vector512.GreaterThan(determinant, largest * (float)SingleLevel);
        return Vector512.ConditionalSelect(isLine, gains, Vector512.Create(float.NegativeInfinity));
    }

    // The first lane with the largest number; NaN never wins.
    private static int LargestLane(Vector512<float> numbers)
    {
        float* lanes = stackalloc float[Lanes];
        numbers.Store(lanes);
        int largest = 0;
        for (int lane = 1; lane < Lanes; lane++)
        {
            largest = lanes[lane] > lanes[largest] || float.IsNaN(lanes[largest]) ? lane : largest;
        }

        return largest;
    }

    private static float Lowest(Vector512<float> lanes)
    {
        Vector256<float> eight = Vector256.MinNative(lanes.GetLower(), lanes.GetUpper());
        Vector128<float> four = Vector128.MinNative(eight.GetLower(), eight.GetUpper());
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
