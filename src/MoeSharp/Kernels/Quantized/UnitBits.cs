using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace MoeSharp.Kernels.Quantized;

/// <summary>How the codes of a format lie in a strip and in its blocks in files, where they come after the scales.</summary>
internal unsafe interface IUnitBits
{
    /// <summary>Bound on the codes as <see cref="Pair"/> gives them.</summary>
    static abstract CodeSize Size { get; }

    /// <summary>In a format without minima, the code that stands for 0 is two to this power.</summary>
    static abstract int ZeroBits { get; }

    /// <summary>Bytes of a unit's codes in a strip, sixteen rows.</summary>
    static abstract int UnitBytes { get; }

    /// <summary>Codes of column groups g and g + 4, g from 0 to 3.</summary>
    /// <param name="unit">The unit's codes, at the first row wanted.</param>
    /// <param name="g">Group.</param>
    /// <param name="c0">= group g.</param>
    /// <param name="c1">= group g + 4.</param>
    static abstract void Pair<L, V, F>(byte* unit, nint g, out V c0, out V c1)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged;

    /// <summary>Stores the codes of one block of one row.</summary>
    /// <param name="file">The block's codes as the file has them.</param>
    /// <param name="codes">Codes of the block's first unit in the strip.</param>
    /// <param name="lane">Row of the strip.</param>
    static abstract void Store(byte* file, byte* codes, int lane);

    /// <summary>The opposite of <see cref="Store"/>.</summary>
    static abstract void Load(byte* file, byte* codes, int lane);
}

/// <summary>Nibbles around 8.</summary>
internal readonly unsafe struct NibbleBits : IUnitBits
{
    public static CodeSize Size => CodeSize.Small;

    public static int ZeroBits => 3;

    public static int UnitBytes => CodeBits.NibbleBytes;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair<L, V, F>(byte* unit, nint g, out V c0, out V c1)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged => CodeBits.Nibbles<L, V, F>(unit, g, out c0, out c1);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(byte* file, byte* codes, int lane) => CodeBits.StoreNibbles(codes, lane, file);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Load(byte* file, byte* codes, int lane) => CodeBits.LoadNibbles(codes, lane, file);
}

/// <summary>Five bits around 16: the fifth ones first, then the nibbles.</summary>
internal readonly unsafe struct FiveBits : IUnitBits
{
    public static CodeSize Size => CodeSize.Medium;

    public static int ZeroBits => 4;

    public static int UnitBytes => CodeBits.NibbleBytes + CodeBits.Vector;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair<L, V, F>(byte* unit, nint g, out V c0, out V c1)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged => CodeBits.FiveBits<L, V, F>(unit, g, out c0, out c1);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(byte* file, byte* codes, int lane)
    {
        CodeBits.StoreFifthBits(codes, lane, *(uint*)file);
        CodeBits.StoreNibbles(codes, lane, file + sizeof(uint));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Load(byte* file, byte* codes, int lane)
    {
        *(uint*)file = CodeBits.LoadFifthBits(codes, lane);
        CodeBits.LoadNibbles(codes, lane, file + sizeof(uint));
    }
}

/// <summary>Bytes, stored plus 128.</summary>
internal readonly unsafe struct ByteBits : IUnitBits
{
    private const uint SignBits = 0x80808080;

    public static CodeSize Size => CodeSize.Wide;

    public static int ZeroBits => 7;

    public static int UnitBytes => 8 * CodeBits.Vector;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair<L, V, F>(byte* unit, nint g, out V c0, out V c1)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged
    {
        c0 = L.Load(unit + (g * CodeBits.Vector));
        c1 = L.Load(unit + ((g + 4) * CodeBits.Vector));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(byte* file, byte* codes, int lane)
    {
        for (int g = 0; g < 8; g++)
        {
            *(uint*)(codes + (4 * lane) + (g * CodeBits.Vector)) = *(uint*)(file + (4 * g)) ^ SignBits;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Load(byte* file, byte* codes, int lane)
    {
        for (int g = 0; g < 8; g++)
        {
            *(uint*)(file + (4 * g)) = *(uint*)(codes + (4 * lane) + (g * CodeBits.Vector)) ^ SignBits;
        }
    }
}

/// <summary>The numbers that nibbles choose from.</summary>
internal interface INibbleLadder
{
    /// <summary>The numbers of the sixteen nibbles plus a constant, so that none is negative.</summary>
    static abstract Vector128<byte> Numbers { get; }

    /// <summary>How large a number can be.</summary>
    static abstract CodeSize Size { get; }

    /// <summary>log2 of the constant.</summary>
    static abstract int ZeroBits { get; }
}

/// <summary>The uneven steps of iq4_nl and iq4_xs.</summary>
internal readonly struct UnevenLadder : INibbleLadder
{
    public static Vector128<byte> Numbers
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => Vector128.Create((byte)1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241);
    }

    public static CodeSize Size => CodeSize.Wide;

    public static int ZeroBits => 7;
}

/// <summary>Floats of 4 bits, doubled to be whole.</summary>
internal readonly struct FloatLadder : INibbleLadder
{
    public static Vector128<byte> Numbers
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => Vector128.Create((byte)16, 17, 18, 19, 20, 22, 24, 28, 16, 15, 14, 13, 12, 10, 8, 4);
    }

    public static CodeSize Size => CodeSize.Medium;

    public static int ZeroBits => 4;
}

/// <summary>Nibbles that choose from a ladder.</summary>
internal readonly unsafe struct LadderBits<T> : IUnitBits
    where T : struct, INibbleLadder
{
    public static CodeSize Size => T.Size;

    public static int ZeroBits => T.ZeroBits;

    public static int UnitBytes => CodeBits.NibbleBytes;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair<L, V, F>(byte* unit, nint g, out V c0, out V c1)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged
    {
        CodeBits.Nibbles<L, V, F>(unit, g, out V n0, out V n1);
        c0 = L.Lookup(T.Numbers, n0);
        c1 = L.Lookup(T.Numbers, n1);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(byte* file, byte* codes, int lane) => CodeBits.StoreNibbles(codes, lane, file);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Load(byte* file, byte* codes, int lane) => CodeBits.LoadNibbles(codes, lane, file);
}
