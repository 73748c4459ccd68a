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

/// <summary>Everything that a fixture folder expects, compared.</summary>
/// <param name="Folder">The fixture.</param>
/// <param name="Checks">Comparisons in the order in which they were made.</param>
/// <param name="Failure">Why the fixture could not be run to its end, or null.</param>
public sealed record VerificationReport(string Folder, IReadOnlyList<VerificationCheck> Checks, string? Failure)
{
    /// <summary>Whether everything was compared and passed.</summary>
    public bool Passed => Failure is null && Checks.Count > 0 && Checks.All(check => check.Passed);
}
