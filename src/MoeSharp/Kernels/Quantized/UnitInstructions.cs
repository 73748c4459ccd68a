using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace MoeSharp.Kernels.Quantized;

/// <summary>Instruction sets that integer products are written for.</summary>
internal enum UnitInstructions
{
    /// <summary>Portable vectors.</summary>
    Portable,

    /// <summary>AVX2.</summary>
    Avx2,

    /// <summary>AVX-512BW.</summary>
    Avx512,

    /// <summary>AVX-VNNI, 256 bits.</summary>
    Vnni,

    /// <summary>The way of <see cref="Vnni"/> in AVX2 instructions; never chosen, for comparisons.</summary>
    VnniSteps,
}

/// <summary>Activation rows times strips: what a product with bytes takes and gives.</summary>
internal unsafe struct StripProduct
{
    /// <summary>First strip.</summary>
    public byte* Strips;

    /// <summary>Distance between strips.</summary>
    public long StripBytes;

    /// <summary>Strips.</summary>
    public int NumStrips;

    /// <summary>The strip that the worker comes to after the last; null for the one behind it in memory.</summary>
    public byte* Next;

    /// <summary>Activations.</summary>
    public ByteRows Rows;

    /// <summary>= outputs of the first row and strip.</summary>
    public float* Y;

    /// <summary>Distance between output rows.</summary>
    public nint StrideY;

    /// <summary>Outputs per row: 16 times the strips, or less if the last strip is short.</summary>
    public int Columns;
}

/// <summary>A product with bytes, written once for all lanes.</summary>
internal interface IStripKernel
{
    /// <summary>Computes it.</summary>
    static abstract void Multiply<L, V, F>(in StripProduct product)
        where L : struct, IUnitLanes<V, F>
        where V : unmanaged
        where F : unmanaged;
}

/// <summary>The choice among <see cref="UnitInstructions"/>.</summary>
internal static class UnitInstruction
{
    /// <summary>The fastest of this machine. 256-bit vpdpbusd does four multiply-adds per byte lane and cycle where 512-bit vpmaddubsw needs two more instructions: 1.5 times as fast on a Zen 5.</summary>
    public static UnitInstructions Best { get; } =
        IsSupported(UnitInstructions.Vnni) ? UnitInstructions.Vnni
        : IsSupported(UnitInstructions.Avx512) ? UnitInstructions.Avx512
        : IsSupported(UnitInstructions.Avx2) ? UnitInstructions.Avx2
        : UnitInstructions.Portable;

    /// <summary>Whether this machine has them.</summary>
    public static bool IsSupported(UnitInstructions instructions) => instructions switch
    {
        UnitInstructions.Vnni => AvxVnni.IsSupported && UnitLanes256<VnniDot>.IsSupported,
        UnitInstructions.Avx512 => UnitLanes512.IsSupported,
        UnitInstructions.Avx2 or UnitInstructions.VnniSteps => UnitLanes256<Avx2Dot>.IsSupported,
        _ => true,
    };

    /// <summary>Computes a product in the lanes of given instructions.</summary>
    public static void Multiply<K>(UnitInstructions instructions, in StripProduct product)
        where K : struct, IStripKernel
    {
        switch (instructions)
        {
            case UnitInstructions.Vnni:
                K.Multiply<UnitLanes256<VnniDot>, Vector256<byte>, Vector256<float>>(product);
                break;
            case UnitInstructions.Avx512:
                K.Multiply<UnitLanes512, Vector512<byte>, Vector512<float>>(product);
                break;
            case UnitInstructions.Avx2:
                K.Multiply<UnitLanes256<Avx2Dot>, Vector256<byte>, Vector256<float>>(product);
                break;
            case UnitInstructions.VnniSteps:
                K.Multiply<UnitLanes256<VnniStepsDot>, Vector256<byte>, Vector256<float>>(product);
                break;
            default:
                K.Multiply<UnitLanes128, Vector128<byte>, Vector128<float>>(product);
                break;
        }
    }
}
