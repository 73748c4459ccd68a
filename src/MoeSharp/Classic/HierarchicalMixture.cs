namespace MoeSharp.Classic;

/// <summary>A hierarchical mixture of experts: a tree whose inner nodes are gates and whose leaves are experts, of any depth and branching.</summary>
/// <remarks>
/// Jordan and Jacobs: Hierarchical mixtures of experts and the EM algorithm, Neural Computation 6, 1994. All nodes of a level have the same number of branches.
/// Gates and experts are numbered level by level from the left: branch k of node n of a level with B branches is node n B + k of the next level. The density of a
/// target is sum over leaves of the product of the gates' probabilities on the way there and the leaf's density.
/// </remarks>
public sealed class HierarchicalMixture
{
    private readonly int[] _branches;
    private readonly MultinomialLogit[] _gates;
    private readonly IExpertModel[] _experts;

    /// <summary>Puts gates and experts together.</summary>
    /// <param name="branches">Branches per node, from the top level down; at least one level.</param>
    /// <param name="gates">All gates, level by level.</param>
    /// <param name="experts">All experts, from the left.</param>
    /// <exception cref="ConfigurationException">The numbers of gates, branches and experts do not make a tree, or sizes differ between nodes.</exception>
    public HierarchicalMixture(IReadOnlyList<int> branches, IReadOnlyList<MultinomialLogit> gates, IReadOnlyList<IExpertModel> experts)
    {
        long nodes = 1;
        int gate = 0;
        foreach (int branching in branches)
        {
            if (branching < 1 || nodes * branching > int.MaxValue)
            {
                throw new ConfigurationException($"a tree with {string.Join(" x ", branches)} branches cannot be built; every level needs at least one branch");
            }

            for (long node = 0; node < nodes; node++, gate++)
            {
                if (gate >= gates.Count || gates[gate].NumClasses != branching || gates[gate].InputSize != gates[0].InputSize)
                {
                    throw new ConfigurationException($"gate {gate} of a tree with {string.Join(" x ", branches)} branches is missing, has another number of branches than {branching}, or another input size than gate 0");
                }
            }

            nodes *= branching;
        }

        if (branches.Count == 0 || gate != gates.Count || nodes != experts.Count)
        {
            throw new ConfigurationException($"a tree with {string.Join(" x ", branches)} branches has {gate} gates and {nodes} experts, not {gates.Count} and {experts.Count}");
        }

        if (experts.Any(expert => expert.InputSize != experts[0].InputSize || expert.TargetSize != experts[0].TargetSize))
        {
            throw new ConfigurationException("the experts of a tree must have the same input and target sizes");
        }

        _branches = [.. branches];
        _gates = [.. gates];
        _experts = [.. experts];
    }

    /// <summary>Branches per node, from the top level down.</summary>
    public IReadOnlyList<int> Branches => _branches;

    /// <summary>All gates, level by level.</summary>
    public IReadOnlyList<MultinomialLogit> Gates => _gates;

    /// <summary>All experts, from the left.</summary>
    public IReadOnlyList<IExpertModel> Experts => _experts;

    /// <summary>Numbers per target.</summary>
    public int TargetSize => _experts[0].TargetSize;

    /// <summary>Numbers that are fitted.</summary>
    public int ParameterCount => _gates.Sum(gate => gate.Weights.Length) + _experts.Sum(expert => expert.ParameterCount);

    /// <summary>A tree of Gaussian experts to begin with: all experts at the least squares solution of all cases, gates random.</summary>
    /// <param name="branches">Branches per node, from the top level down.</param>
    /// <param name="cases">Training cases.</param>
    /// <param name="gateDeviation">Standard deviation of the gates' weights; what breaks the symmetry.</param>
    /// <param name="options">Ridge and floor of the first fit.</param>
    /// <param name="seed">Chooses the gates.</param>
    public static HierarchicalMixture StartGaussian(IReadOnlyList<int> branches, CaseSet cases, double gateDeviation, EmOptions options, ulong seed)
    {
        options.Validate();
        int size = cases.TargetSize;
        double[] covariance = new double[size * size];
        for (int i = 0; i < size; i++)
        {
            covariance[i * (size + 1)] = 1;
        }

        double[] ones = new double[cases.Count];
        Array.Fill(ones, 1.0);
        GaussianExpert all = new(new double[size * cases.InputSize], covariance, cases.InputSize, size);
        all.Refit(cases, ones, double.NegativeInfinity, options, "the first fit of all cases");
        return Start(branches, cases.GateInputSize, gateDeviation, seed, () => new GaussianExpert(all.Coefficients, all.Covariance, cases.InputSize, size));
    }

    /// <summary>A tree with random gates and experts of any kind.</summary>
    /// <param name="branches">Branches per node, from the top level down.</param>
    /// <param name="gateInputSize">Numbers per input of a gate.</param>
    /// <param name="gateDeviation">Standard deviation of the gates' weights.</param>
    /// <param name="seed">Chooses the gates.</param>
    /// <param name="expert">Makes one expert.</param>
    public static HierarchicalMixture Start(IReadOnlyList<int> branches, int gateInputSize, double gateDeviation, ulong seed, Func<IExpertModel> expert)
    {
        SeededNumbers random = new(seed, 0);
        List<MultinomialLogit> gates = [];
        int nodes = 1;
        foreach (int branching in branches)
        {
            double[] weights = new double[Math.Max(branching, 1) * gateInputSize];
            for (int node = 0; node < nodes; node++)
            {
                random.FillNormal(weights, gateDeviation);
                gates.Add(new MultinomialLogit(weights, Math.Max(branching, 1), gateInputSize));
            }

            nodes = checked(nodes * branching);
        }

        return new HierarchicalMixture(branches, gates, [.. Enumerable.Range(0, nodes).Select(_ => expert())]);
    }

    /// <summary>Index of the first gate of a level.</summary>
    public int FirstGate(int level)
    {
        (int first, int nodes) = (0, 1);
        for (int above = 0; above < level; above++)
        {
            first += nodes;
            nodes *= _branches[above];
        }

        return first;
    }

    /// <summary>Prior probability of every expert: the product of the gates on the way to it.</summary>
    /// <param name="gateInput">What the gates see.</param>
    /// <param name="logPriors">= log probabilities: [experts].</param>
    public void LogPriors(ReadOnlySpan<double> gateInput, Span<double> logPriors)
    {
        logPriors.Clear();
        int gate = 0;
        int below = _experts.Length; // leaves below a node of this level
        Span<double> logs = new double[_branches.Max()];
        foreach (int branching in _branches)
        {
            for (int first = 0; first < _experts.Length; first += below, gate++)
            {
                _gates[gate].LogProbabilities(gateInput, logs[..branching]);
                int share = below / branching;
                for (int leaf = 0; leaf < below; leaf++)
                {
                    logPriors[first + leaf] += logs[leaf / share];
                }
            }

            below /= branching;
        }
    }

    /// <summary>E[y | x]: the experts' means, weighted with their prior probabilities.</summary>
    /// <param name="cases">Cases.</param>
    /// <param name="index">Which of them.</param>
    /// <param name="output">= [target size].</param>
    public void Predict(CaseSet cases, int index, Span<double> output)
    {
        Span<double> priors = new double[_experts.Length];
        Span<double> mean = new double[TargetSize];
        LogPriors(cases.GateInput(index), priors);
        output.Clear();
        for (int expert = 0; expert < _experts.Length; expert++)
        {
            _experts[expert].Mean(cases.Input(index), mean);
            SmallMatrix.AddScaled(output, Math.Exp(priors[expert]), mean);
        }
    }
}
