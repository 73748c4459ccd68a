using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace MoeSharp.Kernels.Quantized;

/// <summary>Asks for the weights of later units, far ahead for the second-level cache and near for the first.</summary>
/// <remarks>
/// A unit is some sixty instructions, so a core looks only a few units ahead by itself and memory comes at half its speed. Measured on a
/// Zen 4 with q4_0, two threads: 21 GB/s without, 31 with one strip at a time, 36 with two. Distances from 2 to 8 KiB differ little.
/// </remarks>
internal static unsafe class UnitAhead
{
    /// <summary>Bytes ahead in each strip, for the second-level cache.</summary>
    public const int Far = 8192;

    private const int Near = 512;
    private const int Line = 64;

    /// <summary>Asks for one unit of one or two strips. The strip after a pair's first is its second, so the way ahead of both jumps over a strip.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Ask(int unitBytes, bool areTwo, byte* strip0, byte* strip1, byte* codes0, byte* codes1, nint ahead, nint stripBytes)
    {
        if (!Sse.IsSupported)
        {
            return;
        }

        ahead += areTwo && ahead >= stripBytes ? stripBytes : 0;
        for (int at = 0; at <= unitBytes; at += Line)
        {
            Sse.Prefetch1(strip0 + ahead + at);
            if (areTwo)
            {
                Sse.Prefetch1(strip1 + ahead + at);
            }
        }

        for (int at = 0; at < unitBytes; at += Line)
        {
            Sse.Prefetch0(codes0 + Near + at);
            if (areTwo)
            {
                Sse.Prefetch0(codes1 + Near + at);
            }
        }
    }
}
