using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace MoeSharp.Kernels.Formats;

/// <summary>The numbers that a format can multiply its scale by, on both sides of zero.</summary>
internal interface ILevels
{
    /// <summary>Most negative level.</summary>
    static abstract float Lowest { get; }

    /// <summary>Largest level.</summary>
    static abstract float Highest { get; }

    /// <summary>Distance of neighbouring levels near the ends.</summary>
    static abstract float Spacing { get; }

    /// <summary>The level nearest to each number.</summary>
    static abstract Vector512<float> Nearest(Vector512<float> numbers);

    /// <summary>The stored code of the nearest level.</summary>
    static abstract Vector512<int> Codes(Vector512<float> numbers);
}

/// <summary>Consecutive integers from -2^(bits - 1); codes count from the lowest.</summary>
internal static class IntegerLevels
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Nearest(Vector512<float> numbers, float lowest, float highest) =>
        Vector512.MinNative(Vector512.MaxNative(Vector512.Round(numbers), Vector512.Create(lowest)), Vector512.Create(highest));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Codes(Vector512<float> numbers, float lowest, float highest) => Vector512.ConvertToInt32Native(Nearest(numbers, lowest, highest) - Vector512.Create(lowest));
}

/// <summary>-4 to 3.</summary>
internal readonly struct ThreeBits : ILevels
{
    public static float Lowest => -4;

    public static float Highest => 3;

    public static float Spacing => 1;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Nearest(Vector512<float> numbers) => IntegerLevels.Nearest(numbers, -4, 3);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Codes(Vector512<float> numbers) => IntegerLevels.Codes(numbers, -4, 3);
}

/// <summary>-8 to 7.</summary>
internal readonly struct FourBits : ILevels
{
    public static float Lowest => -8;

    public static float Highest => 7;

    public static float Spacing => 1;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Nearest(Vector512<float> numbers) => IntegerLevels.Nearest(numbers, -8, 7);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Codes(Vector512<float> numbers) => IntegerLevels.Codes(numbers, -8, 7);
}

/// <summary>-16 to 15.</summary>
internal readonly struct FiveBits : ILevels
{
    public static float Lowest => -16;

    public static float Highest => 15;

    public static float Spacing => 1;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Nearest(Vector512<float> numbers) => IntegerLevels.Nearest(numbers, -16, 15);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Codes(Vector512<float> numbers) => IntegerLevels.Codes(numbers, -16, 15);
}

/// <summary>-32 to 31.</summary>
internal readonly struct SixBits : ILevels
{
    public static float Lowest => -32;

    public static float Highest => 31;

    public static float Spacing => 1;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Nearest(Vector512<float> numbers) => IntegerLevels.Nearest(numbers, -32, 31);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Codes(Vector512<float> numbers) => IntegerLevels.Codes(numbers, -32, 31);
}

/// <summary>The uneven ladder of the IQ4 formats.</summary>
internal readonly struct LadderLevels : ILevels
{
    private const int Steps = 15;

    public static float Lowest => -127;

    public static float Highest => 113;

    public static float Spacing => 22;

    // Midpoints between neighbours, and what a level is above the one below.
    private static ReadOnlySpan<float> Midpoints => [-115.5f, -93.5f, -74f, -57f, -42f, -28.5f, -16f, -4.5f, 7f, 19f, 31.5f, 45.5f, 61f, 79f, 101f];

    private static ReadOnlySpan<float> Rises => [23, 21, 18, 16, 14, 13, 12, 11, 12, 12, 13, 15, 16, 20, 24];

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Nearest(Vector512<float> numbers)
    {
        Vector512<float> level = Vector512.Create(-127f);
        for (int step = 0; step < Steps; step++)
        {
            level += (Vector512.GreaterThan(numbers, Vector512.Create(Midpoints[step])).AsInt32() & Vector512.Create(Rises[step]).AsInt32()).AsSingle();
        }

        return level;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Codes(Vector512<float> numbers)
    {
        Vector512<int> codes = Vector512<int>.Zero;
        for (int step = 0; step < Steps; step++)
        {
            codes -= Vector512.GreaterThan(numbers, Vector512.Create(Midpoints[step])).AsInt32(); // true is -1
        }

        return codes;
    }
}

/// <summary>Twice the 4-bit floats: 0, 1, 2, 3, 4, 6, 8, 12 and their negatives.</summary>
internal readonly struct Float4Levels : ILevels
{
    private const int Steps = 7;
    private const int Sign = 8;

    public static float Lowest => -12;

    public static float Highest => 12;

    public static float Spacing => 4;

    private static ReadOnlySpan<float> Midpoints => [0.5f, 1.5f, 2.5f, 3.5f, 5f, 7f, 10f];

    private static ReadOnlySpan<float> Rises => [1, 1, 1, 1, 2, 2, 4];

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Nearest(Vector512<float> numbers)
    {
        Vector512<float> size = Vector512.Abs(numbers);
        Vector512<float> level = Vector512<float>.Zero;
        for (int step = 0; step < Steps; step++)
        {
            level += (Vector512.GreaterThan(size, Vector512.Create(Midpoints[step])).AsInt32() & Vector512.Create(Rises[step]).AsInt32()).AsSingle();
        }

        return Vector512.CopySign(level, numbers);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Codes(Vector512<float> numbers)
    {
        Vector512<float> size = Vector512.Abs(numbers);
        Vector512<int> codes = Vector512<int>.Zero;
        for (int step = 0; step < Steps; step++)
        {
            codes -= Vector512.GreaterThan(size, Vector512.Create(Midpoints[step])).AsInt32();
        }

        // Zero has no sign here.
        return codes | (Vector512.LessThan(numbers, Vector512.Create(-Midpoints[0])).AsInt32() & Vector512.Create(Sign));
    }
}
