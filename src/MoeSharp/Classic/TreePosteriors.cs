namespace MoeSharp.Classic;

/// <summary>The E-step: how probable each branch and each expert of a tree is for every case, once the target is known.</summary>
public sealed class TreePosteriors
{
    private readonly double[][] _conditionals;
    private readonly double[][] _gateWeights;
    private readonly double[][] _expertWeights;
    private readonly double[][] _logDensities;

    /// <summary>Computes the posteriors of all cases.</summary>
    /// <remarks>Upwards v = log sum_k exp(log g_k + v_k), where v of a leaf is its log density; then h_k = exp(log g_k + v_k - v), and downwards the products of h.</remarks>
    public TreePosteriors(HierarchicalMixture tree, CaseSet cases)
    {
        _conditionals = [.. tree.Gates.Select(gate => new double[cases.Count * gate.NumClasses])];
        _gateWeights = [.. tree.Gates.Select(_ => new double[cases.Count])];
        _expertWeights = [.. tree.Experts.Select(_ => new double[cases.Count])];
        _logDensities = [.. tree.Experts.Select(_ => new double[cases.Count])];
        int[] firstGate = [.. Enumerable.Range(0, tree.Branches.Count).Select(tree.FirstGate)];
        double[] values = new double[tree.Experts.Count];
        for (int index = 0; index < cases.Count; index++)
        {
            for (int expert = 0; expert < values.Length; expert++)
            {
                values[expert] = tree.Experts[expert].LogDensity(cases.Input(index), cases.Target(index));
                _logDensities[expert][index] = values[expert];
            }

            LogLikelihood += Upwards(tree, cases, index, firstGate, values);
            Downwards(tree, index, firstGate);
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

    private double Upwards(HierarchicalMixture tree, CaseSet cases, int index, int[] firstGate, double[] values)
    {
        for (int level = tree.Branches.Count - 1; level >= 0; level--)
        {
            int branching = tree.Branches[level];
            int nodes = NumNodes(tree, firstGate, level);
            for (int node = 0; node < nodes; node++)
            {
                int gate = firstGate[level] + node;
                Span<double> posterior = _conditionals[gate].AsSpan(index * branching, branching);
                tree.Gates[gate].LogProbabilities(cases.GateInput(index), posterior);
                for (int k = 0; k < branching; k++)
                {
                    posterior[k] += values[(node * branching) + k];
                }

                values[node] = LogWeights.Normalize(posterior); // nodes are read before they are overwritten: node <= node * branching
            }
        }

        return values[0];
    }

    private void Downwards(HierarchicalMixture tree, int index, int[] firstGate)
    {
        _gateWeights[0][index] = 1;
        for (int level = 0; level < tree.Branches.Count; level++)
        {
            int branching = tree.Branches[level];
            bool isLast = level == tree.Branches.Count - 1;
            int nodes = NumNodes(tree, firstGate, level);
            for (int node = 0; node < nodes; node++)
            {
                int gate = firstGate[level] + node;
                for (int k = 0; k < branching; k++)
                {
                    double weight = _gateWeights[gate][index] * _conditionals[gate][(index * branching) + k];
                    double[] below = isLast ? _expertWeights[(node * branching) + k] : _gateWeights[firstGate[level + 1] + (node * branching) + k];
                    below[index] = weight;
                }
            }
        }
    }

    private static int NumNodes(HierarchicalMixture tree, int[] firstGate, int level) =>
        (level + 1 < firstGate.Length ? firstGate[level + 1] : tree.Gates.Count) - firstGate[level];
}
