using MoeSharp.Kernels;

namespace MoeSharp.Tests.Kernels;

public sealed unsafe class VectorMathTests
{
    [Fact]
    public void Exp_stays_within_its_error_over_the_whole_range()
    {
        float[] x = new float[200_000];
        for (int i = 0; i < x.Length; i++)
        {
            x[i] = -86.4f + (i * (88.7f + 86.4f) / x.Length);
        }

        Within(x, Apply<Exp>(x), value => Math.Exp(value));
    }

    [Fact]
    public void Exp2_stays_within_its_error_over_the_whole_range()
    {
        float[] x = new float[200_000];
        for (int i = 0; i < x.Length; i++)
        {
            x[i] = -124.4f + (i * (127.99f + 124.4f) / x.Length);
        }

        Within(x, Apply<Exp2>(x), value => Math.Pow(2, value));
    }

    [Fact]
    public void Tanh_stays_within_its_error_near_zero_and_far_from_it()
    {
        float[] x = [.. Enumerable.Range(1, 100_000).Select(i => i * 2e-4f), 1e-30f, 1e-6f];
        float[] both = [.. x, .. x.Select(value => -value)];
        Within(both, Apply<Tanh>(both), Math.Tanh, 2.4e-7);
    }

    [Theory]
    [InlineData(0f, 0f)]
    [InlineData(float.PositiveInfinity, 1f)]
    [InlineData(float.NegativeInfinity, -1f)]
    [InlineData(-200f, -1f)]
    [InlineData(float.NaN, float.NaN)]
    public void Tanh_has_exact_ends(float x, float expected) => Assert.All(Apply<Tanh>(Enumerable.Repeat(x, 19).ToArray()), value => Assert.Equal(expected, value));

    [Theory]
    [InlineData(0f, 1f)]
    [InlineData(-87f, 0f)]
    [InlineData(-1e30f, 0f)]
    [InlineData(float.NegativeInfinity, 0f)]
    [InlineData(89.5f, float.PositiveInfinity)]
    [InlineData(1e30f, float.PositiveInfinity)]
    [InlineData(float.PositiveInfinity, float.PositiveInfinity)]
    [InlineData(float.NaN, float.NaN)]
    public void Exp_has_exact_ends(float x, float expected) => Assert.All(Apply<Exp>(Enumerable.Repeat(x, 19).ToArray()), value => Assert.Equal(expected, value));

    [Theory]
    [InlineData(0f, 1f)]
    [InlineData(3f, 8f)]
    [InlineData(127f, 1.7014118E+38f)]
    [InlineData(-124f, 4.7019774E-38f)]
    [InlineData(-125f, 0f)]
    [InlineData(-1e30f, 0f)]
    [InlineData(float.NegativeInfinity, 0f)]
    [InlineData(128f, float.PositiveInfinity)]
    [InlineData(float.PositiveInfinity, float.PositiveInfinity)]
    [InlineData(float.NaN, float.NaN)]
    public void Exp2_has_exact_ends(float x, float expected) => Assert.All(Apply<Exp2>(Enumerable.Repeat(x, 19).ToArray()), value => Assert.Equal(expected, value));

    private static void Within(float[] x, float[] y, Func<double, double> exact, double allowed = 1.2e-7)
    {
        double worst = 0;
        for (int i = 0; i < x.Length; i++)
        {
            worst = Math.Max(worst, Math.Abs((y[i] / exact(x[i])) - 1));
        }

        Assert.True(worst < allowed, $"largest relative error {worst:g3}");
    }

    private static float[] Apply<F>(float[] x)
        where F : struct, IFunction
    {
        using WorkerPool workers = new(1);
        float[] y = new float[x.Length];
        fixed (float* source = x, target = y)
        {
            LaneRows.Map(workers, x.Length, new FunctionMap<F> { X = source, Y = target });
        }

        return y;
    }

    private interface IFunction
    {
        static abstract V Of<L, V>(V x)
            where L : struct, ILanes<V>
            where V : unmanaged;
    }

    private struct FunctionMap<F> : ILaneMap
        where F : struct, IFunction
    {
        public float* X;
        public float* Y;

        public readonly void At<W, L, V>(W at)
            where W : struct, ILaneWindow<V>
            where L : struct, ILanes<V>
            where V : unmanaged => at.Store(Y, F.Of<L, V>(at.Load(X)));
    }

    private readonly struct Exp : IFunction
    {
        public static V Of<L, V>(V x)
            where L : struct, ILanes<V>
            where V : unmanaged => VectorMath.Exp<L, V>(x);
    }

    private readonly struct Exp2 : IFunction
    {
        public static V Of<L, V>(V x)
            where L : struct, ILanes<V>
            where V : unmanaged => VectorMath.Exp2<L, V>(x);
    }

    private readonly struct Tanh : IFunction
    {
        public static V Of<L, V>(V x)
            where L : struct, ILanes<V>
            where V : unmanaged => VectorMath.Tanh<L, V>(x);
    }
}
