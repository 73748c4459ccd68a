using MoeSharp.Kernels.Formats;

namespace MoeSharp.Checkpoints.Export;

/// <summary>Reads parameters of a model from its files without loading the model.</summary>
internal sealed class ParameterReader
{
    private readonly IWeightSource _source;
    private readonly Dictionary<string, WeightSlice[]> _slices;

    public ParameterReader(ModelFiles files)
    {
        _source = files.Source;
        _slices = files.Slices.GroupBy(slice => slice.ParameterName, StringComparer.Ordinal)
            .ToDictionary(group => group.Key, group => group.OrderBy(slice => slice.FirstElement).ToArray(), StringComparer.Ordinal);
    }

    /// <summary>Where the elements come from, for messages.</summary>
    public string Description => _source.Description;

    /// <summary>Reads elements as floats.</summary>
    /// <param name="parameter">Name.</param>
    /// <param name="first">First element; the beginning of a row.</param>
    /// <param name="values">= elements; whole rows.</param>
    public void Read(string parameter, long first, Span<float> values)
    {
        for (int done = 0; done < values.Length;)
        {
            WeightSlice slice = Slice(parameter, first + done);
            long within = first + done - slice.FirstElement;
            int count = (int)Math.Min(values.Length - done, slice.Length - within);
            WeightRows.Read(_source, _source.Find(slice.CheckpointName)!, slice, within / slice.NumColumns, values.Slice(done, count)); // the table has been matched
            done += count;
        }
    }

    /// <summary>Copies elements as they are stored, if they are stored in a format and lie together.</summary>
    public bool TryCopy(string parameter, long first, int count, WeightFormat format, Span<byte> blocks)
    {
        WeightSlice slice = Slice(parameter, first);
        long within = first - slice.FirstElement;
        WeightTensor tensor = _source.Find(slice.CheckpointName)!; // the table has been matched
        if (tensor.Format != format || !slice.IsContiguous || !LoadPlan.CanCopy(format, slice) || within + count > slice.Length)
        {
            return false;
        }

        _source.ReadBlocks(tensor, slice.SourceOffset + within, count, blocks);
        return true;
    }

    /// <summary>The format in which a range is stored; float32 where it has several, or rows that are not runs of its blocks.</summary>
    public WeightFormat FormatOf(string parameter, long first, long length)
    {
        WeightFormat? format = null;
        for (long done = 0; done < length;)
        {
            WeightSlice slice = Slice(parameter, first + done);
            WeightFormat stored = LoadPlan.NativeFormat(_source.Find(slice.CheckpointName)!, slice); // the table has been matched
            if (format is not null && format != stored)
            {
                return WeightFormat.F32;
            }

            format = stored;
            done = slice.FirstElement + slice.Length - first;
        }

        return format ?? WeightFormat.F32;
    }

    private WeightSlice Slice(string parameter, long element)
    {
        WeightSlice[] slices = _slices[parameter];
        return slices[LoadPlan.FirstSlice(slices, element)];
    }
}
