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
}
