namespace MoeSharp.Moe.Routing.Assignment;

/// <summary>Selection by rank without sorting.</summary>
public static class RankSelection
{
    private const int DigitBits = 8;
    private const int NumDigits = 1 << DigitBits;

    /// <summary>The value that stands at a place when values are put in descending order, in time linear in their number.</summary>
    /// <param name="values">Values, overwritten; not numbers are ordered by their bits, above or below all others.</param>
    /// <param name="rank">Place from 1, at most the number of values.</param>
    public static float Largest(Span<float> values, int rank)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(rank, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(rank, values.Length);
        Span<int> counts = stackalloc int[NumDigits];
        uint prefix = 0;
        for (int shift = 32 - DigitBits; shift >= 0; shift -= DigitBits)
        {
            counts.Clear();
            foreach (float value in values)
            {
                counts[(int)(Key(value) >> shift) & (NumDigits - 1)]++;
            }

            int digit = NumDigits - 1;
            while (counts[digit] < rank)
            {
                rank -= counts[digit--];
            }

            prefix |= (uint)digit << shift;
            values = KeepDigit(values, shift, digit);
        }

        return Value(prefix);
    }

    // Moves the values with a digit to the front; without a branch, which would often be guessed wrong.
    private static Span<float> KeepDigit(Span<float> values, int shift, int digit)
    {
        int count = 0;
        for (int index = 0; index < values.Length; index++)
        {
            float value = values[index];
            values[count] = value;
            count += ((int)(Key(value) >> shift) & (NumDigits - 1)) == digit ? 1 : 0;
        }

        return values[..count];
    }

    // Bits whose order as whole numbers is that of the values: negative ones reversed, positive ones above them.
    private static uint Key(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return bits ^ ((uint)((int)bits >> 31) | 0x8000_0000);
    }

    private static float Value(uint key) => BitConverter.UInt32BitsToSingle((key & 0x8000_0000) != 0 ? key & 0x7FFF_FFFF : ~key);
}
