namespace MoeSharp.Classic;

/// <summary>Fits a hierarchical mixture: posteriors of branches and experts, then every gate and expert to its weighted cases, and again.</summary>
/// <remarks>
/// Jordan and Jacobs 1994, algorithms 1 and 2. With <see cref="GateFit.Newton"/> each part of the M-step raises its share of the expected log-likelihood or stays
/// as it is, so the log-likelihood never falls (generalised EM); this is checked after every iteration.
/// </remarks>
public sealed class ExpectationMaximization
{
    private const double Rounding = 1e-9; // of a log-likelihood: sums of tens of thousands of terms

    private readonly HierarchicalMixture _tree;
    private readonly CaseSet _cases;
    private readonly EmOptions _options;

    /// <summary>Prepares to fit a tree to cases.</summary>
    /// <exception cref="ConfigurationException">Sizes do not fit, an option is out of range, or a target has no density.</exception>
    public ExpectationMaximization(HierarchicalMixture tree, CaseSet cases, EmOptions options)
    {
        options.Validate();
        if (tree.Experts[0].InputSize != cases.InputSize || tree.Gates[0].InputSize != cases.GateInputSize || tree.TargetSize != cases.TargetSize)
        {
            throw new ConfigurationException($"the tree takes inputs of {tree.Experts[0].InputSize} (experts) and {tree.Gates[0].InputSize} (gates) numbers and gives {tree.TargetSize}; the cases have {cases.InputSize}, {cases.GateInputSize} and {cases.TargetSize}");
        }

        foreach (IExpertModel expert in tree.Experts)
        {
            expert.CheckTargets(cases);
        }

        (_tree, _cases, _options) = (tree, cases, options);
        Posteriors = new TreePosteriors(tree, cases);
    }

    /// <summary>Posteriors at the present parameters.</summary>
    public TreePosteriors Posteriors { get; private set; }

    /// <summary>Log-likelihood of all cases at the present parameters.</summary>
    public double LogLikelihood => Posteriors.LogLikelihood;

    /// <summary>One M-step from the present posteriors, then the posteriors after it.</summary>
    /// <returns>The accepted share of each gate's Newton step, in the order of the gates: 1, 1/2, ..., 0 when none was; NaN for a gate with one branch, which has nothing to fit, and for least squares.</returns>
    /// <exception cref="ConfigurationException">A system is singular to working precision.</exception>
    /// <exception cref="InvalidOperationException">The log-likelihood fell although every part was guarded: a defect of this code.</exception>
    public double[] Step()
    {
        for (int expert = 0; expert < _tree.Experts.Count; expert++)
        {
            _tree.Experts[expert].Refit(_cases, Posteriors.ExpertWeights(expert), Posteriors.ExpectedLogDensity(expert), _options, $"expert {expert}");
        }

        double[] shares = new double[_tree.Gates.Count];
        for (int gate = 0; gate < shares.Length; gate++)
        {
            shares[gate] = FitGate(gate);
        }

        double before = LogLikelihood;
        Posteriors = new TreePosteriors(_tree, _cases);
        if (_options.Gates == GateFit.Newton && !(LogLikelihood >= before - (Rounding * (1 + Math.Abs(before)))))
        {
            throw new InvalidOperationException($"the log-likelihood fell from {before:R} to {LogLikelihood:R} in an EM iteration");
        }

        return shares;
    }

    /// <summary>Iterates until an iteration gains less than <paramref name="leastGain"/> per case, or at most so often.</summary>
    /// <param name="maxIterations">Most iterations.</param>
    /// <param name="leastGain">Gain of log-likelihood per case below which to stop; 0 to use up the iterations.</param>
    /// <returns>The log-likelihood before the first iteration and after each.</returns>
    public IReadOnlyList<double> Run(int maxIterations, double leastGain)
    {
        List<double> values = [LogLikelihood];
        for (int iteration = 0; iteration < maxIterations; iteration++)
        {
            Step();
            values.Add(LogLikelihood);
            if (values[^1] - values[^2] < leastGain * _cases.Count)
            {
                break;
            }
        }

        return values;
    }

    private double FitGate(int gate)
    {
        MultinomialLogit logit = _tree.Gates[gate];
        if (logit.NumClasses == 1)
        {
            return double.NaN;
        }

        SoftClasses cases = new(_cases, isGateInput: true, Posteriors.Conditionals(gate), Posteriors.GateWeights(gate));
        if (_options.Gates == GateFit.Newton)
        {
            return logit.NewtonStep(cases, _options, $"gate {gate}");
        }

        logit.FitLogarithms(cases, _options, $"gate {gate}");
        return double.NaN;
    }
}
