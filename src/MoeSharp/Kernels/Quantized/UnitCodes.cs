using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels.Quantized;

/// <summary>A format put together from its scales and its codes; a block of a file has them in this order.</summary>
/// <typeparam name="S">Scales.</typeparam>
/// <typeparam name="B">Codes.</typeparam>
internal readonly unsafe struct UnitCodes<S, B> : IUnitCodes
    where S : struct, IUnitScales
    where B : struct, IUnitBits
{
    public static CodeSize Size => B.Size;

    public static int ZeroBits
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => S.HasMinimum ? 0 : B.ZeroBits;
    }

    public static bool HasMinimum => S.HasMinimum;

    public static int UnitBytes => B.UnitBytes;

    public static long ScaleBytes(int units) => (long)S.Bytes * (units / S.Units);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair<L, V, F>(byte* unit, nint g, out V c0, out V c1)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged => B.Pair<L, V, F>(unit, g, out c0, out c1);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static F Scale<L, V, F>(byte* scales, nint unit, int row)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged => S.Scale<L, V, F>(scales, unit, row);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static F Minimum<L, V, F>(byte* scales, nint unit, int row)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged => S.Minimum<L, V, F>(scales, unit, row);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pack(byte* block, nint index, byte* scales, byte* codes, int lane)
    {
        S.Store(block, scales + (index * S.Bytes), lane);
        B.Store(block + S.FileBytes, codes + (index * S.Units * UnitBytes), lane);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack(byte* block, nint index, byte* scales, byte* codes, int lane)
    {
        S.Load(block, scales + (index * S.Bytes), lane);
        B.Load(block + S.FileBytes, codes + (index * S.Units * UnitBytes), lane);
    }
}
