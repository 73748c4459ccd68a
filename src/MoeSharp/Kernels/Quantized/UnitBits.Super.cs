using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels.Quantized;

/// <summary>Nibbles of the eight units of a block, one unit after the other.</summary>
internal readonly unsafe struct EachUnit<B> : IUnitBits
    where B : struct, IUnitBits
{
    private const int Units = 8;
    private const int FileBytes = 16; // nibbles of a unit

    public static CodeSize Size => B.Size;

    public static int ZeroBits => B.ZeroBits;

    public static int UnitBytes => B.UnitBytes;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair<L, V, F>(byte* unit, nint g, out V c0, out V c1)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged => B.Pair<L, V, F>(unit, g, out c0, out c1);

    public static void Store(byte* file, byte* codes, int lane)
    {
        for (int unit = 0; unit < Units; unit++)
        {
            B.Store(file + (unit * FileBytes), codes + (unit * UnitBytes), lane);
        }
    }

    public static void Load(byte* file, byte* codes, int lane)
    {
        for (int unit = 0; unit < Units; unit++)
        {
            B.Load(file + (unit * FileBytes), codes + (unit * UnitBytes), lane);
        }
    }
}

/// <summary>The order of nibbles in blocks of q4_k and q5_k: 32 bytes hold those of two units.</summary>
internal static unsafe class PairedNibbles
{
    /// <summary>Units of a block.</summary>
    public const int Units = 8;

    /// <summary>Stores the nibbles of one block of one row.</summary>
    /// <param name="nibbles">As the file has them.</param>
    /// <param name="unit">The first unit's codes.</param>
    /// <param name="unitBytes">Distance between units.</param>
    /// <param name="lane">Row of the strip.</param>
    public static void Store(byte* nibbles, byte* unit, int unitBytes, int lane)
    {
        byte* both = stackalloc byte[32];
        for (int pair = 0; pair < Units / 2; pair++, nibbles += 32, unit += 2 * unitBytes)
        {
            CodeBits.SplitNibbles(nibbles, both, both + 16);
            CodeBits.StoreNibbles(unit, lane, both);
            CodeBits.StoreNibbles(unit + unitBytes, lane, both + 16);
        }
    }

    /// <summary>The opposite of <see cref="Store"/>.</summary>
    public static void Load(byte* nibbles, byte* unit, int unitBytes, int lane)
    {
        byte* both = stackalloc byte[32];
        for (int pair = 0; pair < Units / 2; pair++, nibbles += 32, unit += 2 * unitBytes)
        {
            CodeBits.LoadNibbles(unit, lane, both);
            CodeBits.LoadNibbles(unit + unitBytes, lane, both + 16);
            CodeBits.JoinNibbles(both, both + 16, nibbles);
        }
    }
}

/// <summary>The nibbles of q4_k.</summary>
internal readonly unsafe struct PairedNibbleBits : IUnitBits
{
    public static CodeSize Size => NibbleBits.Size;

    public static int ZeroBits => NibbleBits.ZeroBits;

    public static int UnitBytes => NibbleBits.UnitBytes;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair<L, V, F>(byte* unit, nint g, out V c0, out V c1)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged => NibbleBits.Pair<L, V, F>(unit, g, out c0, out c1);

    public static void Store(byte* file, byte* codes, int lane) => PairedNibbles.Store(file, codes, UnitBytes, lane);

    public static void Load(byte* file, byte* codes, int lane) => PairedNibbles.Load(file, codes, UnitBytes, lane);
}

/// <summary>The five bits of q5_k: a column of fifth bits per unit, then the nibbles.</summary>
internal readonly unsafe struct PairedFiveBits : IUnitBits
{
    private const int FifthBytes = 32; // of a block of a file

    public static CodeSize Size => FiveBits.Size;

    public static int ZeroBits => FiveBits.ZeroBits;

    public static int UnitBytes => FiveBits.UnitBytes;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair<L, V, F>(byte* unit, nint g, out V c0, out V c1)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged => FiveBits.Pair<L, V, F>(unit, g, out c0, out c1);

    public static void Store(byte* file, byte* codes, int lane)
    {
        PairedNibbles.Store(file + FifthBytes, codes, UnitBytes, lane);
        for (int unit = 0; unit < PairedNibbles.Units; unit++)
        {
            CodeBits.StoreFifthBits(codes + (unit * UnitBytes), lane, CodeBits.Column(file, unit));
        }
    }

    public static void Load(byte* file, byte* codes, int lane)
    {
        new Span<byte>(file, FifthBytes).Clear();
        PairedNibbles.Load(file + FifthBytes, codes, UnitBytes, lane);
        for (int unit = 0; unit < PairedNibbles.Units; unit++)
        {
            CodeBits.OrColumn(file, unit, CodeBits.LoadFifthBits(codes + (unit * UnitBytes), lane));
        }
    }
}
