using MoeSharp.Classic;

namespace MoeSharp.Tests.Classic;

/// <summary>Gradients of small networks by central differences, and what training them does.</summary>
public sealed class GradientModelTests
{
    public static TheoryData<ExpertError, UnitKind> Kinds()
    {
        TheoryData<ExpertError, UnitKind> data = [];
        foreach (ExpertError error in Enum.GetValues<ExpertError>())
        {
            foreach (UnitKind unit in Enum.GetValues<UnitKind>())
            {
                data.Add(error, unit);
            }
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void A_mixtures_gradient_is_the_slope_of_its_error(ExpertError error, UnitKind unit)
    {
        CaseSet cases = Cases(7);
        LocalExpertMixture mixture = new(new LocalExpertOptions { NumExperts = 3, InputSize = 4, GateInputSize = 2, TargetSize = 2, Error = error, Output = unit, InitialDeviation = 0.8 }, 5);
        new SeededNumbers(9, 0).FillNormal(mixture.Parameters[..mixture.GateSize], 0.7);
        CheckGradient(mixture, cases);
    }

    [Theory]
    [InlineData(UnitKind.Logistic, UnitKind.Linear)]
    [InlineData(UnitKind.Tanh, UnitKind.Logistic)]
    [InlineData(UnitKind.Linear, UnitKind.Tanh)]
    public void A_networks_gradient_is_the_slope_of_its_error(UnitKind hidden, UnitKind output) =>
        CheckGradient(new BackpropNetwork(4, 5, 2, hidden, output, 0.8, 3), Cases(7));

    [Fact]
    public void Experts_that_agree_leave_the_gate_as_it_is()
    {
        double[] outputGradient = new double[6];
        double[] logitGradient = new double[3];
        foreach (ExpertError error in Enum.GetValues<ExpertError>())
        {
            ExpertErrors.Evaluate(error, [1, -2, 1, -2, 1, -2], [0.3, -1, 2], [0.5, 4], outputGradient, logitGradient);
            Assert.All(logitGradient, value => Assert.Equal(0, value, 1e-12));
        }
    }

    [Fact]
    public void Targets_hundreds_of_deviations_away_keep_a_finite_error_and_the_nearest_expert()
    {
        double[] outputGradient = new double[2];
        double[] logitGradient = new double[2];
        double error = ExpertErrors.Evaluate(ExpertError.Mixture, [0.0, 10.0], [0.0, 0.0], [1000.0], outputGradient, logitGradient);
        Assert.Equal((990.0 * 990 / 2) + Math.Log(2), error, 1e-6);
        Assert.Equal([0.0, -990.0], outputGradient);
    }

    [Fact]
    public void The_gate_divides_cases_whose_experts_see_nothing_of_the_division()
    {
        // y = x where the gate sees 0 and y = -x where it sees 1: one linear expert each, found only through the gate's own input.
        SeededNumbers random = new(4, 0);
        double[] inputs = new double[400];
        double[] gateInputs = new double[400];
        double[] targets = new double[200];
        for (int index = 0; index < 200; index++)
        {
            bool isSecond = index % 2 == 1;
            (inputs[2 * index], inputs[(2 * index) + 1]) = (1, 3 * random.Normal());
            (gateInputs[2 * index], gateInputs[(2 * index) + 1]) = (1, isSecond ? 1 : 0);
            targets[index] = isSecond ? -inputs[(2 * index) + 1] : inputs[(2 * index) + 1];
        }

        CaseSet cases = new(inputs, 2, gateInputs, 2, targets, 1);
        LocalExpertMixture mixture = new(new LocalExpertOptions { NumExperts = 2, InputSize = 2, GateInputSize = 2, TargetSize = 1 }, 1);
        GradientDescent descent = new(mixture, 0.1, 0.9);
        double last = double.PositiveInfinity;
        for (int epoch = 0; epoch < 400; epoch++)
        {
            last = descent.Batch(cases);
        }

        double[] output = new double[1];
        for (int index = 0; index < cases.Count; index++)
        {
            mixture.Predict(cases, index, output);
            Assert.Equal(targets[index], output[0], 0.1 * (1 + Math.Abs(targets[index])));
        }

        Assert.InRange(last, 0, 0.05);
    }

    [Fact]
    public void A_rate_that_is_too_large_is_reported()
    {
        BackpropNetwork network = new(4, 3, 2, UnitKind.Linear, UnitKind.Linear, 1, 1);
        GradientDescent descent = new(network, 1e3, 0);
        CaseSet cases = Cases(7);
        Assert.Throws<TrainingException>(() =>
        {
            for (int epoch = 0; epoch < 100; epoch++)
            {
                descent.Batch(cases);
            }
        });
    }

    [Fact]
    public void Cases_that_cannot_be_fitted_are_refused_with_their_place()
    {
        Assert.Contains("number 1", Assert.Throws<ConfigurationException>(() => new CaseSet([1, double.NaN], 2, [1], 1)).Message, StringComparison.Ordinal);
        Assert.Throws<ConfigurationException>(() => new CaseSet([1, 2, 3], 2, [1], 1));
        Assert.Throws<ConfigurationException>(() => new CaseSet([1, 2], 2, [1, 2], 1));
        Assert.Throws<ConfigurationException>(() => new CaseSet([], 2, [], 1));
        Assert.Throws<ConfigurationException>(() => new LocalExpertOptions { NumExperts = 0, InputSize = 1, GateInputSize = 1, TargetSize = 1 }.Validate());
    }

    private static void CheckGradient(IGradientModel model, CaseSet cases)
    {
        const double Step = 1e-5;
        double[] gradient = new double[model.Parameters.Length];
        double[] unused = new double[model.Parameters.Length];
        for (int index = 0; index < cases.Count; index++)
        {
            model.AddGradient(cases, index, gradient);
        }

        for (int weight = 0; weight < gradient.Length; weight++)
        {
            double old = model.Parameters[weight];
            model.Parameters[weight] = old + Step;
            double above = Total(model, cases, unused);
            model.Parameters[weight] = old - Step;
            double below = Total(model, cases, unused);
            model.Parameters[weight] = old;
            Assert.Equal((above - below) / (2 * Step), gradient[weight], 1e-7 * (1 + Math.Abs(gradient[weight])));
        }
    }

    private static double Total(IGradientModel model, CaseSet cases, double[] unused)
    {
        double sum = 0;
        for (int index = 0; index < cases.Count; index++)
        {
            sum += model.AddGradient(cases, index, unused);
        }

        return sum;
    }

    private static CaseSet Cases(int count)
    {
        SeededNumbers random = new(1, 0);
        double[] inputs = new double[count * 4];
        double[] gateInputs = new double[count * 2];
        double[] targets = new double[count * 2];
        random.FillNormal(inputs, 1);
        random.FillNormal(gateInputs, 1);
        random.FillNormal(targets, 1);
        return new CaseSet(inputs, 4, gateInputs, 2, targets, 2);
    }
}
