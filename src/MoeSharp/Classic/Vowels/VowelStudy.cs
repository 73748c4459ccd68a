namespace MoeSharp.Classic.Vowels;

/// <summary>How the comparison of 1991 is repeated.</summary>
public sealed record VowelStudyOptions
{
    /// <summary>Seed of the first run; run r draws speakers and first weights from this plus r.</summary>
    public ulong Seed { get; init; } = 1;

    /// <summary>Runs.</summary>
    public int Runs { get; init; } = 25;

    /// <summary>Mean squared error on the training cases at which training stops.</summary>
    public double Criterion { get; init; } = 0.08;

    /// <summary>Epochs after which a run is given up.</summary>
    public int MaxEpochs { get; init; } = 5000;

    /// <summary>Checks the numbers.</summary>
    /// <exception cref="ConfigurationException">One or more are out of range; the message names all of them.</exception>
    public void Validate()
    {
        List<string> wrong = [];
        if (Runs is < 1 or > 10_000)
        {
            wrong.Add($"runs {Runs} must be 1 to 10000");
        }

        if (MaxEpochs < 1)
        {
            wrong.Add($"epochs {MaxEpochs} must be at least 1");
        }

        if (!(Criterion > 0))
        {
            wrong.Add($"criterion {Criterion} must be positive");
        }

        if (wrong.Count > 0)
        {
            throw new ConfigurationException(string.Join("; ", wrong));
        }
    }
}

/// <summary>One training of one system.</summary>
/// <param name="Run">Which run.</param>
/// <param name="Reached">Whether the criterion was reached.</param>
/// <param name="Epochs">Epochs trained.</param>
/// <param name="Error">Mean squared error on the training cases at the end.</param>
/// <param name="TrainPercent">Training cases on the right side of one half, in per cent.</param>
/// <param name="TestPercent">Test cases.</param>
/// <param name="ActiveExperts">Experts that the gate gives at least a hundredth of the cases; 0 for a plain network.</param>
public readonly record struct VowelRun(int Run, bool Reached, int Epochs, double Error, double TrainPercent, double TestPercent, int ActiveExperts);

/// <summary>All runs of one system.</summary>
/// <param name="Name">What it is.</param>
/// <param name="Parameters">Weights.</param>
/// <param name="Rate">Step size.</param>
/// <param name="Runs">In order.</param>
public sealed record VowelSystem(string Name, int Parameters, double Rate, IReadOnlyList<VowelRun> Runs)
{
    /// <summary>Epochs of the runs that reached the criterion.</summary>
    public RunAverage Epochs => RunAverage.Of(Runs.Where(run => run.Reached).Select(run => (double)run.Epochs));

    /// <summary>Per cent right of training cases.</summary>
    public RunAverage Train => RunAverage.Of(Runs.Select(run => run.TrainPercent));

    /// <summary>Per cent right of test cases.</summary>
    public RunAverage Test => RunAverage.Of(Runs.Select(run => run.TestPercent));
}

/// <summary>What the experts of one trained mixture took.</summary>
/// <param name="Mixture">The mixture.</param>
/// <param name="Tokens">The recordings it was trained on.</param>
/// <param name="Shares">Share of each expert in the cases of each vowel, by the gate: [experts, vowels].</param>
public sealed record VowelPartition(LocalExpertMixture Mixture, IReadOnlyList<VowelToken> Tokens, double[,] Shares)
{
    /// <summary>Share of an expert in all cases.</summary>
    public double ShareOf(int expert) => Enumerable.Range(0, Shares.GetLength(1)).Average(vowel => Shares[expert, vowel]);
}

/// <summary>Mixtures of 4 and 8 experts against networks with 6 and 12 hidden units, on generated recordings of vowels.</summary>
/// <remarks>
/// As in Jacobs, Jordan, Nowlan and Hinton 1991: batch gradient descent with a fixed step size and no momentum until the squared error is 0.08, 50 speakers to train and
/// 25 to test. Every system has one logistic output: the one reading in which an expert has a single decision line and the systems have about equal numbers of weights
/// (24 and 48 against 25 and 49).
/// </remarks>
public sealed class VowelStudy
{
    private const double FirstDeviation = 0.5; // of all first weights except the gate's, which are 0
    private const double ActiveShare = 0.01;

    // The fastest that reached the criterion in every run of a limited search (1, 3, 10, 20, 40), as the paper chose them.
    private const double ExpertRate = 20;
    private const double NetworkRate = 10;

    private static readonly (string Name, double Rate, Func<ulong, IGradientModel> Create)[] s_systems =
    [
        ("4 experts", ExpertRate, seed => Mixture(4, seed)),
        ("8 experts", ExpertRate, seed => Mixture(8, seed)),
        ("6 hidden units", NetworkRate, seed => Network(6, seed)),
        ("12 hidden units", NetworkRate, seed => Network(12, seed)),
    ];

    private VowelStudy(VowelStudyOptions options, IReadOnlyList<VowelSystem> systems, VowelPartition four, VowelPartition eight) =>
        (Options, Systems, FourExperts, EightExperts) = (options, systems, four, eight);

    /// <summary>Settings.</summary>
    public VowelStudyOptions Options { get; }

    /// <summary>The four systems: 4 and 8 experts, 6 and 12 hidden units.</summary>
    public IReadOnlyList<VowelSystem> Systems { get; }

    /// <summary>The mixture of four of the first run.</summary>
    public VowelPartition FourExperts { get; }

