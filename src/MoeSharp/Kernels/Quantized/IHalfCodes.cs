using MoeSharp.Kernels.Formats;

namespace MoeSharp.Kernels.Quantized;

/// <summary>A format whose weights are d * s * (code - zero) - dmin * m, with a whole s (and m) for each half of a unit and halves d (and dmin) for 256 columns.</summary>
/// <remarks>
/// Strips look as those of <see cref="IUnitCodes"/>. The scales of 256 columns are sixteen d, sixteen dmin if there are minima, then per unit 32 bytes
/// of s, per row that of the first half and that of the second, and as many of m.
/// </remarks>
internal unsafe interface IHalfCodes
{
    static abstract WeightFormat Format { get; }

    /// <summary>Bound on the codes: small (below 8, so that a half fits 16 bits) or medium.</summary>
    static abstract CodeSize Size { get; }

    /// <summary>The code that stands for 0 is two to this power; 0 means that it is 0.</summary>
    static abstract int ZeroBits { get; }

    static abstract bool HasMinimum { get; }

    /// <summary>As <see cref="StripLayout.TakesRest"/>.</summary>
    static abstract bool TakesRest { get; }

    /// <summary>Bytes of a unit's codes, sixteen rows.</summary>
    static abstract int UnitBytes { get; }

    /// <summary>Codes of the four column groups of a half (0 or 1).</summary>
    static abstract void Half<L, V, F>(byte* unit, int half, out V c0, out V c1, out V c2, out V c3)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged;

    /// <summary>Stores one block of one row.</summary>
    /// <param name="block">The block as the file has it.</param>
    /// <param name="scales">Scales of these 256 columns.</param>
    /// <param name="codes">Codes of these 256 columns.</param>
    /// <param name="lane">Row of the strip.</param>
    static abstract void Pack(byte* block, byte* scales, byte* codes, int lane);

    /// <summary>The opposite of <see cref="Pack"/>.</summary>
    static abstract void Unpack(byte* block, byte* scales, byte* codes, int lane);
}
