namespace MoeSharp.Verification;

/// <summary>One comparison with an expectation.</summary>
/// <param name="Name">What was compared.</param>
/// <param name="Measure">What the numbers are, for example <c>max abs</c>.</param>
/// <param name="Observed">Difference found.</param>
/// <param name="Tolerance">Largest difference that passes.</param>
/// <param name="Detail">Where the largest difference lies, or how many values were compared; may be empty.</param>
public sealed record VerificationCheck(string Name, string Measure, double Observed, double Tolerance, string Detail)
{
    /// <summary>Whether the difference is within the tolerance; a difference that is not a number is not.</summary>
    public bool Passed => Observed <= Tolerance;
}

/// <summary>Something that was not compared; neither passed nor failed.</summary>
/// <param name="Name">What.</param>
/// <param name="Reason">Why not.</param>
public sealed record VerificationSkip(string Name, string Reason);

/// <summary>Everything that a fixture folder expects, compared.</summary>
/// <param name="Folder">The fixture.</param>
/// <param name="Checks">Comparisons in the order in which they were made.</param>
/// <param name="Skipped">What was left out, with the reason.</param>
/// <param name="Failure">Why the fixture could not be run to its end, or null.</param>
public sealed record VerificationReport(string Folder, IReadOnlyList<VerificationCheck> Checks, IReadOnlyList<VerificationSkip> Skipped, string? Failure)
{
    /// <summary>Whether everything that could be compared was compared and passed; a folder that holds nothing to compare, nor anything left out for a reason, has not.</summary>
    public bool Passed => Failure is null && Checks.Count + Skipped.Count > 0 && Checks.All(check => check.Passed);
}

/// <summary>What a verification has found so far.</summary>
internal sealed class VerificationResults
{
    /// <summary>Comparisons.</summary>
    public List<VerificationCheck> Checks { get; } = [];

    /// <summary>What was left out.</summary>
    public List<VerificationSkip> Skipped { get; } = [];

    /// <summary>Notes an expectation that nothing here can compare: a failure, never silence.</summary>
    public void AddUnknown(string name, string why) => Checks.Add(new VerificationCheck(name, "not understood", double.PositiveInfinity, 0, why));
}
