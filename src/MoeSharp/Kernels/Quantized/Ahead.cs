using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace MoeSharp.Kernels.Quantized;

/// <summary>Asks for the weights of later units, far ahead for the second-level cache and near for the first.</summary>
/// <remarks>
/// A unit is some sixty instructions, so a core looks only a few units ahead by itself and memory comes at half its speed. Measured on a
/// Zen 4 with q4_0, two threads: 21 GB/s without, 31 with one strip at a time, 36 with two. Distances from 2 to 8 KiB differ little.
/// Both count from the codes: scales stand before all codes, so what counts from the start of a strip runs behind the codes (26 GB/s instead of 40
/// at 4096 columns of q6_k).
/// </remarks>
internal static unsafe class Ahead
{
    /// <summary>Bytes ahead in each strip, for the second-level cache.</summary>
    public const int Far = 8192;

    /// <summary>Bytes ahead in each strip, for the first-level cache.</summary>
    public const int Near = 512;

    private const int Line = 64;

    /// <summary>Asks for one unit and its scales, and for the codes of one unit.</summary>
    /// <param name="unitBytes">Bytes of a unit's codes, at most 512; known to the compiler.</param>
    /// <param name="far">For the second-level cache.</param>
    /// <param name="near">For the first.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Ask(int unitBytes, byte* far, byte* near)
    {
        // One by one: a loop here would be kept by the compiler, and its counting costs as much as the products.
        AskLine(unitBytes, far, near, 0);
        AskLine(unitBytes, far, near, 1);
        AskLine(unitBytes, far, near, 2);
        AskLine(unitBytes, far, near, 3);
        AskLine(unitBytes, far, near, 4);
        AskLine(unitBytes, far, near, 5);
        AskLine(unitBytes, far, near, 6);
        AskLine(unitBytes, far, near, 7);
        AskLine(unitBytes, far, near, 8);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void AskLine(int unitBytes, byte* far, byte* near, int line)
    {
        if (Sse.IsSupported && line * Line <= unitBytes)
        {
            Sse.Prefetch1(far + (line * Line));
        }

        if (Sse.IsSupported && line * Line < unitBytes)
        {
            Sse.Prefetch0(near + (line * Line));
        }
    }
}
