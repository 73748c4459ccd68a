namespace MoeSharp.Classic;

/// <summary>Steps against the gradient, with momentum: v = momentum v - rate g, w += v.</summary>
/// <param name="model">What is trained; its weights are changed.</param>
/// <param name="rate">Step size.</param>
/// <param name="momentum">Share of the last step that is taken again; 0 for none.</param>
public sealed class GradientDescent(IGradientModel model, double rate, double momentum)
{
    private readonly double[] _gradient = new double[model.Parameters.Length];
    private readonly double[] _velocity = new double[model.Parameters.Length];

    /// <summary>One pass over all cases and one step along the mean gradient.</summary>
    /// <returns>The mean error before the step.</returns>
    /// <exception cref="TrainingException">The error is not finite: the rate is too large.</exception>
    public double Batch(CaseSet cases)
    {
        double error = 0;
        for (int index = 0; index < cases.Count; index++)
        {
            error += model.AddGradient(cases, index, _gradient);
        }

        Step(1.0 / cases.Count, error);
        return error / cases.Count;
    }

    /// <summary>One pass over all cases with a step after each.</summary>
    /// <param name="cases">Cases.</param>
    /// <param name="order">The order in which they are taken.</param>
    /// <returns>The mean error, each case before its step.</returns>
    /// <exception cref="TrainingException">The error is not finite: the rate is too large.</exception>
    public double Online(CaseSet cases, ReadOnlySpan<int> order)
    {
        double error = 0;
        foreach (int index in order)
        {
            error += model.AddGradient(cases, index, _gradient);
            Step(1, error);
        }

        return error / order.Length;
    }

    private void Step(double share, double error)
    {
        if (!double.IsFinite(error))
        {
            throw new TrainingException($"the error is not finite any more; a rate of {rate} is too large for these inputs");
        }

        Span<double> weights = model.Parameters;
        for (int i = 0; i < weights.Length; i++)
        {
            _velocity[i] = (momentum * _velocity[i]) - (rate * share * _gradient[i]);
            weights[i] += _velocity[i];
            _gradient[i] = 0;
        }
    }
}
