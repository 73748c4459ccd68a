namespace MoeSharp.Classic;

/// <summary>A model that is trained along its gradient. It keeps scratch numbers, so one thread uses it at a time.</summary>
public interface IGradientModel
{
    /// <summary>All weights in one row; writing to them changes the model.</summary>
    Span<double> Parameters { get; }

    /// <summary>Adds the gradient of one case's error.</summary>
    /// <param name="cases">Cases.</param>
    /// <param name="index">Which of them.</param>
    /// <param name="gradient">+= dE/dw, in the order of <see cref="Parameters"/>.</param>
    /// <returns>The case's error.</returns>
    double AddGradient(CaseSet cases, int index, Span<double> gradient);

    /// <summary>What the model says for one case.</summary>
    /// <param name="cases">Cases.</param>
    /// <param name="index">Which of them.</param>
    /// <param name="output">= output: [target size].</param>
    void Predict(CaseSet cases, int index, Span<double> output);
}
