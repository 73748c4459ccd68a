using MoeSharp.Kernels;
using MoeSharp.Tests.Reference;

namespace MoeSharp.Tests.Kernels;

public sealed class CrossEntropyTests
{
    [Theory]
    [InlineData(3, 1, 1f)] // single token
    [InlineData(4, 7, 1f)] // less than a vector
    [InlineData(5, 150, 20f)] // vectors, a tail, large logits
    [InlineData(7, 5003, 3f)] // several chunks
    public void Loss_is_the_formula(int rows, int vocab, float spread)
    {
        float[] logits = KernelCheck.Random(rows * vocab, 1, spread);
        int[] targets = Targets(rows, vocab);
        float[] losses = KernelCheck.SameForAnyWorkers(workers =>
        {
            float[] result = new float[rows];
            CrossEntropy.Forward(workers, rows, vocab, logits, targets, result);
            return result;
        });
        KernelCheck.Close(RowReference.CrossEntropy(rows, vocab, KernelCheck.Double(logits), targets), losses, 2e-6, 1e-6, "loss");
    }

    [Theory]
    [InlineData(3, 1)]
    [InlineData(4, 7)]
    [InlineData(3, 45)]
    public void Gradient_matches_finite_differences(int rows, int vocab)
    {
        const float Scale = 0.25f;
        float[] logits = KernelCheck.Random(rows * vocab, 2, 3f);
        int[] targets = Targets(rows, vocab);
        float[] both = KernelCheck.SameForAnyWorkers(workers => ForwardBackward(workers, rows, vocab, logits, targets, Scale));
        double[] dy = [.. Enumerable.Repeat((double)Scale, rows)];
        double[] expected = RowReference.Gradient(x => RowReference.CrossEntropy(rows, vocab, x, targets), KernelCheck.Double(logits), dy);
        KernelCheck.Close(expected, both[..logits.Length], 1e-7, 1e-6, "gradient");
        KernelCheck.Close(RowReference.CrossEntropy(rows, vocab, KernelCheck.Double(logits), targets), both[logits.Length..], 1e-6, 1e-6, "loss");
    }

    [Fact]
    public void Forward_alone_gives_the_same_loss_bits()
    {
        float[] logits = KernelCheck.Random(6 * 777, 3, 5f);
        int[] targets = Targets(6, 777);
        using WorkerPool workers = new(2);
        float[] losses = new float[6];
        CrossEntropy.Forward(workers, 6, 777, logits, targets, losses);
        KernelCheck.SameBits(losses, ForwardBackward(workers, 6, 777, logits, targets, 1f).AsSpan(logits.Length), "losses");
    }

    [Fact]
    public void Ignored_rows_have_no_loss_and_no_gradient()
    {
        using WorkerPool workers = new(1);
        Assert.Equal([0f, 0f, 0f, 0f], ForwardBackward(workers, 1, 3, [1f, float.NaN, 3f], [-1], 1f));
    }

    [Fact]
    public void A_row_without_chances_loses_infinitely_but_has_no_nan_gradient()
    {
        float infinity = float.NegativeInfinity;
        using WorkerPool workers = new(1);
        Assert.Equal([0f, -1f, float.PositiveInfinity], ForwardBackward(workers, 1, 2, [infinity, infinity], [1], 1f));
    }

    [Fact]
    public void A_target_outside_the_vocabulary_is_refused()
    {
        using WorkerPool workers = new(1);
        ShapeException error = Assert.Throws<ShapeException>(() => CrossEntropy.Forward(workers, 2, 3, new float[6], [0, 3], new float[2]));
        Assert.Contains("targets", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Nothing_is_allocated()
    {
        float[] logits = KernelCheck.Random(20 * 3001, 3);
        int[] targets = Targets(20, 3001);
        float[] losses = new float[20];
        KernelCheck.AllocatesNothing(workers =>
        {
            CrossEntropy.Forward(workers, 20, 3001, logits, targets, losses);
            CrossEntropy.ForwardBackward(workers, 20, 3001, logits, targets, 0.1f, losses);
        });
    }

    // Every third row is ignored; the others spread over the vocabulary, its ends included.
    private static int[] Targets(int rows, int vocab) => [.. Enumerable.Range(0, rows).Select(t => t % 3 == 2 ? -1 : t == 0 ? vocab - 1 : t * 31 % vocab)];

    private static float[] ForwardBackward(WorkerPool workers, int rows, int vocab, float[] logits, int[] targets, float scale)
    {
        float[] gradient = [.. logits];
        float[] losses = new float[rows];
        CrossEntropy.ForwardBackward(workers, rows, vocab, gradient, targets, scale, losses);
        return [.. gradient, .. losses];
    }
}
