using MoeSharp.Kernels;
using MoeSharp.Tests.Reference;

namespace MoeSharp.Tests.Kernels;

public sealed class GroupedMatMulTests
{
    private const int SourceRows = 37;

    public static TheoryData<string, int[]> Groups => new()
    {
        { "one group", [0, 20] },
        { "empty groups at both ends and between", [0, 0, 3, 3, 3, 40, 40] },
        { "all rows to one of four", [0, 0, 200, 200, 200] },
        { "one row each", [0, 1, 2, 3, 4, 5] },
        { "uneven", [0, 17, 18, 90, 150, 151] },
        { "no rows at all", [0, 0, 0] },
    };

    [Theory]
    [MemberData(nameof(Groups))]
    public void Rows_times_weights_equals_the_reference_in_value_and_in_order(string name, int[] offsets)
    {
        Assert.NotEmpty(name);
        const int Columns = 35, Depth = 45;
        int groups = offsets.Length - 1, rows = offsets[^1], lda = Depth + 2, ldc = Columns + 1;
        int[] gather = Gather(rows);
        float[] a = MatMulTests.Values(Math.Max(SourceRows, rows) * lda, 1), b = MatMulTests.Values(groups * Columns * Depth, 2);
        foreach (bool gathers in new[] { true, false })
        {
            foreach (bool transposed in new[] { true, false })
            {
                float[] c = Rows(2, offsets, Columns, Depth, a, lda, gathers ? gather : [], b, ldc, transposed);
                for (int g = 0; g < groups; g++)
                {
                    int group = g;
                    ReferenceMatMul.AssertProduct(
                        offsets[g + 1] - offsets[g], Columns, Depth,
                        a, (row, depth) => ((gathers ? gather[offsets[group] + row] : offsets[group] + row) * lda) + depth,
                        b, (column, depth) => (group * Columns * Depth) + (transposed ? (column * Depth) + depth : (depth * Columns) + column),
                        null, c, (row, column) => ((offsets[group] + row) * ldc) + column);
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(Groups))]
    public void Weight_gradients_equal_the_reference_in_value_and_in_order(string name, int[] offsets)
    {
        Assert.NotEmpty(name);
        const int M = 33, N = 47;
        int groups = offsets.Length - 1, rows = offsets[^1], lda = M + 1, ldb = N + 2;
        int[] gather = Gather(rows);
        float[] a = MatMulTests.Values(Math.Max(SourceRows, rows) * lda, 1), b = MatMulTests.Values(Math.Max(SourceRows, rows) * ldb, 2);
        float[] start = MatMulTests.Values(groups * M * N, 3);
        foreach (bool gathersA in new[] { true, false })
        {
            foreach (bool accumulate in new[] { true, false })
            {
                bool gathersB = gathersA == accumulate;
                float[] c = Gradients(2, offsets, M, N, a, lda, gathersA ? gather : [], b, ldb, gathersB ? gather : [], start, accumulate);
                for (int g = 0; g < groups; g++)
                {
                    int group = g;
                    ReferenceMatMul.AssertProduct(
                        M, N, offsets[g + 1] - offsets[g],
                        a, (row, depth) => ((gathersA ? gather[offsets[group] + depth] : offsets[group] + depth) * lda) + row,
                        b, (column, depth) => ((gathersB ? gather[offsets[group] + depth] : offsets[group] + depth) * ldb) + column,
                        accumulate ? start : null, c, (row, column) => (((group * M) + row) * N) + column);
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(Groups))]
    public void Result_is_the_same_bits_for_any_number_of_workers(string name, int[] offsets)
    {
        Assert.NotEmpty(name);
        const int Columns = 140, Depth = 70;
        int groups = offsets.Length - 1, rows = offsets[^1];
        int[] gather = Gather(rows);
        float[] a = MatMulTests.Values(SourceRows * Depth, 1), b = MatMulTests.Values(groups * Columns * Depth, 2), d = MatMulTests.Values(rows * Columns, 3);
        foreach (int workers in new[] { 2, 3 })
        {
            Assert.Equal(Rows(1, offsets, Columns, Depth, a, Depth, gather, b, Columns, true), Rows(workers, offsets, Columns, Depth, a, Depth, gather, b, Columns, true));
            Assert.Equal(Rows(1, offsets, Columns, Depth, a, Depth, gather, b, Columns, false), Rows(workers, offsets, Columns, Depth, a, Depth, gather, b, Columns, false));
            Assert.Equal(
                Gradients(1, offsets, Columns, Depth, d, Columns, [], a, Depth, gather, b, true),
                Gradients(workers, offsets, Columns, Depth, d, Columns, [], a, Depth, gather, b, true));
        }
    }

    [Fact]
    public void Wrong_offsets_and_gather_indices_are_refused()
    {
        using WorkerPool pool = new(1);
        float[] a = new float[8], b = new float[8], c = new float[8];
        Assert.Contains("offsets", Refusal([0, 2, 1], [0, 1]), StringComparison.Ordinal);
        Assert.Contains("gather of a", Refusal([0, 1, 2], [0, -1]), StringComparison.Ordinal);
        Assert.Contains("gather of a", Refusal([0, 1, 2], [0]), StringComparison.Ordinal);
        Assert.Contains("a has shape", Refusal([0, 1, 2], [0, 9]), StringComparison.Ordinal);

        string Refusal(int[] offsets, int[] gather) =>
            Assert.Throws<ShapeException>(() => GroupedMatMul.NT(pool, offsets, 2, 2, a, 2, gather, b, c, 2)).Message;
    }

    private static int[] Gather(int rows) => Enumerable.Range(0, rows).Select(row => row * 29 % SourceRows).ToArray();

    private static float[] Rows(int workers, int[] offsets, int n, int k, float[] a, int lda, int[] gather, float[] b, int ldc, bool transposed)
    {
        using WorkerPool pool = new(workers);
        float[] c = new float[offsets[^1] * ldc];
        if (transposed)
        {
            GroupedMatMul.NT(pool, offsets, n, k, a, lda, gather, b, c, ldc);
        }
        else
        {
            GroupedMatMul.NN(pool, offsets, n, k, a, lda, gather, b, c, ldc);
        }

        return c;
    }

    private static float[] Gradients(int workers, int[] offsets, int m, int n, float[] a, int lda, int[] gatherA, float[] b, int ldb, int[] gatherB, float[] start, bool accumulate)
    {
        using WorkerPool pool = new(workers);
        float[] c = (float[])start.Clone();
        GroupedMatMul.TN(pool, offsets, m, n, a, lda, gatherA, b, ldb, gatherB, c, accumulate);
        return c;
    }
}
