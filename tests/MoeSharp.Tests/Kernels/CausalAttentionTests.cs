using MoeSharp.Kernels;
using MoeSharp.Tests.Reference;

namespace MoeSharp.Tests.Kernels;

public sealed class CausalAttentionTests
{
    /// <summary>heads, kv heads, head dim, lengths of the segments.</summary>
    public static TheoryData<int, int, int, int[]> Shapes => new()
    {
        { 1, 1, 1, [1] }, // one of everything
        { 2, 2, 16, [5] }, // less than a strip
        { 1, 1, 7, [64, 65, 63] }, // odd width, around one block of keys
        { 4, 2, 24, [3, 130, 1] }, // grouped heads, several blocks, single-row segments
        { 6, 2, 16, [77] }, // group of three: rows of a strip belong to different queries
        { 2, 1, 48, [200] }, // three vectors per row
        { 1, 1, 64, [150] }, // few tasks: the backward pass splits
        { 3, 3, 128, [70, 9] },
    };

    [Theory]
    [MemberData(nameof(Shapes))]
    public void Forward_is_the_formula(int numHeads, int numKeyValueHeads, int headDim, int[] lengths)
    {
        AttentionHeads heads = Heads(numHeads, numKeyValueHeads, headDim);
        AttentionSegment[] segments = Segments(lengths);
        float[] qkv = Qkv(heads, lengths.Sum(), 2f);
        float[] all = KernelCheck.SameForAnyWorkers(workers => Forward(workers, heads, segments, qkv, lengths.Sum()).Both);
        double[] expected = AttentionReference.Forward(heads, segments, KernelCheck.Double(qkv));
        KernelCheck.Close(expected, all[..expected.Length], 2e-6, 2e-6, "output");
    }

    [Theory]
    [MemberData(nameof(Shapes))]
    public void Gradients_are_the_formula(int numHeads, int numKeyValueHeads, int headDim, int[] lengths)
    {
        AttentionHeads heads = Heads(numHeads, numKeyValueHeads, headDim);
        AttentionSegment[] segments = Segments(lengths);
        float[] qkv = Qkv(heads, lengths.Sum(), 1.5f);
        float[] dOutput = KernelCheck.Random(lengths.Sum() * numHeads * headDim, 2);
        float[] gradient = KernelCheck.SameForAnyWorkers(workers => Backward(workers, heads, segments, qkv, dOutput));
        double[] expected = AttentionReference.Backward(heads, segments, KernelCheck.Double(qkv), KernelCheck.Double(dOutput));
        KernelCheck.Close(expected, gradient, 1e-5, 1e-5, "gradient of qkv");
    }

    [Theory]
    [InlineData(1, 1, 3)]
    [InlineData(2, 1, 5)]
    [InlineData(4, 2, 2)]
    public void Gradients_match_finite_differences(int numHeads, int numKeyValueHeads, int headDim)
    {
        AttentionHeads heads = Heads(numHeads, numKeyValueHeads, headDim);
        AttentionSegment[] segments = Segments([6, 4]);
        float[] qkv = Qkv(heads, 10, 1.5f);
        float[] dOutput = KernelCheck.Random(10 * numHeads * headDim, 2);
        using WorkerPool workers = new(2);
        double[] expected = RowReference.Gradient(x => AttentionReference.Forward(heads, segments, x), KernelCheck.Double(qkv), KernelCheck.Double(dOutput));
        KernelCheck.Close(expected, Backward(workers, heads, segments, qkv, dOutput), 2e-6, 1e-5, "gradient of qkv");
    }

    [Theory]
    [InlineData(4, 4, 64)]
    [InlineData(6, 2, 24)]
    [InlineData(2, 1, 7)]
    public void A_cached_query_gives_the_bits_of_a_full_pass(int numHeads, int numKeyValueHeads, int headDim)
    {
        const int Length = 150;
        AttentionHeads heads = Heads(numHeads, numKeyValueHeads, headDim);
        float[] qkv = Qkv(heads, Length, 2f);
        int width = numHeads * headDim;
        using WorkerPool workers = new(2);
        Result full = Forward(workers, heads, Segments([Length]), qkv, Length);
        foreach (int count in new[] { 1, 2, 9, 70 })
        {
            for (int end = count; end <= Length; end += 7)
            {
                AttentionSegment segment = new(end - count, count, 0, end);
                Result part = Forward(workers, heads, [segment], qkv, Length);
                KernelCheck.SameBits(full.Output.AsSpan((end - count) * width, count * width), part.Output.AsSpan((end - count) * width, count * width), $"{count} queries to {end}");
                KernelCheck.SameBits(full.LogSumExp.AsSpan((end - count) * numHeads, count * numHeads), part.LogSumExp.AsSpan((end - count) * numHeads, count * numHeads), $"log-sum-exp of {count} queries to {end}");
            }
        }
    }

