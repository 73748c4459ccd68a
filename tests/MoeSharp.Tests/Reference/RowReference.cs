namespace MoeSharp.Tests.Reference;

/// <summary>Row kernels as their formulas read, in double precision, for comparison only.</summary>
internal static class RowReference
{
    public static double[] RmsNorm(int rows, int cols, double[] x, double[] weight, double epsilon)
    {
        double[] y = new double[rows * cols];
        for (int t = 0; t < rows; t++)
        {
            double meanSquare = x.Skip(t * cols).Take(cols).Sum(value => value * value) / cols;
            for (int h = 0; h < cols; h++)
            {
                y[(t * cols) + h] = weight[h] * x[(t * cols) + h] / Math.Sqrt(meanSquare + epsilon);
            }
        }

        return y;
    }

    public static double[] SwiGlu(int rows, int intermediate, double[] gateUp, double[] rowWeights)
    {
        double[] y = new double[rows * intermediate];
        for (int r = 0; r < rows; r++)
        {
            for (int f = 0; f < intermediate; f++)
            {
                double gate = gateUp[(r * 2 * intermediate) + f];
                double up = gateUp[(r * 2 * intermediate) + intermediate + f];
                y[(r * intermediate) + f] = rowWeights[r] * gate / (1 + Math.Exp(-gate)) * up;
            }
        }

        return y;
    }

    public static double LogSumExp(double[] x, int row, int cols)
    {
        double[] values = x[(row * cols)..((row + 1) * cols)];
        double max = values.Max();
        return double.IsNegativeInfinity(max) ? max : max + Math.Log(values.Sum(value => Math.Exp(value - max)));
    }

    public static double[] Softmax(int rows, int cols, double[] x)
    {
        double[] y = new double[rows * cols];
        for (int t = 0; t < rows; t++)
        {
            double logSumExp = LogSumExp(x, t, cols);
            for (int i = 0; i < cols && !double.IsNegativeInfinity(logSumExp); i++)
            {
                y[(t * cols) + i] = Math.Exp(x[(t * cols) + i] - logSumExp);
            }
        }

        return y;
    }

    public static double[] CrossEntropy(int rows, int vocab, double[] logits, int[] targets)
    {
        double[] losses = new double[rows];
        for (int t = 0; t < rows; t++)
        {
            losses[t] = targets[t] < 0 ? 0 : LogSumExp(logits, t, vocab) - logits[(t * vocab) + targets[t]];
        }

        return losses;
    }

    /// <summary>Central difference of the weighted sum of a function's results, for every input value.</summary>
    public static double[] Gradient(Func<double[], double[]> function, double[] x, double[] dy)
    {
        const double Step = 1e-5; // truncation and rounding errors of the difference are both near 1e-9
        double[] gradient = new double[x.Length];
        double[] moved = [.. x];
        for (int i = 0; i < x.Length; i++)
        {
            moved[i] = x[i] + Step;
            double above = function(moved).Zip(dy, (value, weight) => value * weight).Sum();
            moved[i] = x[i] - Step;
            double below = function(moved).Zip(dy, (value, weight) => value * weight).Sum();
            moved[i] = x[i];
            gradient[i] = (above - below) / (2 * Step);
        }

        return gradient;
    }
}
