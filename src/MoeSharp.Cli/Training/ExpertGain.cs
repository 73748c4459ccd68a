using System.Globalization;

namespace MoeSharp.Cli.Training;

/// <summary>What the experts bought against the dense model of the same activated FLOPs: per token and per second, whichever sign it has.</summary>
/// <param name="MoeBitsPerByte">DeepSeekMoE at the end.</param>
/// <param name="DenseBitsPerByte">Dense model at the end, after the same tokens.</param>
/// <param name="TimeRatio">Time of a DeepSeekMoE step over that of a dense step.</param>
/// <param name="EqualSeconds">Both at the same number of their own training seconds, before the learning rate drops; null when the curves do not reach so far.</param>
internal sealed record ExpertGain(double MoeBitsPerByte, double DenseBitsPerByte, double TimeRatio, EqualSecondsGain? EqualSeconds)
{
    private const double EqualSecondsAt = 0.75; // of the dense model's seconds: the learning rate of both is still at its full height

    /// <summary>Bits per byte that the experts save on the same tokens; negative when they cost.</summary>
    public double PerToken => DenseBitsPerByte - MoeBitsPerByte;

    /// <summary>Computes the comparison from the curves.</summary>
    public static ExpertGain Of(IReadOnlyList<PairedMeasurement> curve)
    {
        PairedMeasurement last = curve[^1];
        double seconds = EqualSecondsAt * Math.Min(last.DenseSeconds, last.MoeSeconds);
        double? moe = At(seconds, curve, point => point.MoeSeconds, point => point.Moe.BitsPerByte);
        double? dense = At(seconds, curve, point => point.DenseSeconds, point => point.Dense.BitsPerByte);
        EqualSecondsGain? equal = moe is { } a && dense is { } b ? new EqualSecondsGain(seconds, a, b) : null;
        return new ExpertGain(last.Moe.BitsPerByte, last.Dense.BitsPerByte, last.MoeSeconds / Math.Max(1e-9, last.DenseSeconds), equal);
    }

    /// <summary>The comparison in sentences.</summary>
    public IReadOnlyList<string> Sentences()
    {
        string verb = PerToken >= 0 ? "save" : "cost";
        List<string> sentences =
        [
            string.Create(CultureInfo.InvariantCulture, $"Per token: on the same tokens the experts {verb} {Math.Abs(PerToken):0.000} bits per byte ({MoeBitsPerByte:0.000} against {DenseBitsPerByte:0.000}, {100 * Math.Abs(PerToken) / DenseBitsPerByte:0.0} %)."),
        ];
        if (EqualSeconds is { } equal)
        {
            double gain = equal.DenseBitsPerByte - equal.MoeBitsPerByte;
            sentences.Add(string.Create(CultureInfo.InvariantCulture, $"Per second: a step with experts takes {TimeRatio:0.00} times as long. After {equal.Seconds:0} s of their own training, both before their learning rate drops, the experts are {Math.Abs(gain):0.000} bits per byte {(gain >= 0 ? "ahead" : "behind")} ({equal.MoeBitsPerByte:0.000} against {equal.DenseBitsPerByte:0.000}, on a part of the held-out text)."));
        }

        sentences.Add("One seed: runs with other seeds differ by some hundredths. The gain is larger where a text has more to remember than the dense model has room for.");
        return sentences;
    }

    // Linear between the two measurements around a time.
    private static double? At(double seconds, IReadOnlyList<PairedMeasurement> curve, Func<PairedMeasurement, double> time, Func<PairedMeasurement, double> value)
    {
        for (int index = 1; index < curve.Count - 1; index++)
        {
            (PairedMeasurement before, PairedMeasurement after) = (curve[index - 1], curve[index]);
            if (time(before) <= seconds && seconds <= time(after))
            {
                double share = (seconds - time(before)) / Math.Max(1e-9, time(after) - time(before));
                return value(before) + (share * (value(after) - value(before)));
            }
        }

        return null;
    }
}

/// <summary>Both models after the same number of their own training seconds.</summary>
internal sealed record EqualSecondsGain(double Seconds, double MoeBitsPerByte, double DenseBitsPerByte);
