using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace MoeSharp.Kernels;

/// <summary>Loops that keep the multiply-add units of a core busy from registers alone, in the instructions that the kernels use here.</summary>
internal static class InstructionChains
{
    /// <summary>Independent multiply-adds: more than latency times units of any core we know, fewer than 16 registers.</summary>
    public const int Count = 12;

    /// <summary>Float32 multiply-adds of one instruction.</summary>
    public static int FloatLanes => Vector512.IsHardwareAccelerated ? 16 : Vector256.IsHardwareAccelerated ? 8 : Vector128.IsHardwareAccelerated ? 4 : 1;

    /// <summary>Products of bytes of one instruction: vpdpbusd of 256 bits, or vpmaddubsw of 512 or 256; without either, multiply-adds of one float.</summary>
    public static int ByteLanes => AvxVnni.IsSupported ? 32 : Avx512BW.IsSupported ? 64 : Avx2.IsSupported ? 32 : 1;

    /// <summary>Runs <see cref="Count"/> times <paramref name="steps"/> multiply-adds of floats; the result only keeps the loop alive.</summary>
    public static float RunFloats(int steps) =>
        Vector512.IsHardwareAccelerated ? Run<Floats<Lanes512, Vector512<float>>, Vector512<float>>(steps)
        : Vector256.IsHardwareAccelerated ? Run<Floats<Lanes256, Vector256<float>>, Vector256<float>>(steps)
        : Vector128.IsHardwareAccelerated ? Run<Floats<Lanes128, Vector128<float>>, Vector128<float>>(steps)
        : Run<Floats<Lanes1, float>, float>(steps);

    /// <summary>As <see cref="RunFloats"/> for products of bytes.</summary>
    public static float RunBytes(int steps) =>
        AvxVnni.IsSupported ? Run<BytesVnni, Vector256<int>>(steps)
        : Avx512BW.IsSupported ? Run<Bytes512, Vector512<short>>(steps)
        : Avx2.IsSupported ? Run<Bytes256, Vector256<short>>(steps)
        : Run<Floats<Lanes1, float>, float>(steps);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Run<C, V>(int steps)
        where C : struct, IChain<V>
        where V : unmanaged
    {
        V m = C.Factor, s = C.Start;
        V x0 = s, x1 = s, x2 = s, x3 = s, x4 = s, x5 = s, x6 = s, x7 = s, x8 = s, x9 = s, x10 = s, x11 = s;
        for (int step = 0; step < steps; step++)
        {
            x0 = C.Step(x0, m, s);
            x1 = C.Step(x1, m, s);
            x2 = C.Step(x2, m, s);
            x3 = C.Step(x3, m, s);
            x4 = C.Step(x4, m, s);
            x5 = C.Step(x5, m, s);
            x6 = C.Step(x6, m, s);
            x7 = C.Step(x7, m, s);
            x8 = C.Step(x8, m, s);
            x9 = C.Step(x9, m, s);
            x10 = C.Step(x10, m, s);
            x11 = C.Step(x11, m, s);
        }

        return C.Sum(x0) + C.Sum(x1) + C.Sum(x2) + C.Sum(x3) + C.Sum(x4) + C.Sum(x5) + C.Sum(x6) + C.Sum(x7) + C.Sum(x8) + C.Sum(x9) + C.Sum(x10) + C.Sum(x11);
    }

    /// <summary>One instruction that feeds itself.</summary>
    private interface IChain<V>
        where V : unmanaged
    {
        static abstract V Factor { get; }

        static abstract V Start { get; }

        static abstract V Step(V x, V factor, V start);

        static abstract float Sum(V x);
    }

    // x = x * 0.999 + 0.5 converges, so no number overflows or becomes subnormal, which would slow the unit down.
    private const float Shrink = 0.999f;
    private const float Shift = 0.5f;

    private readonly struct Floats<L, V> : IChain<V>
        where L : struct, ILanes<V>
        where V : unmanaged
    {
        public static V Factor => L.Broadcast(Shrink);

        public static V Start => L.Broadcast(Shift);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Step(V x, V factor, V start) => L.MultiplyAdd(x, factor, start);

        public static float Sum(V x) => L.Sum(x);
    }

    private readonly struct BytesVnni : IChain<Vector256<int>>
    {
        public static Vector256<int> Factor => Vector256.Create((sbyte)1).AsInt32();

        public static Vector256<int> Start => Factor;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector256<int> Step(Vector256<int> x, Vector256<int> factor, Vector256<int> start) => AvxVnni.MultiplyWideningAndAdd(x, start.AsByte(), factor.AsSByte());

        public static float Sum(Vector256<int> x) => Vector256.Sum(x);
    }

    private readonly struct Bytes512 : IChain<Vector512<short>>
    {
        public static Vector512<short> Factor => Vector512.Create((sbyte)1).AsInt16();

        public static Vector512<short> Start => Vector512.Create((short)1);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector512<short> Step(Vector512<short> x, Vector512<short> factor, Vector512<short> start) => Avx512BW.MultiplyAddAdjacent(x.AsByte(), factor.AsSByte());

        public static float Sum(Vector512<short> x) => Vector512.Sum(x);
    }

    private readonly struct Bytes256 : IChain<Vector256<short>>
    {
        public static Vector256<short> Factor => Vector256.Create((sbyte)1).AsInt16();

        public static Vector256<short> Start => Vector256.Create((short)1);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector256<short> Step(Vector256<short> x, Vector256<short> factor, Vector256<short> start) => Avx2.MultiplyAddAdjacent(x.AsByte(), factor.AsSByte());

        public static float Sum(Vector256<short> x) => Vector256.Sum(x);
    }
}
