namespace MoeSharp.Classic;

/// <summary>Probabilities of classes by a softmax over linear functions of an input, fitted to soft targets: a gate, and the core of an expert for classes.</summary>
/// <remarks>
/// The objective is sum_t w_t sum_k h_tk log g_k(x_t). Its gradient by the weights of class k is sum_t w_t (h_tk - g_k) x_t, its negative Hessian has the blocks
/// sum_t w_t g_k (delta_kl - g_l) x_t x_t'. Rows of blocks sum to zero, so the last block of each row is not added up. Jordan and Jacobs 1994, appendix B.
/// </remarks>
public sealed class MultinomialLogit
{
    private readonly double[] _weights; // [classes, input]

    /// <summary>Creates one from weights.</summary>
    /// <param name="weights">[numClasses, inputSize]; copied.</param>
    /// <param name="numClasses">Classes.</param>
    /// <param name="inputSize">Numbers per input.</param>
    public MultinomialLogit(ReadOnlySpan<double> weights, int numClasses, int inputSize)
    {
        if (numClasses < 1 || inputSize < 1 || weights.Length != numClasses * inputSize)
        {
            throw new ConfigurationException($"{weights.Length} gate weights are not {numClasses} rows of {inputSize}; give one row per branch");
        }

        _weights = weights.ToArray();
        (NumClasses, InputSize) = (numClasses, inputSize);
    }

    /// <summary>Classes.</summary>
    public int NumClasses { get; }

    /// <summary>Numbers per input.</summary>
    public int InputSize { get; }

    /// <summary>[classes, input size]; writing to it changes the model.</summary>
    public Span<double> Weights => _weights;

    /// <summary>Logarithms of the probabilities.</summary>
    /// <param name="x">[input size].</param>
    /// <param name="logProbabilities">= log g: [classes].</param>
    public void LogProbabilities(ReadOnlySpan<double> x, Span<double> logProbabilities)
    {
        SmallMatrix.Multiply(_weights, x, logProbabilities);
        LogWeights.LogSoftmax(logProbabilities);
    }

    /// <summary>One Newton step on the objective, halved while the objective falls; when no length is accepted, the weights stay.</summary>
    /// <param name="cases">Soft targets and weights of the cases.</param>
    /// <param name="options">Ridge and number of halvings.</param>
    /// <param name="what">What is fitted, for error messages.</param>
    /// <returns>The accepted share of the step: 1, 1/2, ..., or 0 when none was.</returns>
    /// <exception cref="ConfigurationException">The system is singular to working precision.</exception>
    public double NewtonStep(SoftClasses cases, EmOptions options, string what)
    {
        int size = NumClasses * InputSize;
        double[] step = new double[size];
        (double before, double[] hessian) = Expand(cases, step);
        for (int i = 0; i < size; i++)
        {
            hessian[(i * size) + i] += options.Ridge;
        }

        WeightedLeastSquares.Factor(hessian, size, what).Solve(step);
        double[] old = (double[])_weights.Clone();
        double share = 1;
        for (int halving = 0; halving <= options.LineSearchHalvings; halving++, share /= 2)
        {
            for (int i = 0; i < size; i++)
            {
                _weights[i] = old[i] + (share * step[i]);
            }

            if (Objective(cases) >= before)
            {
                return share;
            }
        }

        old.CopyTo(_weights, 0);
        return 0;
    }

    /// <summary>Least squares on the logarithms of the soft targets, each case's centred over its classes: what a softmax needs of them.</summary>
    /// <param name="cases">Soft targets and weights of the cases.</param>
    /// <param name="options">Ridge and the smallest target.</param>
    /// <param name="what">What is fitted, for error messages.</param>
    public void FitLogarithms(SoftClasses cases, EmOptions options, string what)
    {
        WeightedLeastSquares system = new(InputSize, NumClasses);
        double[] logs = new double[NumClasses];
        for (int index = 0; index < cases.Count; index++)
        {
            LogTargets(cases.Targets(index), options.PosteriorFloor, logs);
            system.Add(cases.Cases, index, cases.IsGateInput, cases.Weights[index], logs);
        }

        system.Solve(options.Ridge, what).CopyTo(_weights, 0);
    }

    /// <summary>sum_t w_t sum_k h_tk log g_k(x_t).</summary>
    public double Objective(SoftClasses cases)
    {
        double[] logs = new double[NumClasses];
        double sum = 0;
        for (int index = 0; index < cases.Count; index++)
        {
            if (cases.Weights[index] != 0)
            {
                LogProbabilities(cases.Input(index), logs);
                sum += cases.Weights[index] * Cross(cases.Targets(index), logs);
            }
        }

        return sum;
    }

