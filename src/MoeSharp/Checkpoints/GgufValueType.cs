namespace MoeSharp.Checkpoints;

/// <summary>Types of metadata values, numbered as in the file.</summary>
public enum GgufValueType
{
    /// <summary>Unsigned byte.</summary>
    UInt8,

    /// <summary>Signed byte.</summary>
    Int8,

    /// <summary>Unsigned 16-bit integer.</summary>
    UInt16,

    /// <summary>Signed 16-bit integer.</summary>
    Int16,

    /// <summary>Unsigned 32-bit integer.</summary>
    UInt32,

    /// <summary>Signed 32-bit integer.</summary>
    Int32,

    /// <summary>IEEE single precision.</summary>
    Float32,

    /// <summary>One byte, 0 or 1.</summary>
    Bool,

    /// <summary>64-bit length and UTF-8 bytes.</summary>
    String,

    /// <summary>Element type, 64-bit count and elements.</summary>
    Array,

    /// <summary>Unsigned 64-bit integer.</summary>
    UInt64,

    /// <summary>Signed 64-bit integer.</summary>
    Int64,

    /// <summary>IEEE double precision.</summary>
    Float64,
}

/// <summary>Names and widths of the metadata types.</summary>
public static class GgufValueTypes
{
    // In the order of the enum; 0 bytes: the length varies.
    private static readonly (string Name, int Bytes)[] s_table =
    [
        ("u8", 1), ("i8", 1), ("u16", 2), ("i16", 2), ("u32", 4), ("i32", 4), ("f32", 4), ("bool", 1), ("string", 0), ("array", 0), ("u64", 8), ("i64", 8), ("f64", 8),
    ];

    /// <summary>Number of types.</summary>
    internal static int Count => s_table.Length;

    /// <summary>Short name.</summary>
    public static string Name(this GgufValueType type) => s_table[(int)type].Name;

    /// <summary>Whether values are whole numbers.</summary>
    public static bool IsInteger(this GgufValueType type) =>
        type is GgufValueType.UInt8 or GgufValueType.Int8 or GgufValueType.UInt16 or GgufValueType.Int16 or GgufValueType.UInt32 or GgufValueType.Int32 or GgufValueType.UInt64 or GgufValueType.Int64;

    /// <summary>Bytes of one value; 0 for texts and arrays.</summary>
    internal static int Bytes(this GgufValueType type) => s_table[(int)type].Bytes;
}
