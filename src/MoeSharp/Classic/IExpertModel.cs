namespace MoeSharp.Classic;

/// <summary>A leaf of a hierarchical mixture: a density of the target given the input, which can be fitted to weighted cases.</summary>
public interface IExpertModel
{
    /// <summary>Numbers per input.</summary>
    int InputSize { get; }

    /// <summary>Numbers per target.</summary>
    int TargetSize { get; }

    /// <summary>Numbers that are fitted.</summary>
    int ParameterCount { get; }

    /// <summary>Refuses targets that the density is not defined for.</summary>
    /// <exception cref="ConfigurationException">A target is outside; the message names the case.</exception>
    void CheckTargets(CaseSet cases);

    /// <summary>log P(y | x).</summary>
    double LogDensity(ReadOnlySpan<double> x, ReadOnlySpan<double> y);

    /// <summary>E[y | x].</summary>
    /// <param name="x">[input size].</param>
    /// <param name="mean">= [target size].</param>
    void Mean(ReadOnlySpan<double> x, Span<double> mean);

    /// <summary>Raises sum_t w_t log P(y_t | x_t), or leaves everything as it is.</summary>
    /// <param name="cases">Cases.</param>
    /// <param name="weights">[cases]: w, the posterior of this expert.</param>
    /// <param name="before">The sum at the present parameters.</param>
    /// <param name="options">Ridge, floor, halvings.</param>
    /// <param name="what">Name of the expert, for error messages.</param>
    void Refit(CaseSet cases, ReadOnlySpan<double> weights, double before, EmOptions options, string what);
}
