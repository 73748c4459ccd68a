using MoeSharp.Classic;
using MoeSharp.Kernels;

namespace MoeSharp.Verification.Routing;

/// <summary>Cases of the classic mixtures: local experts (1991) and trees of experts (1994).</summary>
internal static class ClassicCases
{
    private const int MostIterations = 10_000; // of expectation maximisation; real cases have ten

    /// <summary>Gate, posteriors, the three errors and their gradients.</summary>
    public static void CheckMixture(RoutingCase fixture, WorkerPool workers)
    {
        int[] sizes = fixture.Sizes("expert_outputs");
        if (sizes.Length != 3)
        {
            throw new FileFormatException($"expert_outputs is a list of depth {sizes.Length}, not [cases][experts][outputs]");
        }

        (int count, int experts, int size) = (sizes[0], sizes[1], sizes[2]);
        double[] outputs = Numbers(fixture, "expert_outputs", count, experts, size);
        double[] logits = Numbers(fixture, "gate_logits", count, experts);
        double[] targets = Numbers(fixture, "targets", count, size);
        double[] gate = (double[])logits.Clone();
        double[] posteriors = new double[logits.Length];
        for (int index = 0; index < count; index++)
        {
            LogWeights.Normalize(gate.AsSpan(index * experts, experts));
            ExpertErrors.Posteriors(outputs.AsSpan(index * experts * size, experts * size), logits.AsSpan(index * experts, experts), targets.AsSpan(index * size, size), posteriors.AsSpan(index * experts, experts));
        }

        fixture.Compare("gate", gate);
        fixture.Compare("posteriors", posteriors);
        foreach (ExpertError kind in Enum.GetValues<ExpertError>())
        {
            double[] errors = new double[count];
            double[] outputGradient = new double[outputs.Length];
            double[] logitGradient = new double[logits.Length];
            for (int index = 0; index < count; index++)
            {
                Range row = (index * experts * size)..((index + 1) * experts * size);
                Range gateRow = (index * experts)..((index + 1) * experts);
                errors[index] = ExpertErrors.Evaluate(kind, outputs.AsSpan()[row], logits.AsSpan()[gateRow], targets.AsSpan(index * size, size), outputGradient.AsSpan()[row], logitGradient.AsSpan()[gateRow]);
            }

            string name = kind.ToString().ToLowerInvariant();
            fixture.Compare($"{name}_error", errors);
            fixture.Compare($"grad_expert_outputs_of_{name}", outputGradient);
            fixture.Compare($"grad_gate_logits_of_{name}", logitGradient);
        }
    }

    /// <summary>Posteriors of branches and leaves, and the log-likelihood.</summary>
    public static void CheckPosteriors(RoutingCase fixture, WorkerPool workers)
    {
        CaseSet cases = Cases(fixture);
        HierarchicalMixture tree = Tree(fixture);
        TreePosteriors posteriors = new(tree, cases);
        int low = fixture.Int("num_branches_low");
        double[] conditional = new double[cases.Count * tree.Experts.Count]; // [cases, top, low]
        double[] joint = new double[conditional.Length];
        for (int index = 0; index < cases.Count; index++)
        {
            for (int expert = 0; expert < tree.Experts.Count; expert++)
            {
                conditional[(index * tree.Experts.Count) + expert] = posteriors.Conditionals(1 + (expert / low))[(index * low) + (expert % low)];
                joint[(index * tree.Experts.Count) + expert] = posteriors.ExpertWeights(expert)[index];
            }
        }

        fixture.Compare("posterior_top", posteriors.Conditionals(0));
        fixture.Compare("posterior_low", conditional);
        fixture.Compare("posterior_joint", joint);
        fixture.Compare("log_likelihood", posteriors.LogLikelihood);
    }

