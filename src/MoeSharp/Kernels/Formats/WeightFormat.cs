namespace MoeSharp.Kernels.Formats;

/// <summary>How weights are stored: plain numbers, or blocks of small integers that share scales.</summary>
public enum WeightFormat
{
    /// <summary>IEEE single precision.</summary>
    F32,

    /// <summary>IEEE half precision.</summary>
    F16,

    /// <summary>Upper half of a float32.</summary>
    BF16,

    /// <summary>32 values: 8-bit integers, one scale.</summary>
    Q8_0,

    /// <summary>32 values: 4-bit integers around 8, one scale.</summary>
    Q4_0,

    /// <summary>32 values: 4-bit integers, scale and minimum.</summary>
    Q4_1,

    /// <summary>32 values: 5-bit integers around 16, one scale.</summary>
    Q5_0,

    /// <summary>32 values: 5-bit integers, scale and minimum.</summary>
    Q5_1,

    /// <summary>256 values: 2-bit integers; 16 groups with 4-bit scales and minima.</summary>
    Q2K,

    /// <summary>256 values: 3-bit integers; 16 groups with 6-bit scales.</summary>
    Q3K,

    /// <summary>256 values: 4-bit integers; 8 groups with 6-bit scales and minima.</summary>
    Q4K,

    /// <summary>256 values: 5-bit integers; 8 groups with 6-bit scales and minima.</summary>
    Q5K,

    /// <summary>256 values: 6-bit integers; 16 groups with 8-bit scales.</summary>
    Q6K,

    /// <summary>256 values: 8-bit integers, one float32 scale.</summary>
    Q8K,

    /// <summary>32 values: 4-bit numbers of an uneven ladder, one scale.</summary>
    IQ4NL,

    /// <summary>256 values: 4-bit numbers of an uneven ladder; 8 groups with 6-bit scales.</summary>
    IQ4XS,

    /// <summary>32 values: 4-bit floats, one power of two.</summary>
    MXFP4,

    /// <summary>IEEE double precision.</summary>
    F64,

    /// <summary>8-bit float, 4 exponent bits, no infinities.</summary>
    F8E4M3,

    /// <summary>8-bit float, 5 exponent bits.</summary>
    F8E5M2,

    /// <summary>8-bit power of two.</summary>
    F8E8M0,

    /// <summary>Signed byte.</summary>
    I8,

    /// <summary>Signed 16-bit integer.</summary>
    I16,

    /// <summary>Signed 32-bit integer.</summary>
    I32,

    /// <summary>Signed 64-bit integer.</summary>
    I64,
}

/// <summary>Names, numbers and sizes of the weight formats.</summary>
public static class WeightFormats
{
    private const int NoGgmlType = -1;

    // In the order of the enum: name, values per block, bytes per block, number in a GGUF file.
    private static readonly (string Name, int Length, int Bytes, int GgmlType)[] s_table =
    [
        ("f32", 1, 4, 0), ("f16", 1, 2, 1), ("bf16", 1, 2, 30), ("q8_0", 32, 34, 8), ("q4_0", 32, 18, 2), ("q4_1", 32, 20, 3), ("q5_0", 32, 22, 6), ("q5_1", 32, 24, 7),
        ("q2_k", 256, 84, 10), ("q3_k", 256, 110, 11), ("q4_k", 256, 144, 12), ("q5_k", 256, 176, 13), ("q6_k", 256, 210, 14), ("q8_k", 256, 292, 15),
        ("iq4_nl", 32, 18, 20), ("iq4_xs", 256, 136, 23), ("mxfp4", 32, 17, 39), ("f64", 1, 8, 28),
        ("f8_e4m3", 1, 1, NoGgmlType), ("f8_e5m2", 1, 1, NoGgmlType), ("f8_e8m0", 1, 1, NoGgmlType),
        ("i8", 1, 1, 24), ("i16", 1, 2, 25), ("i32", 1, 4, 26), ("i64", 1, 8, 27),
    ];

    /// <summary>Every format.</summary>
    public static IReadOnlyList<WeightFormat> All { get; } = Enum.GetValues<WeightFormat>();

    /// <summary>Values of one block; 1 for plain numbers.</summary>
    public static int BlockLength(this WeightFormat format) => s_table[(int)format].Length;

    /// <summary>Bytes of one block.</summary>
    public static int BlockBytes(this WeightFormat format) => s_table[(int)format].Bytes;

    /// <summary>Lower-case name, as users write it: <c>q4_k</c>.</summary>
    public static string Name(this WeightFormat format) => s_table[(int)format].Name;

    /// <summary>Number of the format in a GGUF file, or null where GGUF has none.</summary>
    public static uint? GgmlType(this WeightFormat format) => s_table[(int)format].GgmlType is int type and >= 0 ? (uint)type : null;

    /// <summary>The format with a number of GGUF, or null when it is unknown, removed or not supported.</summary>
    public static WeightFormat? FromGgmlType(uint type)
    {
        int index = type <= int.MaxValue ? Array.FindIndex(s_table, row => row.GgmlType == (int)type) : -1;
        return index >= 0 ? (WeightFormat)index : null;
    }

    /// <summary>The format with a name, in any case, or null.</summary>
    public static WeightFormat? Find(string name)
    {
        int index = Array.FindIndex(s_table, row => row.Name.Equals(name, StringComparison.OrdinalIgnoreCase));
        return index >= 0 ? (WeightFormat)index : null;
    }

    /// <summary>Bytes of a row.</summary>
    /// <param name="format">Format.</param>
    /// <param name="columns">Values; a whole number of blocks.</param>
    /// <exception cref="ShapeException">The columns do not fill whole blocks.</exception>
    public static long RowBytes(this WeightFormat format, long columns)
    {
        int length = format.BlockLength();
        if (columns < 0 || columns % length != 0)
        {
            ShapeException.Throw(format.Name(), nameof(columns), $"a multiple of {length}", $"{columns}");
        }

        return checked(columns / length * format.BlockBytes());
    }
}
