using MoeSharp.Kernels;

namespace MoeSharp.Tests.Kernels;

public sealed class PermutationTests
{
    [Theory]
    [InlineData(0, 4)] // no slots
    [InlineData(7, 1)] // all to one expert
    [InlineData(200, 16)]
    [InlineData(50, 1024)] // mostly empty experts
    public void Sorting_is_stable_and_its_two_maps_are_inverse(int slots, int experts)
    {
        Random random = new(slots);
        int[] expertIds = [.. Enumerable.Range(0, slots).Select(_ => random.Next(-1, experts))];
        int[] offsets = new int[experts + 1];
        int[] rowSlots = new int[slots];
        int[] slotRows = new int[slots];
        Permutation.SortByExpert(expertIds, experts, offsets, rowSlots, slotRows);

        int[] expectedSlots = [.. Enumerable.Range(0, slots).Where(slot => expertIds[slot] >= 0).OrderBy(slot => expertIds[slot])];
        Assert.Equal(expectedSlots, rowSlots[..expectedSlots.Length]);
        Assert.Equal(Enumerable.Range(0, experts + 1).Select(e => expertIds.Count(id => id >= 0 && id < e)), offsets);
        Assert.Equal(Enumerable.Range(0, slots).Select(slot => expertIds[slot] < 0 ? -1 : Array.IndexOf(expectedSlots, slot)), slotRows);
    }

    [Theory]
    [InlineData(3, 1, 1)]
    [InlineData(5, 3, 7)] // less than a vector
    [InlineData(9, 2, 150)] // vectors and a tail
    [InlineData(400, 6, 64)] // several chunks
    public void SumSlots_adds_rows_in_slot_order(int tokens, int topK, int cols)
    {
        Random random = new(1);
        float[] x = KernelCheck.Random(50 * cols, 2);
        int[] slotRows = [.. Enumerable.Range(0, tokens * topK).Select(_ => random.Next(-1, 50))];
        foreach (bool accumulate in new[] { false, true })
        {
            float[] actual = KernelCheck.SameForAnyWorkers(workers =>
            {
                float[] y = Enumerable.Repeat(0.5f, tokens * cols).ToArray();
                Permutation.SumSlots(workers, tokens, topK, cols, slotRows, x, y, accumulate);
                return y;
            });
            for (int i = 0; i < actual.Length; i++)
            {
                float sum = accumulate ? 0.5f : 0f;
                foreach (int row in slotRows[(i / cols * topK)..((i / cols * topK) + topK)])
                {
                    sum += row < 0 ? 0f : x[(row * cols) + (i % cols)];
                }

                Assert.Equal(sum, actual[i]);
            }
        }
    }

    [Theory]
    [InlineData(4, 1)]
    [InlineData(30, 150)]
    [InlineData(600, 33)]
    public void Gather_copies_and_scatter_adds_in_row_order(int rows, int cols)
    {
        Random random = new(3);
        int[] index = [.. Enumerable.Range(0, rows).Select(_ => random.Next(0, 10))];
        float[] table = KernelCheck.Random(10 * cols, 4);
        float[] gathered = KernelCheck.SameForAnyWorkers(workers =>
        {
            float[] y = new float[rows * cols];
            Permutation.GatherRows(workers, rows, cols, index, table, y);
            return y;
        });
        float[] scattered = KernelCheck.SameForAnyWorkers(workers =>
        {
            float[] y = [.. table];
            Permutation.ScatterAddRows(workers, rows, cols, index, gathered, y);
            return y;
        });

        float[] expected = [.. table];
        for (int i = 0; i < rows * cols; i++)
        {
            Assert.Equal(table[(index[i / cols] * cols) + (i % cols)], gathered[i]);
            expected[(index[i / cols] * cols) + (i % cols)] += gathered[i];
        }

        KernelCheck.SameBits(expected, scattered, "scattered");
    }

    [Fact]
    public void Rows_outside_are_refused()
    {
        using WorkerPool workers = new(1);
        Assert.Throws<ShapeException>(() => Permutation.GatherRows(workers, 1, 2, [2], new float[4], new float[2]));
        Assert.Throws<ShapeException>(() => Permutation.GatherRows(workers, 1, 2, [-1], new float[4], new float[2]));
        Assert.Throws<ShapeException>(() => Permutation.ScatterAddRows(workers, 1, 2, [2], new float[2], new float[4]));
        Assert.Throws<ShapeException>(() => Permutation.SumSlots(workers, 1, 1, 2, [2], new float[4], new float[2], false));
    }

    [Fact]
    public void Nothing_is_allocated()
    {
        int[] expertIds = [.. Enumerable.Range(0, 600).Select(slot => slot * 7 % 1024)];
        int[] offsets = new int[1025];
        int[] rowSlots = new int[600];
        int[] slotRows = new int[600];
        float[] x = KernelCheck.Random(600 * 64, 2);
        float[] y = new float[600 * 64];
        KernelCheck.AllocatesNothing(workers =>
        {
            Permutation.SortByExpert(expertIds, 1024, offsets, rowSlots, slotRows);
            Permutation.GatherRows(workers, 600, 64, rowSlots, x, y);
            Permutation.SumSlots(workers, 300, 2, 64, slotRows, x, y, true);
            Permutation.ScatterAddRows(workers, 600, 64, rowSlots, x, y);
        });
    }
}
