using MoeSharp.Kernels.Formats;
using MoeSharp.Model;

namespace MoeSharp.Checkpoints;

/// <summary>In which format a model's matrices are held (<c>--weights</c>).</summary>
/// <remarks>
/// Norms, biases, routers, sinks and other small tensors stay float32 whatever the target. Formats of 256-value blocks fall back where a row is no multiple of 256
/// (<see cref="WeightPlan.Fitting"/>); head and, when tied, embedding are kept at 6 bits or more (<see cref="HeadFormat"/>), because every logit depends on them.
/// </remarks>
public sealed record WeightTarget
{
    private WeightTarget(string name, WeightFormat? format) => (Name, Format) = (name, format);

    /// <summary>Float32, as training needs it.</summary>
    public static WeightTarget Float32 { get; } = new("f32", WeightFormat.F32);

    /// <summary>The formats that the file has.</summary>
    public static WeightTarget Native { get; } = new("native", null);

    /// <summary>Every target, from large to small.</summary>
    public static IReadOnlyList<WeightTarget> All { get; } =
    [
        Float32, Of(WeightFormat.BF16), Of(WeightFormat.F16), Of(WeightFormat.Q8_0), Of(WeightFormat.Q6K), Of(WeightFormat.Q5_1), Of(WeightFormat.Q5K), Of(WeightFormat.Q5_0),
        Of(WeightFormat.Q4_1), Of(WeightFormat.Q4K), Of(WeightFormat.Q4_0), Of(WeightFormat.IQ4NL), Of(WeightFormat.IQ4XS), Of(WeightFormat.MXFP4), Of(WeightFormat.Q3K), Of(WeightFormat.Q2K), Native,
    ];

    /// <summary>The target with a name.</summary>
    /// <exception cref="ConfigurationException">There is none.</exception>
    public static WeightTarget Parse(string name) =>
        All.FirstOrDefault(target => target.Name.Equals(name, StringComparison.OrdinalIgnoreCase))
            ?? throw new ConfigurationException($"weights '{name}' is not known; use one of {string.Join(", ", All.Select(target => target.Name))}");

    /// <summary>Name, as users write it.</summary>
    public string Name { get; }

    /// <summary>The format, or null for the file's own.</summary>
    public WeightFormat? Format { get; }

    /// <summary>The format for the head, and for an embedding that is also the head.</summary>
    /// <param name="format">Format of the other matrices.</param>
    public static WeightFormat HeadFormat(WeightFormat format) => format is WeightFormat.F32 or WeightFormat.BF16 or WeightFormat.F16 or WeightFormat.Q8_0 ? format : WeightFormat.Q6K;

    /// <summary>The format that a matrix gets when one is asked for.</summary>
    /// <param name="format">Format asked for.</param>
    /// <param name="parameter">Name of the matrix.</param>
    /// <param name="columns">Its columns.</param>
    /// <param name="isTied">Whether the embedding is the head as well.</param>
    internal static WeightFormat FormatOf(WeightFormat format, string parameter, int columns, bool isTied) =>
        WeightPlan.Fitting(parameter == "head" || (isTied && parameter == "embedding") ? HeadFormat(format) : format, columns);

    private static WeightTarget Of(WeightFormat format) => new(format.Name(), format);
}
