using MoeSharp.Classic;

namespace MoeSharp.Tests.Classic;

/// <summary>Trees of experts: densities and posteriors by enumeration, and an EM that never loses likelihood.</summary>
public sealed class HierarchicalMixtureTests
{
    private static readonly EmOptions s_options = new();

    [Theory]
    [InlineData(3)]
    [InlineData(2, 3)]
    [InlineData(1, 2, 1)]
    [InlineData(3, 2, 2)]
    public void Posteriors_are_those_of_an_enumeration_of_all_leaves(params int[] branches)
    {
        CaseSet cases = Cases(20, 3, 2, 1);
        HierarchicalMixture tree = Random(branches, cases);
        TreePosteriors posteriors = new(tree, cases);
        double logLikelihood = 0;
        for (int index = 0; index < cases.Count; index++)
        {
            double[] joint = [.. Enumerable.Range(0, tree.Experts.Count).Select(leaf => Math.Exp(LogJoint(tree, cases, index, leaf)))];
            logLikelihood += Math.Log(joint.Sum());
            for (int leaf = 0; leaf < joint.Length; leaf++)
            {
                Assert.Equal(joint[leaf] / joint.Sum(), posteriors.ExpertWeights(leaf)[index], 1e-12);
            }

            int below = joint.Length / branches[0];
            for (int branch = 0; branch < branches[0]; branch++)
            {
                Assert.Equal(joint.Skip(branch * below).Take(below).Sum() / joint.Sum(), posteriors.Conditionals(0)[(index * branches[0]) + branch], 1e-12);
            }
        }

        Assert.Equal(logLikelihood, posteriors.LogLikelihood, 1e-9);
    }