    /// <summary>Logarithms of probabilities, centred: the logits that a softmax needs to give them.</summary>
    /// <param name="probabilities">[classes].</param>
    /// <param name="floor">Smallest probability that is aimed at.</param>
    /// <param name="logs">= [classes].</param>
    internal void LogTargets(ReadOnlySpan<double> probabilities, double floor, Span<double> logs)
    {
        double sum = 0;
        for (int k = 0; k < NumClasses; k++)
        {
            logs[k] = Math.Log(Math.Max(probabilities[k], floor));
            sum += logs[k];
        }

        for (int k = 0; k < NumClasses; k++)
        {
            logs[k] -= sum / NumClasses;
        }
    }

    // The objective, its gradient and its negative Hessian [classes * input, classes * input] (lower triangle).
    private (double Objective, double[] Hessian) Expand(SoftClasses cases, Span<double> gradient)
    {
        int packed = SmallMatrix.PackedSize(InputSize);
        double[][] blocks = new double[NumClasses * (NumClasses - 1) / 2][]; // sum w g_k g_l x x' for l < k
        for (int block = 0; block < blocks.Length; block++)
        {
            blocks[block] = new double[packed];
        }

        double[] scratch = new double[packed];
        double[] logs = new double[NumClasses];
        double[] gate = new double[NumClasses];
        double objective = 0;
        for (int index = 0; index < cases.Count; index++)
        {
            double weight = cases.Weights[index];
            if (weight == 0)
            {
                continue;
            }

            ReadOnlySpan<double> x = cases.Input(index);
            ReadOnlySpan<double> square = cases.Cases.Square(index, cases.IsGateInput, scratch);
            ReadOnlySpan<double> targets = cases.Targets(index);
            LogProbabilities(x, logs);
            objective += weight * Cross(targets, logs);
            int block = 0;
            for (int k = 0; k < NumClasses; k++)
            {
                gate[k] = Math.Exp(logs[k]);
                SmallMatrix.AddScaled(gradient.Slice(k * InputSize, InputSize), weight * (targets[k] - gate[k]), x);
                for (int l = 0; l < k; l++, block++)
                {
                    SmallMatrix.AddScaled(blocks[block], weight * gate[k] * gate[l], square);
                }
            }
        }

        return (objective, Assemble(blocks));
    }

    // Off the diagonal -S_kl, on it the sum of the block row's S.
    private double[] Assemble(double[][] blocks)
    {
        int size = NumClasses * InputSize;
        double[] hessian = new double[size * size];
        int block = 0;
        for (int k = 0; k < NumClasses; k++)
        {
            for (int l = 0; l < k; l++, block++)
            {
                for (int row = 0; row < InputSize; row++)
                {
                    for (int column = 0; column < InputSize; column++)
                    {
                        double value = SmallMatrix.Packed(blocks[block], row, column);
                        hessian[(((k * InputSize) + row) * size) + (l * InputSize) + column] -= value;
                        hessian[(((k * InputSize) + row) * size) + (k * InputSize) + column] += value;
                        hessian[(((l * InputSize) + row) * size) + (l * InputSize) + column] += value;
                    }
                }
            }
        }

        return hessian;
    }

    // A target of zero counts nothing, even where the probability has underflowed.
    private static double Cross(ReadOnlySpan<double> targets, ReadOnlySpan<double> logs)
    {
        double sum = 0;
        for (int k = 0; k < logs.Length; k++)
        {
            sum += targets[k] == 0 ? 0 : targets[k] * logs[k];
        }

        return sum;
    }
}

/// <summary>Cases with a probability per class as target and a weight each.</summary>
/// <param name="cases">Where the inputs are.</param>
/// <param name="isGateInput">Whether to take what gates see.</param>
/// <param name="targets">[cases, classes].</param>
/// <param name="weights">[cases], 0 or more.</param>
public readonly struct SoftClasses(CaseSet cases, bool isGateInput, double[] targets, double[] weights)
{
    private readonly int _classes = targets.Length / weights.Length;

    /// <summary>Number of cases.</summary>
    public int Count => Weights.Length;

    /// <summary>Weights of the cases.</summary>
    public double[] Weights { get; } = weights;

    /// <summary>Input of a case.</summary>
    public ReadOnlySpan<double> Input(int index) => IsGateInput ? Cases.GateInput(index) : Cases.Input(index);

    /// <summary>Where the inputs are.</summary>
    internal CaseSet Cases { get; } = cases;

    /// <summary>Whether inputs are what gates see.</summary>
    internal bool IsGateInput { get; } = isGateInput;

    /// <summary>Class probabilities that are aimed at.</summary>
    public ReadOnlySpan<double> Targets(int index) => targets.AsSpan(index * _classes, _classes);
}
