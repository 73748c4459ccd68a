namespace MoeSharp.Moe.Routing.Assignment;

/// <summary>How a transport plan is made of logits.</summary>
/// <param name="Temperature">tau: the kernel is exp(logits / tau).</param>
/// <param name="MostRounds">Rounds at most.</param>
/// <param name="Tolerance">Rounds end after the one that moves the experts' factors by no more than this on average; 0 makes all rounds.</param>
/// <param name="Epsilon">Added to the denominators.</param>
/// <param name="SubtractsRowMax">Whether the largest logit of a row is subtracted first; without it, large logits overflow.</param>
public readonly record struct SinkhornRule(double Temperature, int MostRounds, double Tolerance, double Epsilon, bool SubtractsRowMax);

/// <summary>Scales exp(logits / tau) by a factor per token and one per expert until every token sends 1/T and every expert receives 1/E (Sinkhorn).</summary>
/// <remarks>
/// plan = diag(u) K diag(v); a round is u = (1/T) / (K v + eps), then v = (1/E) / (K' u + eps), v beginning at 1
/// (S-BASE of Clark et al., arXiv 2202.01169, and Megatron with temperature 1, eps 1e-8 and no row maximum). Kernel, factors and sums are float64; with the row
/// maximum subtracted no entry is below e^-300, so that however low the temperature every token can be sent to every expert and a balanced plan exists.
/// </remarks>
public sealed class SinkhornScaling
{
    private const double LeastExponent = -300; // products of two such entries are still numbers

    private double[] _kernel = []; // K, [rows, experts]
    private double[] _tokenFactors = []; // u
    private double[] _expertFactors = []; // v
    private double[] _received = []; // K' u

    /// <summary>Computes a plan.</summary>
    /// <param name="logits">[rows, experts].</param>
    /// <param name="numExperts">Experts.</param>
    /// <param name="isPadding">Rows that take no part; empty for none.</param>
    /// <param name="rule">How.</param>
    /// <param name="plan">= the plan, 0 for padding, [rows, experts].</param>
    /// <returns>Rounds made.</returns>
    public int Balance(ReadOnlySpan<float> logits, int numExperts, ReadOnlySpan<bool> isPadding, SinkhornRule rule, Span<float> plan)
    {
        int rows = logits.Length / numExperts;
        Array.Resize(ref _kernel, Math.Max(_kernel.Length, logits.Length));
        Span<double> kernel = _kernel.AsSpan(0, logits.Length);
        int tokens = FillKernel(logits, numExperts, isPadding, rule, kernel);
        if (tokens == 0)
        {
            plan.Clear();
            return 0;
        }

        Array.Resize(ref _tokenFactors, Math.Max(_tokenFactors.Length, rows));
        if (_expertFactors.Length != numExperts)
        {
            (_expertFactors, _received) = (new double[numExperts], new double[numExperts]);
        }

        Array.Fill(_expertFactors, 1);
        int round = 0;
        double moved = double.PositiveInfinity;
        while (round < rule.MostRounds && (round == 0 || rule.Tolerance == 0 || moved > rule.Tolerance))
        {
            moved = Round(kernel, rows, 1.0 / tokens, rule.Epsilon);
            round++;
        }

        for (int row = 0; row < rows; row++)
        {
            for (int expert = 0; expert < numExperts; expert++)
            {
                int at = (row * numExperts) + expert;
                plan[at] = (float)(_tokenFactors[row] * kernel[at] * _expertFactors[expert]);
            }
        }

        return round;
    }

    private static int FillKernel(ReadOnlySpan<float> logits, int numExperts, ReadOnlySpan<bool> isPadding, SinkhornRule rule, Span<double> kernel)
    {
        int tokens = 0;
        for (int row = 0; row < logits.Length / numExperts; row++)
        {
            ReadOnlySpan<float> values = logits.Slice(row * numExperts, numExperts);
            Span<double> entries = kernel.Slice(row * numExperts, numExperts);
            if (isPadding.Length > 0 && isPadding[row])
            {
                entries.Clear();
                continue;
            }

            tokens++;
            float shift = float.NegativeInfinity;
            foreach (float value in values)
            {
                shift = Math.Max(shift, value);
            }

            shift = rule.SubtractsRowMax ? shift : 0f;
            for (int expert = 0; expert < numExperts; expert++)
            {
                double exponent = (values[expert] - shift) / rule.Temperature;
                entries[expert] = Math.Exp(rule.SubtractsRowMax ? Math.Max(LeastExponent, exponent) : exponent);
            }
        }

        return tokens;
    }

    // One round over the kernel; returns the mean change of the experts' factors.
    private double Round(ReadOnlySpan<double> kernel, int rows, double share, double epsilon)
    {
        ReadOnlySpan<double> expertFactors = _expertFactors;
        Span<double> received = _received;
        received.Clear();
        for (int row = 0; row < rows; row++)
        {
            ReadOnlySpan<double> entries = kernel.Slice(row * received.Length, received.Length);
            double sent = 0;
            for (int expert = 0; expert < entries.Length; expert++)
            {
                sent += entries[expert] * expertFactors[expert];
            }

            double factor = Factor(share, sent + epsilon);
            _tokenFactors[row] = factor;
            for (int expert = 0; expert < entries.Length; expert++)
            {
                received[expert] += entries[expert] * factor;
            }
        }

        double moved = 0;
        for (int expert = 0; expert < received.Length; expert++)
        {
            double factor = Factor(1.0 / received.Length, received[expert] + epsilon);
            moved += Math.Abs(factor - _expertFactors[expert]) / received.Length;
            _expertFactors[expert] = factor;
        }

        return moved;
    }

    // Nothing can be scaled to something: a token or expert whose kernel is all zero (padding, or logits too far apart) stays without.
    private static double Factor(double wanted, double there) => there > 0 ? wanted / there : 0;
}
