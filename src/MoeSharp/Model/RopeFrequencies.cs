using MoeSharp.Ops;

namespace MoeSharp.Model;

/// <summary>The angles of rotary positions and their extensions to longer contexts, in double precision.</summary>
internal static class RopeFrequencies
{
    /// <summary>The table of a model's rotated lanes.</summary>
    public static RotaryTable Table(ModelConfig config)
    {
        RopeConfig rope = config.Rope;
        int dim = config.LatentAttention is { } latent ? latent.RopeHeadDim : rope.RotaryDim > 0 ? rope.RotaryDim : config.HeadDim;
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
        if (rope.Scaling == RopeScaling.Linear)
        {
            return [.. frequencies.Select(frequency => frequency / rope.Factor)];
        }

        return rope.Scaling == RopeScaling.Yarn ? Interpolated(rope, dim, frequencies) : frequencies;
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