    /// <summary>Every parameter after one iteration, and the log-likelihood on both sides of it.</summary>
    public static void CheckStep(RoutingCase fixture, WorkerPool workers)
    {
        HierarchicalMixture tree = Tree(fixture);
        ExpectationMaximization fit = new(tree, Cases(fixture), Options(fixture));
        fixture.Compare("log_likelihood_before", fit.LogLikelihood);
        fixture.Compare("newton_step_sizes", fit.Step());
        fixture.Compare("log_likelihood_after", fit.LogLikelihood);
        CompareParameters(fixture, tree);
    }

    /// <summary>The log-likelihood of every iteration, and the parameters at the end.</summary>
    public static void CheckIterations(RoutingCase fixture, WorkerPool workers)
    {
        int iterations = fixture.Int("em_iterations");
        if (iterations is < 0 or > MostIterations)
        {
            throw new FileFormatException($"em_iterations {iterations} must be 0 to {MostIterations}");
        }

        HierarchicalMixture tree = Tree(fixture);
        fixture.Compare("log_likelihoods", [.. new ExpectationMaximization(tree, Cases(fixture), Options(fixture)).Run(iterations, double.NegativeInfinity)]);
        CompareParameters(fixture, tree);
    }

    private static void CompareParameters(RoutingCase fixture, HierarchicalMixture tree)
    {
        fixture.Compare("gate_top", tree.Gates[0].Weights.ToArray());
        fixture.Compare("gate_low", [.. tree.Gates.Skip(1).SelectMany(gate => gate.Weights.ToArray())]);
        fixture.Compare("experts", [.. tree.Experts.Cast<GaussianExpert>().SelectMany(expert => expert.Coefficients.ToArray())]);
        fixture.Compare("covariances", [.. tree.Experts.Cast<GaussianExpert>().SelectMany(expert => expert.Covariance.ToArray())]);
    }

    private static HierarchicalMixture Tree(RoutingCase fixture)
    {
        (int top, int low) = (fixture.Int("num_branches_top"), fixture.Int("num_branches_low"));
        (int inputs, int outputs) = (fixture.Int("input_size"), fixture.Int("output_size"));
        MultinomialLogit gate = new(Numbers(fixture, "gate_top", top, inputs), top, inputs);
        IEnumerable<MultinomialLogit> lower = Numbers(fixture, "gate_low", top, low, inputs).Chunk(low * inputs).Select(weights => new MultinomialLogit(weights, low, inputs));
        IEnumerable<IExpertModel> experts = Numbers(fixture, "experts", top, low, outputs, inputs).Chunk(outputs * inputs)
            .Zip(Numbers(fixture, "covariances", top, low, outputs, outputs).Chunk(outputs * outputs), (coefficients, covariance) => new GaussianExpert(coefficients, covariance, inputs, outputs));
        return new HierarchicalMixture([top, low], [gate, .. lower], [.. experts]);
    }

    private static CaseSet Cases(RoutingCase fixture)
    {
        int count = fixture.Sizes("x")[0];
        (int inputs, int outputs) = (fixture.Int("input_size"), fixture.Int("output_size"));
        return new CaseSet(Numbers(fixture, "x", count, inputs), inputs, Numbers(fixture, "y", count, outputs), outputs);
    }

    private static EmOptions Options(RoutingCase fixture) => new()
    {
        Ridge = fixture.Number("ridge"),
        VarianceFloor = fixture.Number("variance_floor"),
        LineSearchHalvings = fixture.Int("line_search_halvings"),
    };

    // The numbers of an input, which must be as many as its sizes say; none of these may be zero.
    private static double[] Numbers(RoutingCase fixture, string input, params ReadOnlySpan<int> sizes)
    {
        double[] numbers = fixture.Doubles(input);
        double wanted = 1;
        bool isPositive = true;
        foreach (int size in sizes)
        {
            wanted *= size;
            isPositive &= size > 0;
        }

        return isPositive && wanted == numbers.Length
            ? numbers
            : throw new FileFormatException($"{input} has {numbers.Length} numbers, which are not {string.Join(" x ", sizes.ToArray())}");
    }
}
