namespace MoeSharp.Kernels.Quantized;

/// <summary>A format whose weights are scale * (code - zero) - minimum, with one scale per unit of 32 columns.</summary>
/// <remarks>
/// A strip holds the scales of its sixteen rows unit by unit, then the codes unit by unit. In the codes, four neighbouring columns of a
/// row are four neighbouring bytes, and the sixteen rows of such a group of columns stand side by side in 64 bytes.
/// </remarks>
internal unsafe interface IUnitCodes
{
    /// <summary>Bound on the codes as <see cref="Pair"/> gives them.</summary>
    static abstract CodeSize Size { get; }

    /// <summary>The code that stands for 0 is two to this power; 0 means that it is 0.</summary>
    static abstract int ZeroBits { get; }

    static abstract bool HasMinimum { get; }

    /// <summary>Bytes of a unit's codes, sixteen rows.</summary>
    static abstract int UnitBytes { get; }

    /// <summary>Bytes of the scales of so many units, sixteen rows.</summary>
    static abstract long ScaleBytes(int units);

    /// <summary>Codes of column groups g and g + 4, g from 0 to 3.</summary>
    /// <param name="unit">The unit's codes, at the first row wanted.</param>
    /// <param name="g">Group.</param>
    /// <param name="c0">= group g.</param>
    /// <param name="c1">= group g + 4.</param>
    static abstract void Pair<L, V, F>(byte* unit, nint g, out V c0, out V c1)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged;

    /// <summary>Scales of a unit.</summary>
    /// <param name="scales">The strip's scales.</param>
    /// <param name="unit">Unit.</param>
    /// <param name="row">First row wanted.</param>
    static abstract F Scale<L, V, F>(byte* scales, nint unit, int row)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged;

    /// <summary>Minima of a unit; called only if there are any.</summary>
    static abstract F Minimum<L, V, F>(byte* scales, nint unit, int row)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged;

    /// <summary>Stores one block of one row.</summary>
    /// <param name="block">The block as the file has it.</param>
    /// <param name="index">Which block of the row.</param>
    /// <param name="scales">The strip's scales.</param>
    /// <param name="codes">The strip's codes.</param>
    /// <param name="lane">Row of the strip.</param>
    static abstract void Pack(byte* block, nint index, byte* scales, byte* codes, int lane);

    /// <summary>The opposite of <see cref="Pack"/>.</summary>
    static abstract void Unpack(byte* block, nint index, byte* scales, byte* codes, int lane);
}
