using MoeSharp.Model;

namespace MoeSharp.Checkpoints.Export;

/// <summary>Changes between the two orders of rotary pairs: neighbours (2i, 2i + 1), or halves (i, i + n/2). Only rows of queries and keys move.</summary>
internal static class RotaryRows
{
    /// <summary>Slices of a file that orders pairs otherwise than the parameters do.</summary>
    /// <param name="slices">Slices of a file in the parameters' order.</param>
    /// <param name="config">Architecture of the parameters.</param>
    /// <exception cref="ConfigurationException">Queries and keys are normed, so their rows cannot move.</exception>
    public static IEnumerable<WeightSlice> Reorder(IEnumerable<WeightSlice> slices, ModelConfig config)
    {
        if (config.LatentAttention is not null || config.QueryKeyNorm != QueryKeyNorm.None)
        {
            throw new ConfigurationException($"{config.ModelType}: rotary rows of this attention cannot be reordered");
        }

        return slices.SelectMany(slice => slice.ParameterName.EndsWith("attention.qkv_projection", StringComparison.Ordinal) || slice.ParameterName.EndsWith("attention.qkv_bias", StringComparison.Ordinal)
            ? Reorder(slice, config)
            : [slice]);
    }

    private static IEnumerable<WeightSlice> Reorder(WeightSlice slice, ModelConfig config)
    {
        long rotatedRows = ((long)config.NumAttentionHeads + config.NumKeyValueHeads) * config.HeadDim;
        if (slice.FirstRow >= rotatedRows)
        {
            yield return slice; // values
            yield break;
        }

        int rotary = config.Rope.RotaryDim > 0 ? config.Rope.RotaryDim : config.HeadDim;
        for (long head = 0; head < slice.NumRows; head += config.HeadDim)
        {
            foreach (WeightSlice part in config.Rope.IsInterleaved ? ToHalves(slice, head, rotary) : ToNeighbours(slice, head, rotary))
            {
                yield return part;
            }

            if (rotary < config.HeadDim)
            {
                yield return Part(slice, head + rotary, config.HeadDim - rotary, head + rotary, 1);
            }
        }
    }

    // Row b n/2 + i of the parameter is row 2i + b of the file.
    private static IEnumerable<WeightSlice> ToNeighbours(WeightSlice slice, long head, int rotary) =>
        [Part(slice, head, rotary / 2, head, 2), Part(slice, head + (rotary / 2), rotary / 2, head + 1, 2)];

    // Row 2i + b of the parameter is row b n/2 + i of the file.
    private static IEnumerable<WeightSlice> ToHalves(WeightSlice slice, long head, int rotary) =>
        Enumerable.Range(0, rotary / 2).Select(pair => Part(slice, head + (2 * pair), 2, head + pair, rotary / 2));

    private static WeightSlice Part(WeightSlice slice, long row, long rows, long sourceRow, long step) => slice with
    {
        FirstRow = slice.FirstRow + row,
        NumRows = rows,
        SourceOffset = slice.SourceOffset + (sourceRow * slice.SourceRowStep),
        SourceRowStep = step * slice.SourceRowStep,
    };
}
