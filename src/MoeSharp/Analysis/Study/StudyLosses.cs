using MoeSharp.Inference;

namespace MoeSharp.Analysis.Study;

/// <summary>A mean with its standard error.</summary>
/// <param name="Mean">Mean.</param>
/// <param name="StandardError">Standard error of the mean; not a number from one unit.</param>
public readonly record struct Estimate(double Mean, double StandardError);

/// <summary>Losses of one experiment, by document and by window, so that two experiments on the same text can be compared pair by pair.</summary>
/// <remarks>
/// The standard error takes documents as independent, or windows where there are fewer than <see cref="Evaluator.FewestDocuments"/> documents:
/// with residuals r_c = sum over the unit's tokens of (value - mean), sqrt(C / (C - 1) sum r_c^2) / tokens. A difference is taken token by token first.
/// </remarks>
public sealed class StudyLosses
{
    private readonly StudyText _text;
    private readonly double[] _documentLosses;
    private readonly long[] _documentTokens;
    private readonly List<double> _windowLosses = [];
    private readonly List<long> _windowTokens = [];

    internal StudyLosses(StudyText text)
    {
        _text = text;
        _documentLosses = new double[text.Documents.Count];
        _documentTokens = new long[text.Documents.Count];
    }

    /// <summary>What the errors take as independent.</summary>
    public ErrorUnit ErrorUnit => _text.Documents.Count >= Evaluator.FewestDocuments ? ErrorUnit.Document : ErrorUnit.Window;

    /// <summary>Nats per scored token.</summary>
    public Estimate Loss => Over(_documentLosses, _windowLosses);

    /// <summary>Bits per byte of text; not a number where the tokens spell nothing.</summary>
    public double BitsPerByte => _text.NumBytes == 0 ? double.NaN : _documentLosses.Sum() / Math.Log(2) / _text.NumBytes;

    /// <summary>Nats per scored token of one domain.</summary>
    /// <param name="domain">Index of the domain.</param>
    public double OfDomain(int domain)
    {
        (double loss, long tokens) = (0, 0);
        for (int document = 0; document < _documentLosses.Length; document++)
        {
            if (_text.DomainOf(document) == domain)
            {
                loss += _documentLosses[document];
                tokens += _documentTokens[document];
            }
        }

        return tokens == 0 ? double.NaN : loss / tokens;
    }

    /// <summary>How much more nats per token these losses are than others on the same text.</summary>
    /// <param name="other">Losses with the same scored tokens per document.</param>
    /// <exception cref="ArgumentException">The texts differ.</exception>
    public Estimate Minus(StudyLosses other)
    {
        if (!_documentTokens.AsSpan().SequenceEqual(other._documentTokens))
        {
            throw new ArgumentException("losses of different texts have no paired difference", nameof(other));
        }

        double[] documents = [.. _documentLosses.Zip(other._documentLosses, (mine, theirs) => mine - theirs)];
        List<double> windows = [.. _windowLosses.Zip(other._windowLosses, (mine, theirs) => mine - theirs)];
        return Over(documents, windows);
    }

    internal void Add(StudyWindow window, ReadOnlySpan<float> losses, ReadOnlySpan<int> targets)
    {
        (double sum, long tokens) = (0, 0);
        for (int row = 0; row < losses.Length; row++)
        {
            if (targets[row] >= 0)
            {
                sum += losses[row];
                tokens++;
            }
        }

        _documentLosses[window.Document] += sum;
        _documentTokens[window.Document] += tokens;
        _windowLosses.Add(sum);
        _windowTokens.Add(tokens);
    }

    private Estimate Over(double[] documents, List<double> windows)
    {
        bool byDocument = ErrorUnit == ErrorUnit.Document;
        IReadOnlyList<double> losses = byDocument ? documents : windows;
        IReadOnlyList<long> tokens = byDocument ? _documentTokens : _windowTokens;
        long all = _documentTokens.Sum();
        double mean = documents.Sum() / all;
        double squares = 0;
        for (int unit = 0; unit < losses.Count; unit++)
        {
            double residual = losses[unit] - (mean * tokens[unit]);
            squares += residual * residual;
        }

        double error = losses.Count < 2 ? double.NaN : Math.Sqrt(squares * losses.Count / (losses.Count - 1)) / all;
        return new Estimate(mean, error);
    }
}
