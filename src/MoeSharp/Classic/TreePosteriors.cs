namespace MoeSharp.Classic;

/// <summary>The E-step: how probable each branch and each expert of a tree is for every case, once the target is known.</summary>
public sealed class TreePosteriors
{
    private readonly HierarchicalMixture _tree;
    private readonly int[] _firstGate; // of each level
    private readonly double[] _values;
    private readonly double[][] _conditionals;
    private readonly double[][] _gateWeights;
    private readonly double[][] _expertWeights;
    private readonly double[][] _logDensities;

    /// <summary>Computes the posteriors of all cases.</summary>
    /// <remarks>Upwards v = log sum_k exp(log g_k + v_k), where v of a leaf is its log density; then h_k = exp(log g_k + v_k - v), and downwards the products of h.</remarks>
    public TreePosteriors(HierarchicalMixture tree, CaseSet cases)
    {
        _tree = tree;
        _firstGate = [.. Enumerable.Range(0, tree.Branches.Count).Select(tree.FirstGate)];
        _values = new double[tree.Experts.Count];
        _conditionals = [.. tree.Gates.Select(gate => new double[cases.Count * gate.NumClasses])];
        _gateWeights = [.. tree.Gates.Select(_ => new double[cases.Count])];
        _expertWeights = [.. tree.Experts.Select(_ => new double[cases.Count])];
        _logDensities = [.. tree.Experts.Select(_ => new double[cases.Count])];
        for (int index = 0; index < cases.Count; index++)
        {
            LogLikelihood += Compute(cases, index);
        }
    }

    /// <summary>sum_t log P(y_t | x_t).</summary>
    public double LogLikelihood { get; }

    /// <summary>Posterior of each branch of a gate given that the case is the gate's: [cases, branches].</summary>
    public double[] Conditionals(int gate) => _conditionals[gate];

    /// <summary>Posterior of a gate's node: [cases]; one for the top.</summary>
    public double[] GateWeights(int gate) => _gateWeights[gate];

    /// <summary>Posterior of an expert: [cases].</summary>
    public double[] ExpertWeights(int expert) => _expertWeights[expert];

    /// <summary>sum_t h_t log P(y_t | x_t) of an expert, at the parameters that the posteriors were computed with.</summary>
    public double ExpectedLogDensity(int expert)
    {
        double sum = 0;
        for (int index = 0; index < _expertWeights[expert].Length; index++)
        {
            double weight = _expertWeights[expert][index];
            sum += weight == 0 ? 0 : weight * _logDensities[expert][index];
        }

        return sum;
    }

    // The posteriors of one case; returns log P(y | x).
    private double Compute(CaseSet cases, int index)
    {
        for (int expert = 0; expert < _values.Length; expert++)
        {
            _values[expert] = _tree.Experts[expert].LogDensity(cases.Input(index), cases.Target(index));
            _logDensities[expert][index] = _values[expert];
        }

        for (int level = _tree.Branches.Count - 1; level >= 0; level--)
        {
            Upwards(level, cases.GateInput(index), index);
        }

        _gateWeights[0][index] = 1;
        for (int level = 0; level < _tree.Branches.Count; level++)
        {
            Downwards(level, index);
        }

        return _values[0];
    }

    private void Upwards(int level, ReadOnlySpan<double> gateInput, int index)
    {
        int branching = _tree.Branches[level];
        for (int node = 0; node < NumNodes(level); node++)
        {
            int gate = _firstGate[level] + node;
            Span<double> posterior = _conditionals[gate].AsSpan(index * branching, branching);
            _tree.Gates[gate].LogProbabilities(gateInput, posterior);
            for (int k = 0; k < branching; k++)
            {
                posterior[k] += _values[(node * branching) + k];
            }

            _values[node] = LogWeights.Normalize(posterior); // values are read before they are overwritten: node <= node * branching
        }
    }

    private void Downwards(int level, int index)
    {
        int branching = _tree.Branches[level];
        bool isLast = level == _tree.Branches.Count - 1;
        for (int node = 0; node < NumNodes(level); node++)
        {
            int gate = _firstGate[level] + node;
            for (int k = 0; k < branching; k++)
            {
                int child = (node * branching) + k;
                double[] below = isLast ? _expertWeights[child] : _gateWeights[_firstGate[level + 1] + child];
                below[index] = _gateWeights[gate][index] * _conditionals[gate][(index * branching) + k];
            }
        }
    }

    private int NumNodes(int level) => (level + 1 < _firstGate.Length ? _firstGate[level + 1] : _tree.Gates.Count) - _firstGate[level];
}
