namespace MoeSharp.Classic.Arm;

/// <summary>How the arm's forward dynamics are learned.</summary>
public sealed record ArmStudyOptions
{
    /// <summary>The arm and the states drawn for it.</summary>
    public ArmOptions Arm { get; init; } = new();

    /// <summary>Seed of the first run; run r draws states and first weights from this plus r.</summary>
    public ulong Seed { get; init; } = 1;

    /// <summary>Runs.</summary>
    public int Runs { get; init; } = 4;

    /// <summary>Training cases.</summary>
    public int TrainCases { get; init; } = 4000;

    /// <summary>Test cases.</summary>
    public int TestCases { get; init; } = 2000;

    /// <summary>Branches of the tree, from the top level down.</summary>
    public IReadOnlyList<int> Branches { get; init; } = [2, 2, 2, 2];

    /// <summary>Iterations of expectation maximisation.</summary>
    public int TreePasses { get; init; } = 40;

    /// <summary>Passes of the network that is trained case by case.</summary>
    public int OnlinePasses { get; init; } = 60;

    /// <summary>Passes of the network that takes one step per pass.</summary>
    public int BatchPasses { get; init; } = 200;

    /// <summary>Hidden units of the networks.</summary>
    public int HiddenUnits { get; init; } = 60;

    /// <summary>Checks the numbers.</summary>
    /// <exception cref="ConfigurationException">One or more are out of range; the message names all of them.</exception>
    public void Validate()
    {
        List<string> wrong = [];
        Check(wrong, "joints", Arm.Joints, 1, 8);
        Check(wrong, "runs", Runs, 1, 1000);
        Check(wrong, "training cases", TrainCases, 10, 1_000_000);
        Check(wrong, "test cases", TestCases, 2, 1_000_000);
        Check(wrong, "passes of the tree", TreePasses, 1, 100_000);
        Check(wrong, "passes case by case", OnlinePasses, 1, 100_000);
        Check(wrong, "passes of one step", BatchPasses, 1, 1_000_000);
        Check(wrong, "hidden units", HiddenUnits, 1, 10_000);
        Check(wrong, "levels", Branches.Count, 1, 10);
        Check(wrong, "experts", (int)Math.Min(int.MaxValue, Branches.Aggregate(1.0, (product, branching) => product * branching)), 1, 1024);
        if (wrong.Count > 0)
        {
            throw new ConfigurationException(string.Join("; ", wrong));
        }
    }

    private static void Check(List<string> wrong, string name, int value, int least, int most)
    {
        if (value < least || value > most)
        {
            wrong.Add($"{name} {value} must be {least} to {most}");
        }
    }
}

/// <summary>How one system learned in one run.</summary>
/// <param name="Errors">Relative error on the test cases after each pass.</param>
public readonly record struct ArmRun(IReadOnlyList<double> Errors)
{
    /// <summary>Lowest relative error of any pass, as the paper reports it. It is chosen on the test cases, for every system alike.</summary>
    public double Lowest => Errors.Min();

    /// <summary>Relative error after the last pass.</summary>
    public double Last => Errors[^1];

    /// <summary>The first pass within 5 per cent of the lowest error: what the paper calls converged.</summary>
    public int Passes
    {
        get
        {
            double bound = 1.05 * Lowest;
            return 1 + Errors.TakeWhile(error => error > bound).Count();
        }
    }

    /// <summary>The first pass with an error of at most <paramref name="bound"/>; 0 if there is none.</summary>
    public int PassesTo(double bound)
    {
        int passes = Errors.TakeWhile(error => error > bound).Count();
        return passes == Errors.Count ? 0 : passes + 1;
    }
}

/// <summary>All runs of one system.</summary>
/// <param name="Name">What it is.</param>
/// <param name="Parameters">Numbers that are fitted.</param>
/// <param name="Runs">In order.</param>
public sealed record ArmSystem(string Name, int Parameters, IReadOnlyList<ArmRun> Runs)
{
    /// <summary>Lowest relative errors.</summary>
    public RunAverage Lowest => RunAverage.Of(Runs.Select(run => run.Lowest));

    /// <summary>Relative errors after the last pass.</summary>
    public RunAverage Last => RunAverage.Of(Runs.Select(run => run.Last));

    /// <summary>Passes to within 5 per cent of the lowest error.</summary>
    public RunAverage Passes => RunAverage.Of(Runs.Select(run => (double)run.Passes));
}

/// <summary>A linear fit, trees of experts by EM and networks by back-propagation, on the forward dynamics of an arm.</summary>
/// <remarks>
/// As in Jordan and Jacobs 1994, section 2.8: inputs are the angles, velocities and torques of the joints, targets their accelerations; the relative error is the mean
/// squared error over that of predicting the mean. Inputs and targets are scaled to deviation one, so every joint counts alike. The paper's arm moves in space and is not
/// described in it; this one moves in a plane and is (<see cref="PlanarArm"/>).
/// </remarks>
public sealed class ArmStudy
{
    private const double GateDeviation = 0.3; // of the gates' first weights
    private const double WeightDeviation = 0.3; // of the networks' first weights
    private const double OnlineRate = 0.005; // best of 0.002, 0.005, 0.01, 0.02
    private const double OnlineMomentum = 0.2;
    private const double BatchRate = 0.1; // best of 0.02, 0.05, 0.1, 0.2 with momentum 0.15 and 0.9; 0.2 is unsteady
    private const double BatchMomentum = 0.9;

