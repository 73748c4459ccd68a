using System.Text.Json;
using MoeSharp.Classic;

namespace MoeSharp.Verification.Routing;

/// <summary>Computes what a case of the classic kinds expects: mixtures of local experts (1991) and hierarchical mixtures (1994).</summary>
internal static class ClassicCases
{
    private static readonly (string Kind, Func<JsonElement, JsonElement, Dictionary<string, double[]>> Compute)[] s_kinds =
    [
        ("classic/mixture_1991", (_, inputs) => Mixture(inputs)),
        ("classic/hme_e_step", Expectation),
        ("classic/hme_m_step", OneStep),
        ("classic/hme_em", Iterations),
    ];

    /// <summary>Kinds that this class knows.</summary>
    public static IEnumerable<string> Kinds => s_kinds.Select(kind => kind.Kind);

    /// <summary>Every value of a case, by the name under which it is expected; rows one after another, NaN for null.</summary>
    /// <param name="fixture">The case, parsed.</param>
    /// <exception cref="FileFormatException">The kind is not a classic one.</exception>
    public static IReadOnlyDictionary<string, double[]> Compute(JsonElement fixture)
    {
        string? name = fixture.GetProperty("kind").GetString();
        int kind = Array.FindIndex(s_kinds, known => known.Kind == name);
        return kind >= 0
            ? s_kinds[kind].Compute(fixture.GetProperty("config"), fixture.GetProperty("inputs"))
            : throw new FileFormatException($"'{name}' is no kind of a classic case; known are {string.Join(", ", Kinds)}");
    }

    /// <summary>Compares every expected field of a case.</summary>
    /// <param name="fixture">The case, parsed.</param>
    /// <returns>One comparison per expected field; a field that is not computed has failed.</returns>
    public static IReadOnlyList<VerificationCheck> Compare(JsonElement fixture)
    {
        IReadOnlyDictionary<string, double[]> computed = Compute(fixture);
        List<VerificationCheck> checks = [];
        foreach (JsonProperty field in fixture.GetProperty("expected").EnumerateObject())
        {
            double[] expected = Flatten(field.Value);
            JsonElement tolerance = fixture.GetProperty("tolerance").GetProperty(field.Name);
            double largest = expected.Where(double.IsFinite).Select(Math.Abs).DefaultIfEmpty(0).Max();
            double allowed = tolerance.ValueKind == JsonValueKind.String ? 0 : tolerance.GetProperty("abs").GetDouble() + (tolerance.GetProperty("rel").GetDouble() * largest);
            checks.Add(computed.TryGetValue(field.Name, out double[]? values) && values.Length == expected.Length
                ? new VerificationCheck(field.Name, "max abs", Largest(values, expected), allowed, $"{expected.Length} values")
                : new VerificationCheck(field.Name, "not computed", double.PositiveInfinity, allowed, ""));
        }

        return checks;
    }

    private static Dictionary<string, double[]> Mixture(JsonElement inputs)
    {
        double[] outputs = Flatten(inputs.GetProperty("expert_outputs"));
        double[] logits = Flatten(inputs.GetProperty("gate_logits"));
        double[] targets = Flatten(inputs.GetProperty("targets"));
        int count = inputs.GetProperty("targets").GetArrayLength();
        (int experts, int size) = (logits.Length / count, targets.Length / count);
        double[] gate = (double[])logits.Clone();
        double[] posteriors = new double[logits.Length];
        Dictionary<string, double[]> computed = new() { ["gate"] = gate, ["posteriors"] = posteriors };
        for (int index = 0; index < count; index++)
        {
            LogWeights.Normalize(gate.AsSpan(index * experts, experts));
            ExpertErrors.Posteriors(outputs.AsSpan(index * experts * size, experts * size), logits.AsSpan(index * experts, experts), targets.AsSpan(index * size, size), posteriors.AsSpan(index * experts, experts));
        }

        foreach ((ExpertError kind, string name) in new[] { (ExpertError.Cooperative, "cooperative"), (ExpertError.Competitive, "competitive"), (ExpertError.Mixture, "mixture") })
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

            computed[$"{name}_error"] = errors;
            computed[$"grad_expert_outputs_of_{name}"] = outputGradient;
            computed[$"grad_gate_logits_of_{name}"] = logitGradient;
        }

