using MoeSharp.Kernels;

namespace MoeSharp.Tests.Kernels;

/// <summary>Rows of doubles of every length around the vector's.</summary>
public sealed class DoubleRowsTests
{
    [Fact]
    public void Rows_of_every_length_give_what_plain_loops_give()
    {
        for (int length = 0; length <= 19; length++)
        {
            double[] a = [.. Enumerable.Range(0, length).Select(i => Math.Sin(i + 1))];
            double[] b = [.. Enumerable.Range(0, length + 2).Select(i => Math.Cos(3 * i))];
            double[] y = [.. Enumerable.Range(0, length + 2).Select(i => (double)i)];
            Assert.Equal(a.Zip(b, (first, second) => first * second).Sum(), DoubleRows.Dot(a, b), 1e-13);
            DoubleRows.AddScaled(y, -1.5, a);
            for (int i = 0; i < y.Length; i++)
            {
                Assert.Equal(i < length ? i - (1.5 * a[i]) : i, y[i]);
            }
        }
    }
}
