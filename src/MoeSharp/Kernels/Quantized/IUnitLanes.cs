using System.Runtime.Intrinsics;

namespace MoeSharp.Kernels.Quantized;

/// <summary>How large the stored codes of a format get, which decides how many products fit 16 bits.</summary>
internal enum CodeSize
{
    /// <summary>Below 16: eight sums of two products with activations of at most 127 fit (30,480).</summary>
    Small,

    /// <summary>Below 64: two of them fit (32,004).</summary>
    Medium,

    /// <summary>Below 256: not even one.</summary>
    Wide,
}

/// <summary>Integer products of weights and activations for several rows at once, so that a kernel is written once for every instruction set.</summary>
/// <remarks>
/// A vector of codes holds, for each of <see cref="Rows"/> rows, four unsigned bytes of neighbouring columns; activations are four signed bytes,
/// the same for all rows. Integer sums are exact and the float steps are single operations with one rounding, so all
/// implementations give the same bits.
/// </remarks>
/// <typeparam name="V">A vector of integers of any width.</typeparam>
/// <typeparam name="F">A vector of as many float32 as there are rows.</typeparam>
internal unsafe interface IUnitLanes<V, F>
    where V : unmanaged
    where F : unmanaged
{
    /// <summary>Rows of a vector: 16, 8 or 4.</summary>
    static abstract int Rows { get; }

    /// <summary>Whether wide codes are multiplied as 16-bit numbers, even and odd columns apart, by the pairs of <see cref="ByteRows"/>.</summary>
    static abstract bool UsesPairs { get; }

    static abstract V Zero { get; }

    /// <summary>4 <see cref="Rows"/> bytes.</summary>
    static abstract V Load(byte* source);

    static abstract V BroadcastByte(byte value);

    /// <summary>The same four bytes for every row.</summary>
    static abstract V Broadcast(byte* four);

    static abstract V And(V a, V b);

    /// <summary>The lower bytes of 16-bit lanes.</summary>
    static abstract V EvenBytes(V value);

    static abstract V Or(V a, V b);

    /// <summary>Shifts 16-bit lanes; callers mask what crosses bytes.</summary>
    static abstract V ShiftRight(V value, int bits);

    /// <summary>Shifts 16-bit lanes; callers mask what crosses bytes.</summary>
    static abstract V ShiftLeft(V value, int bits);

    /// <summary>The upper four bits of every byte.</summary>
    static abstract V UpperNibbles(V value);

    /// <summary>table[index] for every byte; indices below 16.</summary>
    static abstract V Lookup(Vector128<byte> table, V index);

    /// <summary>What <see cref="Add"/> starts from, so that it ends with the sum of (code - 2^zeroBits) x; zeroBits 0 means nothing is subtracted.</summary>
    /// <param name="size">Size of the codes.</param>
    /// <param name="zeroBits">0, or 1 and more.</param>
    /// <param name="unit">Unit of <see cref="ByteRows"/>.</param>
    static abstract V Start(CodeSize size, int zeroBits, byte* unit);

    /// <summary>sum + c0 x0 + c1 x1; with wide codes and <see cref="UsesPairs"/> all four are 16-bit numbers.</summary>
    static abstract V Add(CodeSize size, V sum, V c0, V x0, V c1, V x1);

    /// <summary>Twice <see cref="Add"/>, products first and sums behind.</summary>
    /// <remarks>
    /// A Zen 4 decides where an instruction runs when it comes, so sums between products take the places of multiplications: 1.36 cycles a
    /// product one by one, 1.13 with four products before four sums.
    /// </remarks>
    static abstract void AddTwo(CodeSize size, ref V sum0, V c00, V x00, V c01, V x01, ref V sum1, V c10, V x10, V c11, V x11);

    /// <summary>The 32-bit sums of what <see cref="Add"/> collected.</summary>
    static abstract V Finish(CodeSize size, V sum);

    /// <summary>Per row a0 b0 + a1 b1 of 16-bit numbers, as 32-bit numbers.</summary>
    static abstract V PairProducts(V a, V b);

    /// <summary>Per row two neighbouring signed bytes as 16-bit numbers.</summary>
    static abstract V LoadPairs(byte* source);

    /// <summary>Per row the first of a pair, twice.</summary>
    static abstract V FirstOfPairs(V pairs);

    /// <summary>Per row the second of a pair, twice.</summary>
    static abstract V SecondOfPairs(V pairs);

    /// <summary>Per row scale times the sum of c x over the sixteen columns of half a unit, as 32-bit numbers.</summary>
    /// <param name="size">Size of the codes; only small ones below 8 and medium ones fit.</param>
    /// <param name="c0">Codes of the first four columns; the others follow.</param>
    /// <param name="c1">Of the next four.</param>
    /// <param name="c2">Of the next four.</param>
    /// <param name="c3">Of the last four.</param>
    /// <param name="x">The sixteen activations.</param>
    /// <param name="scale">The same 16-bit number twice.</param>
    static abstract V HalfProducts(CodeSize size, V c0, V c1, V c2, V c3, byte* x, V scale);

    /// <summary>a + b of 32-bit numbers.</summary>
    static abstract V Sum(V a, V b);

    /// <summary>a - b of 32-bit numbers.</summary>
    static abstract V Subtract(V a, V b);

    static abstract F ZeroFloats { get; }

    static abstract F ToFloat(V value);

    static abstract F BroadcastFloat(float* value);

    static abstract F Multiply(F a, F b);

    /// <summary>a b + c with one rounding.</summary>
    static abstract F MultiplyAdd(F a, F b, F c);

    /// <summary>Widens IEEE halves, one per row; infinities and NaN, which no valid scale is, become numbers.</summary>
    static abstract F LoadHalves(byte* source);

    /// <summary>Widens unsigned bytes, one per row.</summary>
    static abstract F LoadBytes(byte* source);

    /// <summary>Half of the power of two that each byte stands for: 2^(byte - 128), subnormals included.</summary>
    static abstract F LoadHalfPowers(byte* source);

    /// <summary>Adds the same number to every lane.</summary>
    static abstract F AddFloats(F value, float addend);

    static abstract void Store(float* target, F value);
}
