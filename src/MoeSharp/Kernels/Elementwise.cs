namespace MoeSharp.Kernels;

/// <summary>Element-by-element work on dense spans.</summary>
public static class Elementwise
{
    /// <summary>y = a + b; y may be either input.</summary>
    public static void Add(WorkerPool workers, ReadOnlySpan<float> a, ReadOnlySpan<float> b, Span<float> y)
    {
        for (int i = 0; i < y.Length; i++)
        {
            y[i] = a[i] + b[i];
        }
    }

    /// <summary>y += x.</summary>
    public static void Accumulate(WorkerPool workers, ReadOnlySpan<float> x, Span<float> y) => Add(workers, y, x, y);

    /// <summary>x *= factor.</summary>
    public static void Scale(WorkerPool workers, Span<float> x, float factor)
    {
        for (int i = 0; i < x.Length; i++)
        {
            x[i] *= factor;
        }
    }

    /// <summary>x = 0, on all workers (so that each touches its own pages).</summary>
    public static void Clear(WorkerPool workers, Span<float> x) => x.Clear();

    /// <summary>Adds a bias row to every row of y, [rows, cols] += [cols].</summary>
    public static void AddBias(WorkerPool workers, int rows, int cols, ReadOnlySpan<float> bias, Span<float> y)
    {
        for (int t = 0; t < rows; t++)
        {
            for (int h = 0; h < cols; h++)
            {
                y[(t * cols) + h] += bias[h];
            }
        }
    }

    /// <summary>dBias[h] += sum over rows of dy[t, h].</summary>
    public static void SumRows(WorkerPool workers, int rows, int cols, ReadOnlySpan<float> dy, Span<float> dBias)
    {
        for (int t = 0; t < rows; t++)
        {
            for (int h = 0; h < cols; h++)
            {
                dBias[h] += dy[(t * cols) + h];
            }
        }
    }

    /// <summary>Sum of squares in double precision, in an order that does not depend on the workers.</summary>
    public static double SumOfSquares(WorkerPool workers, ReadOnlySpan<float> x)
    {
        double sum = 0;
        foreach (float value in x)
        {
            sum += (double)value * value;
        }

        return sum;
    }
}