    [Fact]
    public void A_sequence_gives_the_same_bits_wherever_it_lies()
    {
        const int Length = 90;
        AttentionHeads heads = Heads(2, 2, 16);
        int stride = AttentionReference.Stride(heads);
        float[] qkv = Qkv(heads, Length, 2f);
        float[] moved = Qkv(heads, Length + 100, 2f);
        qkv.CopyTo(moved, 37 * stride);
        using WorkerPool workers = new(2);
        Result alone = Forward(workers, heads, Segments([Length]), qkv, Length);
        Result among = Forward(workers, heads, Segments([37, Length, 63]), moved, Length + 100);
        KernelCheck.SameBits(alone.Output, among.Output.AsSpan(37 * 32, Length * 32), "output");
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    [InlineData(1e38f)]
    public void Later_rows_never_touch_earlier_ones(float poison)
    {
        const int Length = 100;
        AttentionHeads heads = Heads(2, 2, 16);
        int stride = AttentionReference.Stride(heads);
        float[] qkv = Qkv(heads, Length, 2f);
        using WorkerPool workers = new(2);
        Result clean = Forward(workers, heads, Segments([Length]), qkv, Length);
        foreach (int row in new[] { 3, 64, 69 })
        {
            float[] poisoned = [.. qkv];
            poisoned.AsSpan(row * stride).Fill(poison);
            Result dirty = Forward(workers, heads, Segments([Length]), poisoned, Length);
            KernelCheck.SameBits(clean.Output.AsSpan(0, row * 32), dirty.Output.AsSpan(0, row * 32), $"rows before {row}");
        }
    }

    [Theory]
    [InlineData(0f)] // all scores equal
    [InlineData(300f)] // scores of 1e6: one key takes all
    public void Flat_and_steep_scores_stay_finite(float spread)
    {
        AttentionHeads heads = Heads(1, 1, 16);
        float[] qkv = Qkv(heads, 130, spread);
        float[] values = KernelCheck.Random(130 * 16, 5);
        for (int row = 0; row < 130; row++)
        {
            values.AsSpan(row * 16, 16).CopyTo(qkv.AsSpan((row * 48) + 32));
        }

        using WorkerPool workers = new(1);
        Result result = Forward(workers, heads, Segments([130]), qkv, 130);
        double[] expected = AttentionReference.Forward(heads, Segments([130]), KernelCheck.Double(qkv));
        KernelCheck.Close(expected, result.Output, spread == 0f ? 1e-6 : 0.05, 0, "output"); // scores of 1e6 are known to 0.06
        Assert.All(Backward(workers, heads, Segments([130]), qkv, KernelCheck.Random(130 * 16, 6)), value => Assert.True(float.IsFinite(value)));
    }

    [Fact]
    public void Scores_of_negative_infinity_give_zero_not_nan()
    {
        AttentionHeads heads = new(1, 1, 1, 1f);
        float[] q = [1f, 1f];
        float[] k = [float.NegativeInfinity, 0f];
        float[] output = new float[2];
        float[] logSumExp = new float[2];
        using WorkerPool workers = new(1);
        CausalAttention.Forward(workers, heads, Segments([2]), q, 1, k, 1, [5f, 7f], 1, [], output, logSumExp);
        Assert.Equal([0f, 7f], output);
        Assert.Equal([float.NegativeInfinity, 0f], logSumExp);
    }

    [Fact]
    public void Nothing_is_allocated()
    {
        AttentionHeads heads = Heads(4, 2, 24);
        AttentionSegment[] segments = Segments([150, 20]);
        float[] qkv = Qkv(heads, 170, 1f);
        int stride = AttentionReference.Stride(heads);
        float[] output = new float[170 * 96];
        float[] logSumExp = new float[170 * 4];
        float[] gradient = new float[qkv.Length];
        KernelCheck.AllocatesNothing(workers =>
        {
            CausalAttention.Forward(workers, heads, segments, qkv, stride, qkv.AsSpan(96), stride, qkv.AsSpan(144), stride, [], output, logSumExp);
            CausalAttention.Backward(
                workers, heads, segments, qkv, stride, qkv.AsSpan(96), stride, qkv.AsSpan(144), stride, output, logSumExp, output,
                gradient, stride, gradient.AsSpan(96), stride, gradient.AsSpan(144), stride);
        });
    }

    [Fact]
    public void No_segments_and_empty_segments_are_no_work()
    {
        AttentionHeads heads = Heads(1, 1, 4);
        using WorkerPool workers = new(2);
        CausalAttention.Forward(workers, heads, [], [], 4, [], 4, [], 4, [], [], []);
        Result result = Forward(workers, heads, [new(0, 0, 0, 0), new(0, 2, 0, 2)], Qkv(heads, 2, 1f), 2);
        Assert.DoesNotContain(result.Output, float.IsNaN);
    }

    [Fact]
    public void A_segment_outside_the_rows_is_refused()
    {
        AttentionHeads heads = Heads(1, 1, 4);
        using WorkerPool workers = new(1);
        Assert.Throws<ShapeException>(() => Forward(workers, heads, Segments([3]), Qkv(heads, 2, 1f), 2));
        Assert.Throws<ShapeException>(() => Forward(workers, heads, [new(0, 2, 0, 1)], Qkv(heads, 2, 1f), 2));
        Assert.Throws<ShapeException>(() => Backward(workers, heads, [new(1, 1, 0, 2)], Qkv(heads, 2, 1f), new float[8]));
    }

    private readonly record struct Result(float[] Output, float[] LogSumExp)
    {
        public float[] Both => [.. Output, .. LogSumExp];
    }

    private static AttentionHeads Heads(int numHeads, int numKeyValueHeads, int headDim) => new(numHeads, numKeyValueHeads, headDim, 1f / MathF.Sqrt(headDim));

    private static float[] Qkv(AttentionHeads heads, int rows, float spread) => KernelCheck.Random(rows * AttentionReference.Stride(heads), 1, spread);

    private static AttentionSegment[] Segments(int[] lengths)
    {
        AttentionSegment[] segments = new AttentionSegment[lengths.Length];
        int begin = 0;
        for (int s = 0; s < lengths.Length; s++)
        {
            segments[s] = new AttentionSegment(begin, lengths[s], begin, lengths[s]);
            begin += lengths[s];
        }

        return segments;
    }

    private static Result Forward(WorkerPool workers, AttentionHeads heads, AttentionSegment[] segments, float[] qkv, int rows)
    {
        int stride = AttentionReference.Stride(heads);
        Result result = new(new float[rows * heads.NumHeads * heads.HeadDim], new float[rows * heads.NumHeads]);
        CausalAttention.Forward(
            workers, heads, segments, qkv, stride, qkv.AsSpan(heads.NumHeads * heads.HeadDim), stride,
            qkv.AsSpan((heads.NumHeads + heads.NumKeyValueHeads) * heads.HeadDim), stride, [], result.Output, result.LogSumExp);
        return result;
    }

    private static float[] Backward(WorkerPool workers, AttentionHeads heads, AttentionSegment[] segments, float[] qkv, float[] dOutput)
    {
        int stride = AttentionReference.Stride(heads);
        int k = heads.NumHeads * heads.HeadDim;
        int v = (heads.NumHeads + heads.NumKeyValueHeads) * heads.HeadDim;
        Result forward = Forward(workers, heads, segments, qkv, qkv.Length / stride);
        float[] gradient = new float[qkv.Length];
        CausalAttention.Backward(
            workers, heads, segments, qkv, stride, qkv.AsSpan(k), stride, qkv.AsSpan(v), stride, forward.Output, forward.LogSumExp, dOutput,
            gradient, stride, gradient.AsSpan(k), stride, gradient.AsSpan(v), stride);
        return gradient;
    }
}
