using MoeSharp.Kernels.Formats;

namespace MoeSharp.Checkpoints;

/// <summary>Tensor types that GGUF files may name but that are not decoded, so that a message can call them by name.</summary>
internal static class GgufTypeNames
{
    private static readonly Dictionary<uint, string> s_names = new()
    {
        [9] = "q8_1",
        [16] = "iq2_xxs",
        [17] = "iq2_xs",
        [18] = "iq3_xxs",
        [19] = "iq1_s",
        [21] = "iq3_s",
        [22] = "iq2_s",
        [29] = "iq1_m",
        [34] = "tq1_0",
        [35] = "tq2_0",
    };

    /// <summary>Names of the types that are decoded.</summary>
    public static IEnumerable<string> Supported => WeightFormats.All.Where(format => format.GgmlType() is not null).Select(format => format.Name());

    /// <summary>Name of a type that is known but not decoded, or null.</summary>
    public static string? Find(uint type) => s_names.GetValueOrDefault(type);
}
