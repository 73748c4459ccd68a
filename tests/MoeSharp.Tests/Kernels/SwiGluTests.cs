using MoeSharp.Kernels;
using MoeSharp.Tests.Reference;

namespace MoeSharp.Tests.Kernels;

public sealed class SwiGluTests
{
    [Theory]
    [InlineData(1, 1, true)] // one value
    [InlineData(4, 7, false)] // less than a vector
    [InlineData(3, 16, true)]
    [InlineData(5, 83, true)] // vectors and a tail
    [InlineData(300, 352, true)] // several chunks
    public void Forward_is_the_formula(int rows, int intermediate, bool hasWeights)
    {
        float[] gateUp = KernelCheck.Random(2 * rows * intermediate, 1, 8f);
        float[] weights = hasWeights ? KernelCheck.Random(rows, 2) : [];
        float[] y = KernelCheck.SameForAnyWorkers(workers =>
        {
            float[] result = new float[rows * intermediate];
            SwiGlu.Forward(workers, rows, intermediate, gateUp, weights, result);
            return result;
        });
        KernelCheck.Close(RowReference.SwiGlu(rows, intermediate, KernelCheck.Double(gateUp), Weights(weights, rows)), y, 1e-30, 6e-7, "y");
    }

    [Theory]
    [InlineData(1, 1, true)]
    [InlineData(4, 7, false)]
    [InlineData(3, 37, true)]
    public void Gradients_match_finite_differences(int rows, int intermediate, bool hasWeights)
    {
        float[] gateUp = KernelCheck.Random(2 * rows * intermediate, 3, 4f);
        float[] weights = hasWeights ? KernelCheck.Random(rows, 4) : [];
        float[] dy = KernelCheck.Random(rows * intermediate, 5);
        float[] all = KernelCheck.SameForAnyWorkers(workers => Backward(workers, rows, intermediate, gateUp, weights, dy));

        int inputs = gateUp.Length;
        int outputs = dy.Length;
        double[] exactWeights = Weights(weights, rows);
        double[] dGateUp = RowReference.Gradient(x => RowReference.SwiGlu(rows, intermediate, x, exactWeights), KernelCheck.Double(gateUp), KernelCheck.Double(dy));
        KernelCheck.Close(dGateUp, all[..inputs], 1e-6, 1e-5, "dGateUp");
        KernelCheck.Close(RowReference.SwiGlu(rows, intermediate, KernelCheck.Double(gateUp), exactWeights), all[inputs..(inputs + outputs)], 1e-30, 6e-7, "recomputed y");
        if (hasWeights)
        {
            double[] dWeights = RowReference.Gradient(x => RowReference.SwiGlu(rows, intermediate, KernelCheck.Double(gateUp), x), exactWeights, KernelCheck.Double(dy));
            KernelCheck.Close(dWeights, all[(inputs + outputs)..], 1e-5, 1e-5, "dRowWeights");
        }
    }

    [Theory]
    [InlineData(-1000f)]
    [InlineData(-88f)]
    [InlineData(0f)]
    [InlineData(1000f)]
    public void Extreme_gates_give_finite_results(float gate)
    {
        float[] gateUp = [gate, 2f];
        float[] dy = [3f];
        using WorkerPool workers = new(1);
        SwiGlu.Backward(workers, 1, 1, gateUp, [1f], dy, new float[1]);
        Assert.Equal(Math.Max(gate, 0f) * 2f, dy[0], 1e-30f);
        Assert.Equal(gate > 0 ? 6f : gate == 0 ? 3f : 0f, gateUp[0], 1e-30f);
        Assert.Equal(Math.Max(gate, 0f) * 3f, gateUp[1], 1e-30f);
    }

    [Fact]
    public void Nothing_is_allocated()
    {
        float[] gateUp = KernelCheck.Random(2 * 100 * 333, 1);
        float[] weights = KernelCheck.Random(100, 2);
        float[] y = new float[100 * 333];
        float[] dWeights = new float[100];
        KernelCheck.AllocatesNothing(workers =>
        {
            SwiGlu.Forward(workers, 100, 333, gateUp, weights, y);
            SwiGlu.Backward(workers, 100, 333, gateUp, weights, y, dWeights);
        });
    }

    private static double[] Weights(float[] weights, int rows) => weights.Length == 0 ? [.. Enumerable.Repeat(1.0, rows)] : KernelCheck.Double(weights);

    private static float[] Backward(WorkerPool workers, int rows, int intermediate, float[] gateUp, float[] weights, float[] dy)
    {
        float[] gradient = [.. gateUp];
        float[] output = [.. dy];
        float[] dWeights = new float[weights.Length];
        SwiGlu.Backward(workers, rows, intermediate, gradient, weights, output, dWeights);
        return [.. gradient, .. output, .. dWeights];
    }
}