    private static readonly (string Name, Func<ArmStudyOptions, ArmTask, ArmOutcome> Learn)[] s_systems =
    [
        ("linear", Linear),
        ("tree, EM with Newton gates", (options, task) => Tree(options, task, GateFit.Newton)),
        ("tree, EM with least-squares gates", (options, task) => Tree(options, task, GateFit.LeastSquares)),
        ("network, a step per case", Online),
        ("network, a step per pass", Batch),
    ];

    private ArmStudy(ArmStudyOptions options, IReadOnlyList<ArmSystem> systems, HierarchicalMixture tree, ArmTask task) =>
        (Options, Systems, FirstTree, FirstTask) = (options, systems, tree, task);

    /// <summary>Settings.</summary>
    public ArmStudyOptions Options { get; }

    /// <summary>The systems: linear, tree (Newton), tree (least squares), network (per case), network (per pass).</summary>
    public IReadOnlyList<ArmSystem> Systems { get; }

    /// <summary>The tree with Newton gates of the first run.</summary>
    public HierarchicalMixture FirstTree { get; }

    /// <summary>What the first run learned from.</summary>
    internal ArmTask FirstTask { get; }

    /// <summary>Runs everything, on all threads; the result does not depend on their number.</summary>
    /// <param name="options">Settings.</param>
    /// <param name="cancellation">Stops between passes.</param>
    public static ArmStudy Run(ArmStudyOptions options, CancellationToken cancellation)
    {
        options.Validate();
        ArmTask[] tasks = [.. Enumerable.Range(0, options.Runs).Select(run => Draw(options, options.Seed + (ulong)run, cancellation))];
        ArmOutcome[,] outcomes = new ArmOutcome[s_systems.Length, options.Runs];
        ParallelRuns.For(outcomes.Length, cancellation, job =>
        {
            (int run, int system) = (job / s_systems.Length, job % s_systems.Length);
            outcomes[system, run] = s_systems[system].Learn(options, tasks[run]);
        });
        ArmSystem[] systems = [.. s_systems.Select((system, index) => new ArmSystem(system.Name, outcomes[index, 0].Parameters, [.. Enumerable.Range(0, options.Runs).Select(run => new ArmRun(outcomes[index, run].Errors))]))];
        return new ArmStudy(options, systems, outcomes[1, 0].Tree ?? throw new InvalidOperationException("the second system is a tree"), tasks[0]);
    }

    private static ArmTask Draw(ArmStudyOptions options, ulong seed, CancellationToken cancellation)
    {
        double[] train = ArmCases.Draw(options.Arm, options.TrainCases, seed, 1);
        double[] test = ArmCases.Draw(options.Arm, options.TestCases, seed, 2);
        ArmScale scale = new(train, 4 * options.Arm.Joints);
        return new ArmTask(scale.Cases(train), scale.Cases(test), scale, seed, cancellation);
    }

    private static ArmOutcome Linear(ArmStudyOptions options, ArmTask task)
    {
        HierarchicalMixture tree = HierarchicalMixture.StartGaussian([1], task.Train, 0, new EmOptions(), task.Seed);
        return new ArmOutcome(task.Train.InputSize * task.Train.TargetSize, [task.RelativeError(tree.Predict)], null);
    }

    private static ArmOutcome Tree(ArmStudyOptions options, ArmTask task, GateFit gates)
    {
        EmOptions em = new() { Gates = gates };
        HierarchicalMixture tree = HierarchicalMixture.StartGaussian(options.Branches, task.Train, GateDeviation, em, task.Seed);
        ExpectationMaximization fit = new(tree, task.Train, em);
        double[] errors = new double[options.TreePasses];
        for (int pass = 0; pass < errors.Length; pass++)
        {
            fit.Step();
            errors[pass] = task.RelativeError(tree.Predict);
        }

        return new ArmOutcome(tree.ParameterCount, errors, tree);
    }

    private static ArmOutcome Online(ArmStudyOptions options, ArmTask task)
    {
        BackpropNetwork network = new(task.Train.InputSize, options.HiddenUnits, task.Train.TargetSize, UnitKind.Tanh, UnitKind.Linear, WeightDeviation, task.Seed);
        GradientDescent descent = new(network, OnlineRate, OnlineMomentum);
        SeededNumbers random = new(task.Seed, 3);
        int[] order = [.. Enumerable.Range(0, task.Train.Count)];
        double[] errors = new double[options.OnlinePasses];
        for (int pass = 0; pass < errors.Length; pass++)
        {
            random.Shuffle(order.AsSpan());
            descent.Online(task.Train, order);
            errors[pass] = task.RelativeError(network.Predict);
        }

        return new ArmOutcome(network.Parameters.Length, errors, null);
    }

    private static ArmOutcome Batch(ArmStudyOptions options, ArmTask task)
    {
        BackpropNetwork network = new(task.Train.InputSize, options.HiddenUnits, task.Train.TargetSize, UnitKind.Tanh, UnitKind.Linear, WeightDeviation, task.Seed);
        GradientDescent descent = new(network, BatchRate, BatchMomentum);
        double[] errors = new double[options.BatchPasses];
        for (int pass = 0; pass < errors.Length; pass++)
        {
            descent.Batch(task.Train);
            errors[pass] = task.RelativeError(network.Predict);
        }

        return new ArmOutcome(network.Parameters.Length, errors, null);
    }

    private sealed record ArmOutcome(int Parameters, double[] Errors, HierarchicalMixture? Tree);
}
