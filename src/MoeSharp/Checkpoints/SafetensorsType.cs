using MoeSharp.Kernels.Formats;

namespace MoeSharp.Checkpoints;

/// <summary>Number formats that a safetensors file may name.</summary>
public enum SafetensorsType
{
    /// <summary>One byte, 0 or 1.</summary>
    Bool,

    /// <summary>4-bit float.</summary>
    F4,

    /// <summary>6-bit float, 2 exponent bits.</summary>
    F6E2M3,

    /// <summary>6-bit float, 3 exponent bits.</summary>
    F6E3M2,

    /// <summary>Unsigned byte.</summary>
    U8,

    /// <summary>Signed byte.</summary>
    I8,

    /// <summary>8-bit float, 5 exponent bits.</summary>
    F8E5M2,

    /// <summary>8-bit float, 4 exponent bits.</summary>
    F8E4M3,

    /// <summary>8-bit power of two.</summary>
    F8E8M0,

    /// <summary>8-bit float, 4 exponent bits, no negative zero.</summary>
    F8E4M3Fnuz,

    /// <summary>8-bit float, 5 exponent bits, no negative zero.</summary>
    F8E5M2Fnuz,

    /// <summary>Signed 16-bit integer.</summary>
    I16,

    /// <summary>Unsigned 16-bit integer.</summary>
    U16,

    /// <summary>IEEE half precision.</summary>
    F16,

    /// <summary>Upper half of a float32.</summary>
    BF16,

    /// <summary>Signed 32-bit integer.</summary>
    I32,

    /// <summary>Unsigned 32-bit integer.</summary>
    U32,

    /// <summary>IEEE single precision.</summary>
    F32,

    /// <summary>Two float32: a complex number.</summary>
    C64,

    /// <summary>IEEE double precision.</summary>
    F64,

    /// <summary>Signed 64-bit integer.</summary>
    I64,

    /// <summary>Unsigned 64-bit integer.</summary>
    U64,
}

/// <summary>Names and widths of the number formats.</summary>
public static class SafetensorsTypes
{
    // In the order of the enum.
    private static readonly (string Name, int Bits)[] s_table =
    [
        ("BOOL", 8), ("F4", 4), ("F6_E2M3", 6), ("F6_E3M2", 6), ("U8", 8), ("I8", 8), ("F8_E5M2", 8), ("F8_E4M3", 8), ("F8_E8M0", 8),
        ("F8_E4M3FNUZ", 8), ("F8_E5M2FNUZ", 8), ("I16", 16), ("U16", 16), ("F16", 16), ("BF16", 16), ("I32", 32), ("U32", 32), ("F32", 32),
        ("C64", 64), ("F64", 64), ("I64", 64), ("U64", 64),
    ];

    /// <summary>Name in the file.</summary>
    public static string Name(this SafetensorsType type) => s_table[(int)type].Name;

    /// <summary>Bits of one element.</summary>
    public static int Bits(this SafetensorsType type) => s_table[(int)type].Bits;

    /// <summary>The same format among those of weights, or null when it is not a float that is read.</summary>
    public static WeightFormat? Format(this SafetensorsType type) => type switch
    {
        SafetensorsType.F32 => WeightFormat.F32,
        SafetensorsType.BF16 => WeightFormat.BF16,
        SafetensorsType.F16 => WeightFormat.F16,
        SafetensorsType.F64 => WeightFormat.F64,
        SafetensorsType.F8E4M3 => WeightFormat.F8E4M3,
        SafetensorsType.F8E5M2 => WeightFormat.F8E5M2,
        SafetensorsType.F8E8M0 => WeightFormat.F8E8M0,
        _ => null,
    };

    /// <summary>The format with a name, or null.</summary>
    public static SafetensorsType? Find(string name)
    {
        int index = Array.FindIndex(s_table, row => row.Name == name);
        return index >= 0 ? (SafetensorsType)index : null;
    }
}