        return computed;
    }

    private static Dictionary<string, double[]> Expectation(JsonElement config, JsonElement inputs)
    {
        CaseSet cases = Cases(inputs);
        HierarchicalMixture tree = Tree(config, inputs);
        TreePosteriors posteriors = new(tree, cases);
        int low = config.GetProperty("num_branches_low").GetInt32();
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

        return new()
        {
            ["posterior_top"] = posteriors.Conditionals(0),
            ["posterior_low"] = conditional,
            ["posterior_joint"] = joint,
            ["log_likelihood"] = [posteriors.LogLikelihood],
        };
    }

    private static Dictionary<string, double[]> OneStep(JsonElement config, JsonElement inputs)
    {
        HierarchicalMixture tree = Tree(config, inputs);
        ExpectationMaximization em = new(tree, Cases(inputs), Options(config));
        double before = em.LogLikelihood;
        Dictionary<string, double[]> computed = new() { ["newton_step_sizes"] = em.Step() };
        computed["log_likelihood_before"] = [before];
        computed["log_likelihood_after"] = [em.LogLikelihood];
        AddParameters(tree, computed);
        return computed;
    }

    private static Dictionary<string, double[]> Iterations(JsonElement config, JsonElement inputs)
    {
        HierarchicalMixture tree = Tree(config, inputs);
        ExpectationMaximization em = new(tree, Cases(inputs), Options(config));
        Dictionary<string, double[]> computed = new() { ["log_likelihoods"] = [.. em.Run(config.GetProperty("em_iterations").GetInt32(), double.NegativeInfinity)] };
        AddParameters(tree, computed);
        return computed;
    }

    private static void AddParameters(HierarchicalMixture tree, Dictionary<string, double[]> computed)
    {
        computed["gate_top"] = tree.Gates[0].Weights.ToArray();
        computed["gate_low"] = [.. tree.Gates.Skip(1).SelectMany(gate => gate.Weights.ToArray())];
        computed["experts"] = [.. tree.Experts.Cast<GaussianExpert>().SelectMany(expert => expert.Coefficients.ToArray())];
        computed["covariances"] = [.. tree.Experts.Cast<GaussianExpert>().SelectMany(expert => expert.Covariance.ToArray())];
    }

    private static HierarchicalMixture Tree(JsonElement config, JsonElement inputs)
    {
        int top = config.GetProperty("num_branches_top").GetInt32();
        int low = config.GetProperty("num_branches_low").GetInt32();
        int inputSize = config.GetProperty("input_size").GetInt32();
        int outputSize = config.GetProperty("output_size").GetInt32();
        MultinomialLogit gate = new(Flatten(inputs.GetProperty("gate_top")), top, inputSize);
        IEnumerable<MultinomialLogit> lower = Flatten(inputs.GetProperty("gate_low")).Chunk(low * inputSize).Select(weights => new MultinomialLogit(weights, low, inputSize));
        IEnumerable<IExpertModel> experts = Flatten(inputs.GetProperty("experts")).Chunk(outputSize * inputSize)
            .Zip(Flatten(inputs.GetProperty("covariances")).Chunk(outputSize * outputSize), (coefficients, covariance) => new GaussianExpert(coefficients, covariance, inputSize, outputSize));
        return new HierarchicalMixture([top, low], [gate, .. lower], [.. experts]);
    }

    private static CaseSet Cases(JsonElement inputs) => new(
        Flatten(inputs.GetProperty("x")), inputs.GetProperty("x")[0].GetArrayLength(), Flatten(inputs.GetProperty("y")), inputs.GetProperty("y")[0].GetArrayLength());

    private static EmOptions Options(JsonElement config) => new()
    {
        Ridge = config.GetProperty("ridge").GetDouble(),
        VarianceFloor = config.GetProperty("variance_floor").GetDouble(),
        LineSearchHalvings = config.GetProperty("line_search_halvings").GetInt32(),
    };

    private static double[] Flatten(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Array => [.. value.EnumerateArray().SelectMany(Flatten)],
        JsonValueKind.Null => [double.NaN],
        _ => [value.GetDouble()],
    };

    // NaN stands for null: it must be expected where it is computed.
    private static double Largest(double[] values, double[] expected)
    {
        double largest = 0;
        for (int i = 0; i < values.Length; i++)
        {
            double difference = double.IsNaN(values[i]) && double.IsNaN(expected[i]) ? 0 : Math.Abs(values[i] - expected[i]);
            largest = double.IsNaN(difference) ? double.PositiveInfinity : Math.Max(largest, difference);
        }

        return largest;
    }
}
