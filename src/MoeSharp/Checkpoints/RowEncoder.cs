using MoeSharp.Kernels.Formats;

namespace MoeSharp.Checkpoints;

/// <summary>Quantises rows of a named weight: an error says which.</summary>
internal static class RowEncoder
{
    /// <summary>Encodes whole rows; see <see cref="BlockEncoder.Encode"/>.</summary>
    /// <param name="source">Where the weight comes from.</param>
    /// <param name="name">Its tensor or parameter.</param>
    /// <param name="format">Stored format.</param>
    /// <param name="values">Rows.</param>
    /// <param name="importance">Weights of the columns, or empty.</param>
    /// <param name="blocks">= blocks.</param>
    /// <exception cref="FileFormatException">A value is NaN or infinite.</exception>
    public static void Encode(string source, string name, WeightFormat format, ReadOnlySpan<float> values, ReadOnlySpan<float> importance, Span<byte> blocks)
    {
        try
        {
            BlockEncoder.Encode(format, values, importance, blocks);
        }
        catch (FileFormatException exception)
        {
            throw new FileFormatException($"{source}: {SafetensorsHeader.Shown(name)}: {exception.Message}; --weights bf16 keeps them as they are", exception);
        }
    }
}
