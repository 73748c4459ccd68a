namespace MoeSharp.Classic.Arm;

/// <summary>What one run learns from and is measured on.</summary>
/// <param name="Train">Training cases, scaled.</param>
/// <param name="Test">Test cases, scaled alike.</param>
/// <param name="Scale">How they were scaled.</param>
/// <param name="Seed">Chooses first weights and orders.</param>
/// <param name="Cancellation">Stops between passes.</param>
internal sealed record ArmTask(CaseSet Train, CaseSet Test, ArmScale Scale, ulong Seed, CancellationToken Cancellation)
{
    /// <summary>What a model says for one case.</summary>
    public delegate void Prediction(CaseSet cases, int index, Span<double> output);

    /// <summary>Squared error on the test cases over that of always predicting the mean of their targets.</summary>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public double RelativeError(Prediction predict)
    {
        Cancellation.ThrowIfCancellationRequested();
        int size = Test.TargetSize;
        double[] mean = new double[size];
        for (int index = 0; index < Test.Count; index++)
        {
            SmallMatrix.AddScaled(mean, 1.0 / Test.Count, Test.Target(index));
        }

        double[] output = new double[size];
        (double error, double variance) = (0, 0);
        for (int index = 0; index < Test.Count; index++)
        {
            predict(Test, index, output);
            ReadOnlySpan<double> target = Test.Target(index);
            for (int i = 0; i < size; i++)
            {
                error += (target[i] - output[i]) * (target[i] - output[i]);
                variance += (target[i] - mean[i]) * (target[i] - mean[i]);
            }
        }

        return error / variance;
    }
}

/// <summary>Mean and deviation of every column of the training cases, which all cases are scaled with.</summary>
internal sealed class ArmScale
{
    private readonly double[] _mean;
    private readonly double[] _deviation;

    /// <summary>Measures rows of angles, velocities, torques and accelerations.</summary>
    public ArmScale(double[] rows, int size)
    {
        RunAverage[] columns = [.. Enumerable.Range(0, size).Select(column => RunAverage.Of(Enumerable.Range(0, rows.Length / size).Select(row => rows[(row * size) + column])))];
        _mean = [.. columns.Select(column => column.Mean)];
        _deviation = [.. columns.Select(column => column.Deviation)];
    }

    /// <summary>A scaled number of a column in its own unit again.</summary>
    public double Unscaled(int column, double value) => _mean[column] + (_deviation[column] * value);

    /// <summary>Inputs with a leading one, and targets.</summary>
    public CaseSet Cases(double[] rows)
    {
        int size = _mean.Length;
        int joints = size / 4;
        int count = rows.Length / size;
        double[] inputs = new double[count * 3 * joints];
        double[] targets = new double[count * joints];
        for (int index = 0; index < count; index++)
        {
            for (int column = 0; column < size; column++)
            {
                double scaled = (rows[(index * size) + column] - _mean[column]) / _deviation[column];
                if (column < 3 * joints)
                {
                    inputs[(index * 3 * joints) + column] = scaled;
                }
                else
                {
                    targets[(index * joints) + column - (3 * joints)] = scaled;
                }
            }
        }

        return new CaseSet(CaseSet.WithLeadingOne(inputs, 3 * joints), (3 * joints) + 1, targets, joints);
    }
}
