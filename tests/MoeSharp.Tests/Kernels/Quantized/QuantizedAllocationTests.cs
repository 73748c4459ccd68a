using MoeSharp.Kernels;
using MoeSharp.Kernels.Formats;
using MoeSharp.Kernels.Quantized;

namespace MoeSharp.Tests.Kernels.Quantized;

/// <summary>A steady product allocates nothing, alone, grouped or per head.</summary>
public sealed class QuantizedAllocationTests
{
    [Theory]
    [InlineData(WeightFormat.Q4_0)]
    [InlineData(WeightFormat.Q8_0)]
    [InlineData(WeightFormat.Q6K)]
    [InlineData(WeightFormat.BF16)]
    public void Nothing_is_allocated_once_the_buffers_have_grown(WeightFormat format)
    {
        const int Groups = 5, N = 64, K = 256, M = 3;
        using WorkerPool workers = new(2);
        using PackedMatrix w = PackedSamples.Pack(Groups, K, 91, out _, new PackedPart(N, format));
        float[] x = PackedSamples.Activations(M * K, 9), y = new float[M * Groups * N];
        int[] offsets = [0, 1, 1, 3, 5, 6], gather = [0, 2, 1, 0, 2, 1];
        long before = 0;
        for (int pass = 0; pass < 4; pass++)
        {
            before = pass == 2 ? GC.GetAllocatedBytesForCurrentThread() : before;
            QuantizedMatMul.NT(workers, M, x, K, w, 1, y, N, ActivationPrecision.Int8);
            QuantizedMatMul.GroupedNT(workers, offsets, x, K, gather, w, y, N, ActivationPrecision.Int8);
            QuantizedMatMul.BatchedNT(workers, M, x, K, 0, w, y, Groups * N, N, ActivationPrecision.Int8);
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }
}
