using MoeSharp.Ops;

namespace MoeSharp.Model;

/// <summary>The angles of rotary positions and their extensions to longer contexts, in double precision.</summary>
internal static class RopeFrequencies
{
    /// <summary>The table of a model's rotated lanes.</summary>
    public static RotaryTable Table(ModelConfig config)
    {
        RopeConfig rope = config.Rope;
        int dim = RotatedLanes(config);
        double magnitude = rope.Scaling == RopeScaling.Yarn ? rope.AttentionFactor : 1;
        if (rope.Scaling == RopeScaling.Dynamic)
        {
            return new RotaryTable(dim, rope.IsInterleaved, (position, pair) => position * Math.Pow(DynamicTheta(rope, dim, position), -2.0 * pair / dim), magnitude);
        }

        double[] frequencies = Of(rope, dim);
        return new RotaryTable(dim, rope.IsInterleaved, (position, pair) => position * frequencies[pair], magnitude);
    }

    /// <summary>Angle per position of each pair of lanes.</summary>
    /// <param name="rope">Settings, not of the dynamic kind.</param>
    /// <param name="dim">Rotated lanes.</param>
    public static double[] Of(RopeConfig rope, int dim)
    {
        double[] frequencies = [.. Enumerable.Range(0, dim / 2).Select(pair => Math.Pow(rope.Theta, -2.0 * pair / dim))];
        return rope.Scaling switch
        {
            RopeScaling.Linear => [.. frequencies.Select(frequency => frequency / rope.Factor)],
            RopeScaling.Yarn => Interpolated(rope, dim, frequencies),
            RopeScaling.Llama3 => [.. frequencies.Select(frequency => frequency / Llama3Divisor(rope, frequency))],
            RopeScaling.Divided => [.. frequencies.Select((frequency, pair) => frequency / rope.FrequencyDivisors[pair])],
            _ => frequencies,
        };
    }

    /// <summary>Lanes of a head that are rotated.</summary>
    public static int RotatedLanes(ModelConfig config) =>
        config.LatentAttention is { } latent ? latent.RopeHeadDim : config.Rope.RotaryDim > 0 ? config.Rope.RotaryDim : config.HeadDim;

    /// <summary>The scaling of Llama 3.1 as a divisor for every pair; others as they are.</summary>
    public static RopeConfig Divided(RopeConfig rope, int dim) => rope.Scaling != RopeScaling.Llama3 ? rope : Plain(rope) with
    {
        Scaling = RopeScaling.Divided,
        FrequencyDivisors = [.. Of(Plain(rope), dim).Select(frequency => (float)Llama3Divisor(rope, frequency))],
    };

    /// <summary>Divisors as the scaling of Llama 3.1 with its published numbers, or null where they are something else.</summary>
    public static RopeConfig? Llama3(RopeConfig divided, int dim)
    {
        const int PublishedContext = 8192; // of Llama 3.1, 3.2 and 3.3; their frequency factors are the defaults
        const double Rounding = 1e-5; // other programs compute divisors in float32
        RopeConfig rope = Plain(divided) with { Scaling = RopeScaling.Llama3, Factor = divided.FrequencyDivisors.Max(), OriginalMaxPositions = PublishedContext };
        return Divided(rope, dim).FrequencyDivisors.Zip(divided.FrequencyDivisors).All(pair => Math.Abs(pair.First - pair.Second) <= Rounding * pair.First) ? rope : null;
    }

    private static RopeConfig Plain(RopeConfig rope) => new() { Theta = rope.Theta, RotaryDim = rope.RotaryDim, IsInterleaved = rope.IsInterleaved };

    // Llama 3.1: by the turns of a pair over the original context. Between the bounds the frequency, not the divisor, is interpolated.
    private static double Llama3Divisor(RopeConfig rope, double frequency)
    {
        double turns = rope.OriginalMaxPositions * frequency / (2 * Math.PI);
        double kept = Math.Clamp((turns - rope.LowFrequencyFactor) / (rope.HighFrequencyFactor - rope.LowFrequencyFactor), 0, 1);
        return 1 / (kept + ((1 - kept) / rope.Factor));
    }

    // YaRN, arXiv 2309.00071, section 3.2: pairs that turn often within the original context stay, those that never complete a turn are slowed down by the factor.
    private static double[] Interpolated(RopeConfig rope, int dim, double[] frequencies)
    {
        double low = PairOfTurns(rope, dim, rope.BetaFast);
        double high = PairOfTurns(rope, dim, rope.BetaSlow);
        if (rope.Truncates)
        {
            (low, high) = (Math.Floor(low), Math.Ceiling(high));
        }

        (low, high) = (Math.Max(low, 0), Math.Min(high, dim - 1));
        if (low == high)
        {
            high += 0.001; // of the released code: no division by zero
        }

        double[] result = new double[frequencies.Length];
        for (int pair = 0; pair < result.Length; pair++)
        {
            double ramp = Math.Clamp((pair - low) / (high - low), 0, 1);
            result[pair] = (frequencies[pair] / rope.Factor * ramp) + (frequencies[pair] * (1 - ramp));
        }

        return result;
    }

    // The pair that makes this many turns over the original context.
    private static double PairOfTurns(RopeConfig rope, int dim, double turns) =>
        dim * Math.Log(rope.OriginalMaxPositions / (2 * Math.PI * turns)) / (2 * Math.Log(rope.Theta));

    // Beyond the original context the base grows with the length. A position takes the length at which it is the last, as decoding does, so that a row's bits do not depend on
    // how many rows are read together.
    private static double DynamicTheta(RopeConfig rope, int dim, int position)
    {
        double length = position + 1;
        return length <= rope.OriginalMaxPositions
            ? rope.Theta
            : rope.Theta * Math.Pow((rope.Factor * length / rope.OriginalMaxPositions) - (rope.Factor - 1), dim / (dim - 2.0));
    }
}