    [Theory]
    [InlineData(4)]
    [InlineData(2, 2)]
    [InlineData(2, 3, 2)]
    [InlineData(2, 2, 2, 2)]
    public void Log_likelihood_never_falls_with_gaussian_experts(params int[] branches)
    {
        for (ulong seed = 1; seed <= 5; seed++)
        {
            CaseSet cases = Cases(60, 3, 2, seed);
            HierarchicalMixture tree = HierarchicalMixture.StartGaussian(branches, cases, 0.5, s_options, seed);
            AssertNeverFalls(new ExpectationMaximization(tree, cases, s_options).Run(40, double.NegativeInfinity));
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Log_likelihood_never_falls_with_experts_for_classes(bool isMultinomial)
    {
        for (ulong seed = 1; seed <= 5; seed++)
        {
            CaseSet cases = Classes(80, 3, seed);
            SeededNumbers random = new(seed, 7);
            double[] weights = new double[9];
            HierarchicalMixture tree = HierarchicalMixture.Start([2, 2], 3, 0.5, seed, () =>
            {
                random.FillNormal(weights, 0.3);
                return isMultinomial ? new MultinomialExpert(new MultinomialLogit(weights, 3, 3)) : new BernoulliExpert(weights, 3, 3);
            });
            IReadOnlyList<double> values = new ExpectationMaximization(tree, cases, s_options).Run(40, double.NegativeInfinity);
            AssertNeverFalls(values);
            Assert.True(values[^1] > values[0] + 10, $"{values[0]} to {values[^1]}");
        }
    }

    [Fact]
    public void Two_lines_are_found_exactly()
    {
        // y = 1 + 2x left of zero, y = 1 - 3x right of it, almost without noise.
        SeededNumbers random = new(3, 0);
        double[] inputs = new double[400];
        double[] targets = new double[200];
        for (int index = 0; index < 200; index++)
        {
            double x = random.Between(-2, 2);
            (inputs[2 * index], inputs[(2 * index) + 1]) = (1, x);
            targets[index] = 1 + ((x < 0 ? 2 : -3) * x) + (0.01 * random.Normal());
        }

        CaseSet cases = new(inputs, 2, targets, 1);
        HierarchicalMixture tree = HierarchicalMixture.StartGaussian([2], cases, 1, s_options, 1);
        new ExpectationMaximization(tree, cases, s_options).Run(100, 1e-9);
        double[] slopes = [.. tree.Experts.Cast<GaussianExpert>().Select(expert => expert.Coefficients[1]).Order()];
        Assert.Equal(-3, slopes[0], 0.02);
        Assert.Equal(2, slopes[1], 0.02);
    }

    [Fact]
    public void A_gate_with_one_branch_and_an_expert_without_cases_stay_as_they_are()
    {
        CaseSet cases = Cases(30, 2, 1, 2);
        GaussianExpert near = new([0, 0], [1], 2, 1);
        GaussianExpert never = new([5, 5], [1], 2, 1);
        double[] gate = [0, 0, -800, 0]; // the second expert has a probability that underflows
        HierarchicalMixture tree = new([1, 2], [new MultinomialLogit([0.3, 0.4], 1, 2), new MultinomialLogit(gate, 2, 2)], [near, never]);
        double[] shares = new ExpectationMaximization(tree, cases, s_options).Step();
        Assert.Equal(double.NaN, shares[0]);
        Assert.Equal([0.3, 0.4], tree.Gates[0].Weights.ToArray());
        Assert.Equal([5.0, 5.0], never.Coefficients.ToArray());
        Assert.NotEqual([0.0, 0.0], near.Coefficients.ToArray());
    }

    [Fact]
    public void Inputs_that_depend_on_each_other_and_targets_without_noise_are_survived()
    {
        double[] inputs = new double[90];
        double[] targets = new double[30];
        for (int index = 0; index < 30; index++)
        {
            (inputs[3 * index], inputs[(3 * index) + 1], inputs[(3 * index) + 2]) = (1, index % 5, 2 * (index % 5));
            targets[index] = 7 + (index % 5);
        }

        CaseSet cases = new(inputs, 3, targets, 1);
        HierarchicalMixture tree = HierarchicalMixture.StartGaussian([2, 2], cases, 0.5, s_options, 1);
        AssertNeverFalls(new ExpectationMaximization(tree, cases, s_options).Run(20, double.NegativeInfinity));
    }

    [Fact]
    public void A_newton_step_that_overshoots_is_halved()
    {
        // Far out on the flat part of the softmax Newton's step is too long by orders of magnitude.
        MultinomialLogit logit = new([0, 8, 0, -8], 2, 2);
        CaseSet cases = new([1, -1, 1, -0.9, 1, 1, 1, 0.5], 2, [0, 0, 0, 0], 1);
        SoftClasses targets = new(cases, isGateInput: true, [0.9, 0.1, 0.8, 0.2, 0.2, 0.8, 0.1, 0.9], [1, 1, 1, 1]);
        double before = logit.Objective(targets);
        double share = logit.NewtonStep(targets, s_options, "gate");
        Assert.InRange(share, 1e-7, 0.5);
        Assert.True(logit.Objective(targets) >= before);
    }

    [Fact]
    public void Wrong_shapes_and_targets_are_refused()
    {
        CaseSet cases = Cases(10, 2, 1, 1);
        MultinomialLogit gate = new([0, 0, 0, 0], 2, 2);
        GaussianExpert expert = new([0, 0], [1], 2, 1);
        Assert.Throws<ConfigurationException>(() => new HierarchicalMixture([2], [gate], [expert]));
        Assert.Throws<ConfigurationException>(() => new HierarchicalMixture([3], [gate], [expert, expert, expert]));
        Assert.Throws<ConfigurationException>(() => new HierarchicalMixture([], [], [expert]));
        Assert.Throws<ConfigurationException>(() => new GaussianExpert([0, 0], [-1], 2, 1));
        HierarchicalMixture tree = new([2], [gate], [expert, expert]);
        Assert.Throws<ConfigurationException>(() => new ExpectationMaximization(tree, Cases(10, 3, 1, 1), s_options));
        Assert.Throws<ConfigurationException>(() => new ExpectationMaximization(tree, cases, new EmOptions { Ridge = 0 }));
        HierarchicalMixture yesOrNo = new([2], [gate], [new BernoulliExpert([0, 0], 2, 1), new BernoulliExpert([0, 0], 2, 1)]);
        Assert.Throws<ConfigurationException>(() => new ExpectationMaximization(yesOrNo, cases, s_options));
    }

    [Fact]
    public void A_cholesky_factor_solves_and_refuses_what_is_singular()
    {
        Assert.True(CholeskyFactor.TryFactor([4, 0, 0, 2, 5, 0, 1, 3, 6], 3, out CholeskyFactor? factor));
        double[] x = [1, 2, 3];
        factor.Solve(x);
        Assert.Equal(1, (4 * x[0]) + (2 * x[1]) + (1 * x[2]), 1e-12);
        Assert.Equal(2, (2 * x[0]) + (5 * x[1]) + (3 * x[2]), 1e-12);
        Assert.Equal(3, (1 * x[0]) + (3 * x[1]) + (6 * x[2]), 1e-12);
        Assert.Equal(Math.Log(67), factor.LogDeterminant, 1e-12);
        Assert.Equal(x[0] + (2 * x[1]) + (3 * x[2]), factor.SquaredLength(new double[] { 1, 2, 3 }), 1e-12);
        Assert.False(CholeskyFactor.TryFactor([1, 0, 1, 1], 2, out _));
        Assert.False(CholeskyFactor.TryFactor([double.NaN], 1, out _));
    }

    private static void AssertNeverFalls(IReadOnlyList<double> values)
    {
        for (int i = 1; i < values.Count; i++)
        {
            Assert.True(values[i] >= values[i - 1] - (1e-9 * (1 + Math.Abs(values[i - 1]))), $"iteration {i}: {values[i - 1]:R} to {values[i]:R}");
        }
    }

    // log of the product of gates on the way to a leaf and its density, each node found by arithmetic on its own.
    private static double LogJoint(HierarchicalMixture tree, CaseSet cases, int index, int leaf)
    {
        double sum = tree.Experts[leaf].LogDensity(cases.Input(index), cases.Target(index));
        int node = leaf;
        for (int level = tree.Branches.Count - 1; level >= 0; level--)
        {
            double[] logs = new double[tree.Branches[level]];
            tree.Gates[tree.FirstGate(level) + (node / tree.Branches[level])].LogProbabilities(cases.GateInput(index), logs);
            sum += logs[node % tree.Branches[level]];
            node /= tree.Branches[level];
        }

        return sum;
    }

    private static HierarchicalMixture Random(int[] branches, CaseSet cases)
    {
        SeededNumbers random = new(11, 0);
        double[] coefficients = new double[cases.InputSize * cases.TargetSize];
        return HierarchicalMixture.Start(branches, cases.GateInputSize, 1, 3, () =>
        {
            random.FillNormal(coefficients, 1);
            return new GaussianExpert(coefficients, [1.5, 0.4, 0.4, 0.8], cases.InputSize, cases.TargetSize);
        });
    }

    private static CaseSet Cases(int count, int inputSize, int targetSize, ulong seed)
    {
        SeededNumbers random = new(seed, 5);
        double[] inputs = new double[count * inputSize];
        double[] targets = new double[count * targetSize];
        random.FillNormal(inputs, 1);
        for (int index = 0; index < count; index++)
        {
            inputs[index * inputSize] = 1;
            for (int i = 0; i < targetSize; i++)
            {
                targets[(index * targetSize) + i] = Math.Sin(3 * inputs[(index * inputSize) + 1]) + (0.1 * random.Normal());
            }
        }

        return new CaseSet(inputs, inputSize, targets, targetSize);
    }

    private static CaseSet Classes(int count, int numClasses, ulong seed)
    {
        SeededNumbers random = new(seed, 6);
        double[] inputs = new double[count * 3];
        double[] targets = new double[count * numClasses];
        random.FillNormal(inputs, 1);
        for (int index = 0; index < count; index++)
        {
            inputs[index * 3] = 1;
            int right = inputs[(index * 3) + 1] * inputs[(index * 3) + 2] > 0 ? 0 : inputs[(index * 3) + 1] > 0 ? 1 : 2;
            targets[(index * numClasses) + right] = 1;
        }

        return new CaseSet(inputs, 3, targets, numClasses);
    }
}
