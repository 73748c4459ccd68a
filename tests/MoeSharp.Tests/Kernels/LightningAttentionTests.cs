using MoeSharp.Kernels;

namespace MoeSharp.Tests.Kernels;

public sealed class LightningAttentionTests
{
    [Theory]
    [InlineData(1, 1, 2)]
    [InlineData(3, 9, 6)] // less than a vector
    [InlineData(5, 20, 38)] // vectors and a tail
    public void The_state_is_the_decayed_sum_of_all_tokens(int numHeads, int rows, int headDim)
    {
        float[] qkv = KernelCheck.Random(rows * numHeads * 3 * headDim, 1);
        float[] decays = [.. Enumerable.Range(1, numHeads).Select(head => (float)Math.Exp(-0.2 * head))];
        float[] start = KernelCheck.Random(numHeads * headDim * headDim, 2);

        float[] output = KernelCheck.SameForAnyWorkers(workers => Run(workers, numHeads, headDim, qkv, decays, [.. start]));

        double[] expected = new double[rows * numHeads * headDim];
        for (int head = 0; head < numHeads; head++)
        {
            for (int t = 0; t < rows; t++)
            {
                for (int j = 0; j < headDim; j++)
                {
                    double sum = 0;
                    for (int i = 0; i < headDim; i++)
                    {
                        double cell = Math.Pow(decays[head], t + 1) * start[(((head * headDim) + i) * headDim) + j];
                        for (int s = 0; s <= t; s++)
                        {
                            cell += Math.Pow(decays[head], t - s) * At(s, head, headDim + i) * At(s, head, (2 * headDim) + j);
                        }

                        sum += At(t, head, i) * cell;
                    }

                    expected[(((t * numHeads) + head) * headDim) + j] = sum;
                }
            }
        }

        KernelCheck.Close(expected, output, 1e-5, 1e-5, "output");

        double At(int t, int head, int column) => qkv[(((t * numHeads) + head) * 3 * headDim) + column];
    }

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(16)]
    public void Chunks_give_the_bits_of_the_whole(int chunk)
    {
        const int Heads = 3, Dim = 24, Rows = 17;
        float[] qkv = KernelCheck.Random(Rows * Heads * 3 * Dim, 1);
        float[] decays = [0.9f, 0.5f, 0.99f];
        using WorkerPool workers = new(2);
        float[] whole = Run(workers, Heads, Dim, qkv, decays, new float[Heads * Dim * Dim]);

        float[] state = new float[Heads * Dim * Dim];
        float[] output = [];
        foreach (float[] part in qkv.Chunk(chunk * Heads * 3 * Dim))
        {
            output = [.. output, .. Run(workers, Heads, Dim, part, decays, state)];
        }

        KernelCheck.SameBits(whole, output, "chunks");
    }

    [Fact]
    public void It_allocates_nothing_and_refuses_a_short_state()
    {
        float[] qkv = new float[2 * 3 * 8];
        float[] state = new float[2 * 64];
        float[] output = new float[2 * 8];
        float[] decays = [0.5f, 0.5f]; // a literal in the call is itself an allocation in unoptimised code
        KernelCheck.AllocatesNothing(workers => LightningAttention.Forward(workers, 2, 8, 1, qkv, decays, state, output));
        using WorkerPool workers = new(1);
        Assert.Throws<ShapeException>(() => LightningAttention.Forward(workers, 2, 8, 1, qkv, decays, new float[127], output));
    }

    private static float[] Run(WorkerPool workers, int numHeads, int headDim, float[] qkv, float[] decays, float[] state)
    {
        int rows = qkv.Length / (numHeads * 3 * headDim);
        float[] output = new float[rows * numHeads * headDim];
        LightningAttention.Forward(workers, numHeads, headDim, rows, qkv, decays, state, output);
        return output;
    }
}
