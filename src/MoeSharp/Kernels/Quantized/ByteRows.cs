using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace MoeSharp.Kernels.Quantized;

/// <summary>How products take their activations.</summary>
public enum ActivationPrecision
{
    /// <summary>Rounded to 8 bits per block of 32 inside the call, once per row; q6_k, which files give to their most sensitive matrices, also takes what that left over, in 8 bits. Formats without integer products take float32.</summary>
    Int8,

    /// <summary>Exact: the same bits as a product with the decoded weights.</summary>
    Float32,

    /// <summary>As <see cref="Int8"/>, but 8 bits for every format: for the output head, whose errors no layer carries on and whose speed counts.</summary>
    Int8Once,
}

/// <summary>Activation rows rounded to bytes: per unit of 32 columns a scale, sums, and 32 bytes.</summary>
/// <remarks>
/// x is about scale * byte with scale = largest magnitude / 127 and byte = round(x / scale), ties to even. A unit's output term is
/// weight scale * scale * (exact integer sum), so every instruction set gives the same bits.
/// A unit in memory: scale float32, the negative sum of the bytes as int32, sums of the halves as two int16, four times the negative sum as int16 twice, 32 bytes, then, where
/// a layout asks for them, pairs: the bytes as int16, [2, 16], those of even columns before those of odd ones.
/// </remarks>
internal unsafe struct ByteRows
{
    /// <summary>Columns of a unit.</summary>
    public const int UnitColumns = 32;

    /// <summary>Where the negative of a unit's sum stands.</summary>
    public const int NegativeSum = 4;

    /// <summary>Where the sums of a unit's halves start.</summary>
    public const int HalfSums = 8;

    /// <summary>Where the start of sums in two lanes of 16 bits stands, for small codes around two to the power of <see cref="SmallZeroBits"/>.</summary>
    public const int SmallStart = 12;

    /// <summary>See <see cref="SmallStart"/>.</summary>
    public const int SmallZeroBits = 3;

    /// <summary>Where a unit's bytes start.</summary>
    public const int Bytes = 16;

    /// <summary>Where a unit's pairs of even columns start.</summary>
    public const int EvenPairs = Bytes + UnitColumns;

    /// <summary>Where a unit's pairs of odd columns start.</summary>
    public const int OddPairs = EvenPairs + UnitColumns;

    private const int WithPairs = OddPairs + UnitColumns;

    /// <summary>First stored row.</summary>
    public byte* Values;

    /// <summary>Bytes of a stored row.</summary>
    public nint Stride;

    /// <summary>Row r stands at stored row Gather[r]; null means row r itself.</summary>
    public int* Gather;

    /// <summary>First row of the product.</summary>
    public int First;

    /// <summary>Rows of the product.</summary>
    public int Count;

    /// <summary>Distance between stored rows of neighbouring rows, and the stored row of row 0: products of several groups interleave theirs.</summary>
    public int Step;

    /// <summary>Stored row of row 0.</summary>
    public int Shift;

    /// <summary>Units of a row.</summary>
    public int Units;

    /// <summary>Bytes of a unit.</summary>
    public int UnitBytes;

    /// <summary>From a row to what rounding it left over; 0 where that is not kept.</summary>
    public nint RestOffset;

    /// <summary>1 where every row is followed by what rounding it left over, as a row of its own, otherwise 0.</summary>
    public int RestShift;

    /// <summary>Bytes that a unit takes.</summary>
    public static int BytesOfUnit(bool hasPairs) => hasPairs ? WithPairs : EvenPairs;

    /// <summary>Address of the i-th row of the product.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly byte* Row(int i)
    {
        int row = First + (i >> RestShift);
        row = Gather == null ? row : Gather[row];
        return Values + (((nint)row * Step + Shift) * Stride) + ((i & RestShift) * RestOffset);
    }

    /// <summary>Rounds one row of floats.</summary>
    /// <param name="x">[32 units].</param>
    /// <param name="unit">= the first unit; the others follow.</param>
    /// <param name="rest">= the first unit of what rounding left over, itself rounded; null where it is not wanted.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public readonly void Round(float* x, byte* unit, byte* rest)
    {
        byte* end = unit + ((nint)Units * UnitBytes);
        for (; unit < end; unit += UnitBytes, x += UnitColumns)
        {
            Vector256<float> v0 = Vector256.Load(x), v1 = Vector256.Load(x + 8), v2 = Vector256.Load(x + 16), v3 = Vector256.Load(x + 24);
            RoundUnit(ref v0, ref v1, ref v2, ref v3, unit, UnitBytes == WithPairs);
            if (rest != null)
            {
                RoundUnit(ref v0, ref v1, ref v2, ref v3, rest, UnitBytes == WithPairs);
                rest += UnitBytes;
            }
        }
    }

    // Leaves in v what rounding took away.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void RoundUnit(ref Vector256<float> v0, ref Vector256<float> v1, ref Vector256<float> v2, ref Vector256<float> v3, byte* unit, bool hasPairs)
    {
        float largest = Largest(Vector256.Max(
            Vector256.Max(Vector256.Abs(v0), Vector256.Abs(v1)), Vector256.Max(Vector256.Abs(v2), Vector256.Abs(v3))));
        float scale = largest / 127f;
        Vector256<float> inverse = Vector256.Create(largest == 0 ? 0f : 127f / largest);
        Vector256<int> i0 = Rounded(v0 * inverse), i1 = Rounded(v1 * inverse), i2 = Rounded(v2 * inverse), i3 = Rounded(v3 * inverse);
        int lower = Vector256.Sum(i0 + i1), upper = Vector256.Sum(i2 + i3);
        *(float*)unit = scale;
        *(int*)(unit + NegativeSum) = -(lower + upper);
        *(int*)(unit + HalfSums) = (lower & 0xFFFF) | (upper << 16);
        int start = -(lower + upper) << (SmallZeroBits - 1);
        *(int*)(unit + SmallStart) = (start & 0xFFFF) | (start << 16);
        Vector256<sbyte> rounded = Vector256.Narrow(Vector256.Narrow(i0, i1), Vector256.Narrow(i2, i3));
        rounded.AsByte().Store(unit + Bytes);
        if (hasPairs)
        {
            Vector256<short> both = rounded.AsInt16(); // lane i: column 2i in the lower byte, 2i + 1 in the upper
            Vector256.ShiftRightArithmetic(Vector256.ShiftLeft(both, 8), 8).AsByte().Store(unit + EvenPairs);
            Vector256.ShiftRightArithmetic(both, 8).AsByte().Store(unit + OddPairs);
        }

        Vector256<float> back = Vector256.Create(-scale);
        v0 = Vector256.FusedMultiplyAdd(back, Vector256.ConvertToSingle(i0), v0);
        v1 = Vector256.FusedMultiplyAdd(back, Vector256.ConvertToSingle(i1), v1);
        v2 = Vector256.FusedMultiplyAdd(back, Vector256.ConvertToSingle(i2), v2);
        v3 = Vector256.FusedMultiplyAdd(back, Vector256.ConvertToSingle(i3), v3);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static float Largest(Vector256<float> v)
    {
        Vector128<float> half = Vector128.Max(v.GetLower(), v.GetUpper()); // Max keeps a NaN, so that it reaches the output
        half = Vector128.Max(half, Vector128.Shuffle(half, Vector128.Create(2, 3, 0, 1)));
        return Vector128.Max(half, Vector128.Shuffle(half, Vector128.Create(1, 0, 3, 2))).ToScalar();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<int> Rounded(Vector256<float> v) => Vector256.ConvertToInt32Native(Vector256.Round(v));
}
