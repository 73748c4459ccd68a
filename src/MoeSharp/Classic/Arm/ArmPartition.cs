namespace MoeSharp.Classic.Arm;

/// <summary>What one expert of a tree took.</summary>
/// <param name="Expert">Index, from the left.</param>
/// <param name="Share">Share of all cases, by the gates.</param>
/// <param name="Means">Mean of each input over its cases, in the input's own unit.</param>
public readonly record struct ArmTerritory(int Expert, double Share, IReadOnlyList<double> Means);

/// <summary>How the experts of the first run's tree divide the states of the arm between them.</summary>
public sealed class ArmPartition
{
    private ArmPartition(IReadOnlyList<ArmTerritory> territories, IReadOnlyList<double> dividing) => (Territories, Dividing) = (territories, dividing);

    /// <summary>The experts, from the left.</summary>
    public IReadOnlyList<ArmTerritory> Territories { get; }

    /// <summary>Per input the share of its variance that lies between the experts' means: what the gates look at.</summary>
    public IReadOnlyList<double> Dividing { get; }

    /// <summary>Name of an input: angle, velocity or torque and the joint's number.</summary>
    /// <param name="input">Index without the constant one.</param>
    /// <param name="joints">Joints of the arm.</param>
    public static string NameOf(int input, int joints) => $"{(input / joints) switch { 0 => "angle", 1 => "velocity", _ => "torque" }} {(input % joints) + 1}";

    /// <summary>Measures the division on the training cases.</summary>
    public static ArmPartition Of(ArmStudy study)
    {
        ArmTask task = study.FirstTask;
        int experts = study.FirstTree.Experts.Count;
        int inputs = task.Train.InputSize - 1;
        double[] priors = new double[experts];
        double[] weights = new double[experts];
        double[][] sums = [.. Enumerable.Range(0, experts).Select(_ => new double[inputs])];
        double[] squares = new double[inputs];
        for (int index = 0; index < task.Train.Count; index++)
        {
            ReadOnlySpan<double> input = task.Train.Input(index)[1..];
            study.FirstTree.LogPriors(task.Train.GateInput(index), priors);
            for (int expert = 0; expert < experts; expert++)
            {
                double prior = Math.Exp(priors[expert]);
                weights[expert] += prior;
                SmallMatrix.AddScaled(sums[expert], prior, input);
            }

            for (int i = 0; i < inputs; i++)
            {
                squares[i] += input[i] * input[i];
            }
        }

        double[] between = new double[inputs];
        List<ArmTerritory> territories = [];
        for (int expert = 0; expert < experts; expert++)
        {
            double[] means = [.. sums[expert].Select(sum => weights[expert] > 0 ? sum / weights[expert] : 0)];
            for (int i = 0; i < inputs; i++)
            {
                between[i] += weights[expert] * means[i] * means[i] / squares[i]; // inputs have mean zero
            }

            territories.Add(new ArmTerritory(expert, weights[expert] / task.Train.Count, [.. means.Select((mean, i) => task.Scale.Unscaled(i, mean))]));
        }

        return new ArmPartition(territories, between);
    }
}
