namespace MoeSharp.Kernels;

/// <summary>A small seeded generator of 64-bit integers that gives the same numbers on every platform.</summary>
/// <remarks>The SplitMix64 finaliser over a Weyl sequence (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014). Not for secrets.</remarks>
public struct SplitMix64
{
    internal const ulong Increment = 0x9E3779B97F4A7C15; // odd number nearest 2^64 / golden ratio
    internal const ulong Multiplier1 = 0xBF58476D1CE4E5B9;
    internal const ulong Multiplier2 = 0x94D049BB133111EB;

    private ulong _state;

    /// <summary>Starts the sequence of <paramref name="seed"/>.</summary>
    public SplitMix64(ulong seed) => _state = seed;

    /// <summary>Starts the sequence of a pair, so that one seed serves many independent streams.</summary>
    public SplitMix64(ulong seed, ulong stream) => _state = Mix(seed + Increment) ^ Mix(stream * Increment + 1);

    /// <summary>The next 64 random bits.</summary>
    public ulong Next() => Mix(_state += Increment);

    /// <summary>A number from 0 to <paramref name="bound"/> - 1; the bias is below bound / 2^64.</summary>
    public int Below(int bound)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(bound);
        return (int)Math.BigMul(Next(), (ulong)bound, out _);
    }

    /// <summary>A number from <paramref name="least"/> to <paramref name="most"/>, both included.</summary>
    public int Between(int least, int most) => least + Below(most - least + 1);

    /// <summary>True in <paramref name="percent"/> of a hundred cases.</summary>
    public bool Chance(int percent) => Below(100) < percent;

    /// <summary>Any element of <paramref name="choices"/>.</summary>
    public T Pick<T>(ReadOnlySpan<T> choices) => choices[Below(choices.Length)];

    /// <summary>Puts <paramref name="items"/> into random order.</summary>
    public void Shuffle<T>(Span<T> items)
    {
        for (int last = items.Length - 1; last > 0; last--)
        {
            int other = Below(last + 1);
            (items[last], items[other]) = (items[other], items[last]);
        }
    }

    /// <summary>Scrambles 64 bits: every input bit changes about half of the output bits, and no two inputs give the same output.</summary>
    public static ulong Mix(ulong value)
    {
        value = (value ^ (value >> 30)) * Multiplier1;
        value = (value ^ (value >> 27)) * Multiplier2;
        return value ^ (value >> 31);
    }
}
