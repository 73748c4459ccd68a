namespace MoeSharp.Classic;

/// <summary>How the M-step fits the gates.</summary>
public enum GateFit
{
    /// <summary>One damped Newton step (iteratively reweighted least squares) on the expected log-likelihood, which therefore never falls: algorithm 1.</summary>
    Newton,

    /// <summary>Least squares on the logarithms of the posteriors: algorithm 2. Cheaper; the log-likelihood may fall.</summary>
    LeastSquares,
}

/// <summary>Settings of expectation maximisation.</summary>
public sealed record EmOptions
{
    /// <summary>Added to the diagonal of every system that is solved; must be positive, because a softmax does not change when all its logits move together.</summary>
    public double Ridge { get; init; } = 1e-6;

    /// <summary>Added to the diagonal of every covariance, so that an expert that fits its cases exactly keeps a density.</summary>
    public double VarianceFloor { get; init; } = 1e-6;

    /// <summary>How often a Newton step is halved while it lowers its objective, before it is given up.</summary>
    public int LineSearchHalvings { get; init; } = 20;

    /// <summary>How gates are fitted.</summary>
    public GateFit Gates { get; init; } = GateFit.Newton;

    /// <summary>Smallest posterior whose logarithm <see cref="GateFit.LeastSquares"/> aims at.</summary>
    public double PosteriorFloor { get; init; } = 1e-3;

    /// <summary>Checks the numbers.</summary>
    /// <exception cref="ConfigurationException">One or more are out of range; the message names all of them.</exception>
    public void Validate()
    {
        List<string> wrong = [];
        if (!(Ridge > 0) || !double.IsFinite(Ridge))
        {
            wrong.Add($"ridge {Ridge} must be positive (a softmax does not change when all its logits move together, so its system is singular without)");
        }

        if (!(VarianceFloor > 0) || !double.IsFinite(VarianceFloor))
        {
            wrong.Add($"variance floor {VarianceFloor} must be positive");
        }

        if (LineSearchHalvings is < 0 or > 1000)
        {
            wrong.Add($"line search halvings {LineSearchHalvings} must be 0 to 1000");
        }

        if (!(PosteriorFloor > 0 && PosteriorFloor < 1))
        {
            wrong.Add($"posterior floor {PosteriorFloor} must be between 0 and 1");
        }

        if (wrong.Count > 0)
        {
            throw new ConfigurationException($"expectation maximisation: {string.Join("; ", wrong)}");
        }
    }
}
