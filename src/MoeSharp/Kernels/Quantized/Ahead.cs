using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace MoeSharp.Kernels.Quantized;

/// <summary>Asks for the weights of later units, far ahead for the second-level cache and near for the first.</summary>
/// <remarks>
/// A unit is some sixty instructions, so a core looks only a few units ahead by itself and memory comes at half its speed. Measured on a
/// Zen 4 with q4_0, two threads: 21 GB/s without, 31 with one strip at a time, 36 with two; 8 KiB ahead in each strip 41, 16 KiB 45.
/// Both count from the codes: scales stand before all codes, so what counts from the start of a strip runs behind the codes (26 GB/s instead of 40
/// at 4096 columns of q6_k).
/// </remarks>
internal static unsafe class Ahead
{
    /// <summary>Bytes ahead in each strip, for the second-level cache.</summary>
    public const int Far = 16384;

    /// <summary>Bytes ahead in each strip, for the first-level cache.</summary>
    public const int Near = 1024;

    private const int Line = 64;

    /// <summary>Asks for a part of a unit, one of four: the lines of its column groups.</summary>
    /// <remarks>Spread over a unit: all at once they stand in the way of what the unit itself waits for (q8_0: 35 GB/s instead of 40).</remarks>
    /// <param name="unitBytes">Bytes of a unit's codes, at most 512; known to the compiler.</param>
    /// <param name="g">Part.</param>
    /// <param name="far">The unit far ahead.</param>
    /// <param name="near">The codes nearby.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void AskPart(int unitBytes, nint g, byte* far, byte* near)
    {
        if (!Sse.IsSupported)
        {
            return;
        }

        Sse.Prefetch1(far + (g * Line));
        Sse.Prefetch0(near + (g * Line));
        if (unitBytes > 4 * Line)
        {
            Sse.Prefetch1(far + ((g + 4) * Line));
            Sse.Prefetch0(near + ((g + 4) * Line));
        }
    }

    /// <summary>Asks for what a unit's scales add to the lines of its codes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void AskRest(int unitBytes, byte* far)
    {
        if (Sse.IsSupported)
        {
            Sse.Prefetch1(far + unitBytes);
        }
    }
}
