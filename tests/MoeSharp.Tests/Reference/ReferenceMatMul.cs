using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace MoeSharp.Tests.Reference;

/// <summary>Matrix products as a reader would write them: one in double precision, one in the documented float order.</summary>
internal static class ReferenceMatMul
{
    private const int DepthBlock = 512; // as MatMul documents it

    /// <summary>Which stored element a factor's (index, depth) is.</summary>
    public delegate int Index(int index, int depth);

    /// <summary>Checks C = start + sum of products against double precision and against the documented order of summation.</summary>
    /// <param name="m">Rows of C.</param>
    /// <param name="n">Columns of C.</param>
    /// <param name="k">Terms.</param>
    /// <param name="a">Stored A.</param>
    /// <param name="indexA">Where (row, depth) stands in A.</param>
    /// <param name="b">Stored B.</param>
    /// <param name="indexB">Where (column, depth) stands in B.</param>
    /// <param name="start">What C held before when accumulating, or null.</param>
    /// <param name="c">Result to check.</param>
    /// <param name="indexC">Where (row, column) stands in C.</param>
    public static void AssertProduct(int m, int n, int k, float[] a, Index indexA, float[] b, Index indexB, float[]? start, float[] c, Index indexC)
    {
        for (int i = 0; i < m; i++)
        {
            for (int j = 0; j < n; j++)
            {
                int at = indexC(i, j);
                double exact = start?[at] ?? 0;
                double magnitude = Math.Abs(exact);
                for (int p = 0; p < k; p++)
                {
                    double term = (double)a[indexA(i, p)] * b[indexB(j, p)];
                    exact += term;
                    magnitude += Math.Abs(term);
                }

                // k roundings of half a unit (6e-8) that mostly cancel; 2e-6 is 33 of them in one direction.
                Assert.True(Math.Abs(c[at] - exact) <= 2e-6 * magnitude, $"C[{i}, {j}] of {m}x{n}x{k}: {c[at]}, in double precision {exact}");
                float ordered = InDocumentedOrder(k, p => a[indexA(i, p)], p => b[indexB(j, p)], start?[at]);
                Assert.True(BitConverter.SingleToInt32Bits(ordered) == BitConverter.SingleToInt32Bits(c[at]), $"C[{i}, {j}] of {m}x{n}x{k}: {c[at]:R}, in documented order {ordered:R}");
            }
        }
    }

    private static float InDocumentedOrder(int k, Func<int, float> a, Func<int, float> b, float? start)
    {
        bool fused = Fma.IsSupported || AdvSimd.IsSupported;
        int numBlocks = (k + DepthBlock - 1) / DepthBlock;
        int block = numBlocks == 0 ? 1 : (((k + numBlocks - 1) / numBlocks) + 15) / 16 * 16;
        float? total = start;
        for (int begin = 0; begin < k; begin += block)
        {
            float sum = 0;
            for (int p = begin; p < Math.Min(begin + block, k); p++)
            {
                sum = fused ? MathF.FusedMultiplyAdd(a(p), b(p), sum) : sum + (a(p) * b(p));
            }

            total = total is null ? sum : total + sum;
        }

        return total ?? 0;
    }
}