    /// <summary>The mixture of eight of the first run.</summary>
    public VowelPartition EightExperts { get; }

    /// <summary>Runs everything, on all threads; the result does not depend on their number.</summary>
    /// <param name="options">Settings.</param>
    /// <param name="cancellation">Stops between epochs.</param>
    public static VowelStudy Run(VowelStudyOptions options, CancellationToken cancellation)
    {
        options.Validate();
        VowelRun[,] runs = new VowelRun[s_systems.Length, options.Runs];
        IGradientModel[] first = new IGradientModel[s_systems.Length];
        int[] parameters = new int[s_systems.Length];
        ParallelRuns.For(runs.Length, cancellation, job =>
        {
            (int run, int system) = (job / s_systems.Length, job % s_systems.Length);
            IGradientModel model = s_systems[system].Create(options.Seed + (ulong)run);
            runs[system, run] = Train(model, s_systems[system].Rate, run, options, cancellation);
            if (run == 0)
            {
                (first[system], parameters[system]) = (model, model.Parameters.Length);
            }
        });
        VowelSystem[] systems = [.. s_systems.Select((system, index) => new VowelSystem(system.Name, parameters[index], system.Rate, [.. Enumerable.Range(0, options.Runs).Select(run => runs[index, run])]))];
        return new VowelStudy(options, systems, Partition((LocalExpertMixture)first[0], options), Partition((LocalExpertMixture)first[1], options));
    }

    /// <summary>Difference in epochs between two systems, run by run, where both reached the criterion.</summary>
    public static RunAverage Difference(VowelSystem slower, VowelSystem faster) => RunAverage.Of(
        slower.Runs.Zip(faster.Runs).Where(pair => pair.First.Reached && pair.Second.Reached).Select(pair => (double)(pair.First.Epochs - pair.Second.Epochs)));

    private static VowelRun Train(IGradientModel model, double rate, int run, VowelStudyOptions options, CancellationToken cancellation)
    {
        IReadOnlyList<VowelToken> tokens = VowelTokens.Generate(options.Seed + (ulong)run);
        CaseSet train = VowelTokens.Cases([.. tokens.Where(token => token.Speaker < VowelTokens.NumTrainingSpeakers)]);
        CaseSet test = VowelTokens.Cases([.. tokens.Where(token => token.Speaker >= VowelTokens.NumTrainingSpeakers)]);
        GradientDescent descent = new(model, rate, momentum: 0);
        int epochs = 0;
        double error = SquaredError(model, train);
        while (error > options.Criterion && epochs < options.MaxEpochs)
        {
            cancellation.ThrowIfCancellationRequested();
            descent.Batch(train);
            epochs++;
            error = SquaredError(model, train);
        }

        return new VowelRun(run, error <= options.Criterion, epochs, error, PercentRight(model, train), PercentRight(model, test), NumActive(model, train));
    }

    private static LocalExpertMixture Mixture(int experts, ulong seed) => new(
        new LocalExpertOptions { NumExperts = experts, InputSize = 3, GateInputSize = 3, TargetSize = 1, Output = UnitKind.Logistic, InitialDeviation = FirstDeviation }, seed);

    private static BackpropNetwork Network(int hidden, ulong seed) => new(3, hidden, 1, UnitKind.Logistic, UnitKind.Logistic, FirstDeviation, seed);

    private static double SquaredError(IGradientModel model, CaseSet cases)
    {
        Span<double> output = stackalloc double[1];
        double sum = 0;
        for (int index = 0; index < cases.Count; index++)
        {
            model.Predict(cases, index, output);
            double residual = cases.Target(index)[0] - output[0];
            sum += residual * residual;
        }

        return sum / cases.Count;
    }

    private static double PercentRight(IGradientModel model, CaseSet cases)
    {
        Span<double> output = stackalloc double[1];
        int right = 0;
        for (int index = 0; index < cases.Count; index++)
        {
            model.Predict(cases, index, output);
            right += (output[0] > 0.5) == (cases.Target(index)[0] > 0.5) ? 1 : 0;
        }

        return 100.0 * right / cases.Count;
    }

    private static int NumActive(IGradientModel model, CaseSet cases)
    {
        if (model is not LocalExpertMixture mixture)
        {
            return 0;
        }

        double[] shares = new double[mixture.NumExperts];
        double[] sums = new double[mixture.NumExperts];
        for (int index = 0; index < cases.Count; index++)
        {
            mixture.Route(cases, index, shares);
            SmallMatrix.AddScaled(sums, 1.0 / cases.Count, shares);
        }

        return sums.Count(share => share >= ActiveShare);
    }

    private static VowelPartition Partition(LocalExpertMixture mixture, VowelStudyOptions options)
    {
        VowelToken[] tokens = [.. VowelTokens.Generate(options.Seed).Where(token => token.Speaker < VowelTokens.NumTrainingSpeakers)];
        CaseSet cases = VowelTokens.Cases(tokens);
        double[,] sums = new double[mixture.NumExperts, VowelStatistics.Vowels.Count];
        double[] shares = new double[mixture.NumExperts];
        for (int index = 0; index < tokens.Length; index++)
        {
            mixture.Route(cases, index, shares);
            for (int expert = 0; expert < shares.Length; expert++)
            {
                sums[expert, (int)tokens[index].Vowel] += shares[expert] / tokens.Count(token => token.Vowel == tokens[index].Vowel);
            }
        }

        return new VowelPartition(mixture, tokens, sums);
    }
}
