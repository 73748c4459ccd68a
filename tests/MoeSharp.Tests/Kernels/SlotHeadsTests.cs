using MoeSharp.Kernels;

namespace MoeSharp.Tests.Kernels;

public sealed class SlotHeadsTests
{
    [Theory]
    [InlineData(1, 1, 1, 1, 1)] // one number
    [InlineData(5, 3, 1, 2, 7)] // slots side by side, in two pieces, less than a vector
    [InlineData(9, 6, 2, 1, 19)] // two slots to a place, a vector and a tail
    [InlineData(40, 4, 4, 1, 64)] // all slots to one place, several chunks
    public void Rows_go_to_their_places_and_back(int tokens, int slotsPerToken, int share, int pieces, int width)
    {
        SlotColumns columns = new(slotsPerToken, share, pieces, width);
        (int[] slotRows, int numRows) = Rows(tokens * slotsPerToken);
        float[] weights = KernelCheck.Random(slotRows.Length, 1);
        float[] rows = KernelCheck.Random(numRows * columns.SlotWidth, 2);
        float[] tokenRows = KernelCheck.Random(tokens * columns.TokenWidth, 3);
        double[] collected = new double[tokenRows.Length];
        double[] spread = new double[rows.Length];
        double[] products = new double[slotRows.Length];
        for (int slot = 0; slot < slotRows.Length; slot++)
        {
            for (int piece = 0; piece < pieces && slotRows[slot] >= 0; piece++)
            {
                for (int column = 0; column < width; column++)
                {
                    int token = slot / slotsPerToken;
                    int place = (token * columns.TokenWidth) + (piece * (slotsPerToken / share) * width) + (slot % slotsPerToken / share * width) + column;
                    int row = (slotRows[slot] * pieces * width) + (piece * width) + column;
                    collected[place] += (double)weights[slot] * rows[row];
                    spread[row] = (double)weights[slot] * tokenRows[place];
                    products[slot] += (double)tokenRows[place] * rows[row];
                }
            }
        }

        float[] actual = KernelCheck.SameForAnyWorkers(workers => Run(tokenRows.Length, target => SlotHeads.Collect(workers, columns, tokens, slotRows, weights, rows, target)));
        KernelCheck.Close(collected, actual, 1e-6, 1e-5, "collected");
        actual = KernelCheck.SameForAnyWorkers(workers => Run(rows.Length, target => SlotHeads.Spread(workers, columns, tokens, slotRows, weights, tokenRows, target)));
        KernelCheck.Close(spread, actual, 1e-6, 1e-5, "spread");
        actual = KernelCheck.SameForAnyWorkers(workers => Run(slotRows.Length, target => SlotHeads.Dot(workers, columns, tokens, slotRows, tokenRows, rows, target, false)));
        KernelCheck.Close(products, actual, 1e-5, 1e-5, "products");
    }

    [Fact]
    public void Without_weights_rows_are_moved_as_they_are_and_products_can_be_added()
    {
        using WorkerPool workers = new(1);
        SlotColumns columns = new(2, 1, 1, 2);
        float[] rows = [1, 2, 3, 4];
        float[] tokens = new float[4];
        SlotHeads.Collect(workers, columns, 1, [1, 0], [], rows, tokens);
        Assert.Equal([3, 4, 1, 2], tokens);
        float[] back = new float[4];
        SlotHeads.Spread(workers, columns, 1, [1, 0], [], tokens, back);
        Assert.Equal(rows, back);
        float[] products = [10, 20];
        SlotHeads.Dot(workers, columns, 1, [1, -1], tokens, rows, products, true);
        Assert.Equal([35, 20], products);
    }

    [Fact]
    public void A_row_outside_is_refused()
    {
        using WorkerPool workers = new(1);
        Assert.Throws<ShapeException>(() => SlotHeads.Collect(workers, new SlotColumns(1, 1, 1, 2), 1, [1], [], new float[2], new float[2]));
        Assert.Throws<ShapeException>(() => SlotHeads.Spread(workers, new SlotColumns(2, 1, 1, 2), 1, [0], [], new float[4], new float[4]));
    }

    private static float[] Run(int length, Action<float[]> kernel)
    {
        float[] target = new float[length];
        kernel(target);
        return target;
    }

    // Every fourth slot is dropped; the others lie in reverse order.
    private static (int[] SlotRows, int NumRows) Rows(int slots)
    {
        int[] kept = [.. Enumerable.Range(0, slots).Where(slot => slot % 4 != 2)];
        int[] rows = new int[slots];
        Array.Fill(rows, -1);
        for (int index = 0; index < kept.Length; index++)
        {
            rows[kept[index]] = kept.Length - 1 - index;
        }

        return (rows, kept.Length);
    }
}
