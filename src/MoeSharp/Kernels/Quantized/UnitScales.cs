using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels.Quantized;

/// <summary>How the scales of a format lie in a strip and in its blocks in files, where they come first.</summary>
internal unsafe interface IUnitScales
{
    /// <summary>Units of a block.</summary>
    static abstract int Units { get; }

    /// <summary>Whether units have minima too.</summary>
    static abstract bool HasMinimum { get; }

    /// <summary>Bytes of a block's scales in a strip, sixteen rows.</summary>
    static abstract int Bytes { get; }

    /// <summary>Bytes of a block's scales in a file, one row.</summary>
    static abstract int FileBytes { get; }

    /// <summary>Scales of a unit.</summary>
    /// <param name="scales">The strip's scales.</param>
    /// <param name="unit">Unit.</param>
    /// <param name="row">First row wanted.</param>
    static abstract F Scale<L, V, F>(byte* scales, nint unit, int row)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged;

    /// <summary>Minima of a unit; called only if there are any.</summary>
    static virtual F Minimum<L, V, F>(byte* scales, nint unit, int row)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged => L.ZeroFloats;

    /// <summary>Stores the scales of one block of one row.</summary>
    /// <param name="block">The block as the file has it.</param>
    /// <param name="target">The block's scales in the strip.</param>
    /// <param name="lane">Row of the strip.</param>
    static abstract void Store(byte* block, byte* target, int lane);

    /// <summary>The opposite of <see cref="Store"/>.</summary>
    static abstract void Load(byte* block, byte* source, int lane);
}

/// <summary>A half per unit.</summary>
internal readonly unsafe struct HalfScale : IUnitScales
{
    public static int Units => 1;

    public static bool HasMinimum => false;

    public static int Bytes => 2 * StripLayout.Rows;

    public static int FileBytes => 2;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static F Scale<L, V, F>(byte* scales, nint unit, int row)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged => L.LoadHalves(scales + (unit * Bytes) + (2 * row));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(byte* block, byte* target, int lane) => ((ushort*)target)[lane] = *(ushort*)block;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Load(byte* block, byte* source, int lane) => *(ushort*)block = ((ushort*)source)[lane];
}

/// <summary>Two halves per unit: scale and minimum.</summary>
internal readonly unsafe struct HalfScaleAndMinimum : IUnitScales
{
    private const ushort SignBit = 0x8000; // the file adds its minimum, the kernel subtracts

    public static int Units => 1;

    public static bool HasMinimum => true;

    public static int Bytes => 4 * StripLayout.Rows;

    public static int FileBytes => 4;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static F Scale<L, V, F>(byte* scales, nint unit, int row)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged => L.LoadHalves(scales + (unit * Bytes) + (2 * row));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static F Minimum<L, V, F>(byte* scales, nint unit, int row)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged => L.LoadHalves(scales + (unit * Bytes) + (2 * StripLayout.Rows) + (2 * row));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(byte* block, byte* target, int lane)
    {
        ((ushort*)target)[lane] = *(ushort*)block;
        ((ushort*)target)[StripLayout.Rows + lane] = (ushort)(*(ushort*)(block + 2) ^ SignBit);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Load(byte* block, byte* source, int lane)
    {
        *(ushort*)block = ((ushort*)source)[lane];
        *(ushort*)(block + 2) = (ushort)(((ushort*)source)[StripLayout.Rows + lane] ^ SignBit);
    }
}

/// <summary>Half of a power of two per unit, as its exponent.</summary>
internal readonly unsafe struct PowerScale : IUnitScales
{
    public static int Units => 1;

    public static bool HasMinimum => false;

    public static int Bytes => StripLayout.Rows;

    public static int FileBytes => 1;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static F Scale<L, V, F>(byte* scales, nint unit, int row)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged => L.LoadHalfPowers(scales + (unit * Bytes) + row);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(byte* block, byte* target, int lane) => target[lane] = block[0];

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Load(byte* block, byte* source, int lane) => block[0] = source[lane];
}
