using MoeSharp.Kernels.Formats;
using MoeSharp.Kernels.Quantized;
using MoeSharp.Model;
using MoeSharp.Tensors;

namespace MoeSharp.Checkpoints;

/// <summary>How one parameter will be held: packed in parts, or float32.</summary>
/// <param name="Name">Parameter.</param>
/// <param name="Shape">Its dimensions.</param>
/// <param name="Parts">Rows of each group by format; empty for plain float32.</param>
/// <param name="Slices">What fills it, by rows.</param>
public sealed record PlannedWeight(string Name, Shape Shape, IReadOnlyList<PackedPart> Parts, IReadOnlyList<WeightSlice> Slices)
{
    /// <summary>Whether the parameter is packed.</summary>
    public bool IsPacked => Parts.Count > 0;

    /// <summary>Matrices in the stack.</summary>
    public int Groups => Shape.Rank == 3 ? Shape[0] : 1;

    /// <summary>Rows of one matrix; the elements of a vector.</summary>
    public int Rows => Shape.Rank == 1 ? Shape[0] : Shape[Shape.Rank - 2];

    /// <summary>Columns of one matrix; 1 for a vector.</summary>
    public int Columns => Shape.Rank == 1 ? 1 : Shape[Shape.Rank - 1];

    /// <summary>Memory that it takes.</summary>
    public long Bytes => IsPacked ? Parts.Sum(BytesOf) : Shape.Length * sizeof(float);

    /// <summary>Bytes that fill it, without what strips and cache lines are padded with.</summary>
    public long FilledBytes => IsPacked ? Groups * Parts.Sum(part => part.Rows * part.Format.RowBytes(Columns)) : Bytes;

    /// <summary>Memory that one of its parts takes, in all groups.</summary>
    public long BytesOf(PackedPart part) => PackedMatrix.BytesOf(Groups, Columns, part);
}

/// <summary>In which formats a model's parameters are held when it is loaded.</summary>
public static class LoadPlan
{
    /// <summary>Plans every parameter of a model.</summary>
    /// <param name="parameters">Parameters, without memory so far.</param>
    /// <param name="source">Checkpoint.</param>
    /// <param name="slices">What of it fills the parameters.</param>
    /// <param name="target">Wanted formats.</param>
    /// <param name="isTied">Whether the embedding is the head as well.</param>
    /// <exception cref="InvalidOperationException">The slices do not cover every element of every parameter once.</exception>
    public static IReadOnlyList<PlannedWeight> Of(IReadOnlyList<Parameter> parameters, IWeightSource source, IReadOnlyList<WeightSlice> slices, WeightTarget target, bool isTied)
    {
        ILookup<string, WeightSlice> byParameter = slices.ToLookup(slice => slice.ParameterName, StringComparer.Ordinal);
        return [.. parameters.Select(parameter => Plan(parameter, source, [.. byParameter[parameter.Name].OrderBy(slice => slice.FirstElement)], target, isTied))];
    }

    /// <summary>Plans a model that is not on disk.</summary>
    /// <param name="config">Architecture.</param>
    /// <param name="target">Wanted format.</param>
    /// <exception cref="ConfigurationException">The target is the file's own formats.</exception>
    public static IReadOnlyList<PlannedWeight> Of(ModelConfig config, WeightTarget target)
    {
        if (target.Format is not { } format)
        {
            throw new ConfigurationException("--weights native needs a model with weights; name a format");
        }

        using LanguageModel empty = new(config); // parameters take memory when they are filled
        return [.. empty.Parameters.Select(parameter => Uniform(new PlannedWeight(parameter.Name, parameter.Shape, [], []), format, config.TieWordEmbeddings))];
    }

    private static PlannedWeight Uniform(PlannedWeight plain, WeightFormat format, bool isTied) =>
        (format != WeightFormat.F32 || IsTooLong(plain.Shape)) && WeightPlan.IsMatrixOfProducts(plain.Name, plain.Shape)
            ? plain with { Parts = [new PackedPart(plain.Rows, WeightTarget.FormatOf(format, plain.Name, plain.Columns, isTied))] }
            : plain;

    private static PlannedWeight Plan(Parameter parameter, IWeightSource source, WeightSlice[] slices, WeightTarget target, bool isTied)
    {
        CheckCover(parameter, slices);
        PlannedWeight plain = new(parameter.Name, parameter.Shape, [], slices);
        if (!WeightPlan.IsMatrixOfProducts(parameter.Name, parameter.Shape) || slices.Any(slice => slice.NumColumns != plain.Columns))
        {
            return !IsTooLong(parameter.Shape) ? plain : throw new ConfigurationException($"{source.Description}: {parameter.Name} {parameter.Shape} has more than {int.MaxValue} numbers, and only matrices may");
        }

        if (target.Format is { } format)
        {
            return Uniform(plain, format, isTied);
        }

        List<PackedPart> parts = NativeParts(plain, source, slices);
        return parts.TrueForAll(part => part.Format == WeightFormat.F32) ? Uniform(plain, WeightFormat.F32, isTied) : plain with { Parts = parts };
    }

    // Plain float32 is one span; packed float32 holds the same numbers without that bound.
    private static bool IsTooLong(Shape shape) => shape.Length > int.MaxValue;

    // The formats of the first group, row by row, provided that every group has the same; neighbours of one format are one part.
    private static List<PackedPart> NativeParts(PlannedWeight weight, IWeightSource source, WeightSlice[] slices)
    {
        List<PackedPart> first = [];
        List<PackedPart> current = [];
        long row = 0;
        foreach (WeightSlice slice in slices)
        {
            WeightFormat format = NativeFormat(source.Find(slice.CheckpointName)!, slice); // the table has been matched
            for (long left = slice.NumRows; left > 0;)
            {
                int count = (int)Math.Min(left, weight.Rows - (row % weight.Rows));
                Append(current, new PackedPart(count, format));
                row += count;
                left -= count;
                if (row % weight.Rows == 0)
                {
                    if (row > weight.Rows && !current.SequenceEqual(first))
                    {
                        return [new PackedPart(weight.Rows, WeightFormat.F32)]; // experts in different formats
                    }

                    (first, current) = (row == weight.Rows ? current : first, []);
                }
            }
        }

        return first;
    }

    private static void Append(List<PackedPart> parts, PackedPart part)
    {
        if (parts.Count > 0 && parts[^1].Format == part.Format)
        {
            parts[^1] = part with { Rows = parts[^1].Rows + part.Rows };
        }
        else
        {
            parts.Add(part);
        }
    }

    /// <summary>The format that a slice keeps. Blocks run along a tensor's own rows: where a parameter's rows run otherwise, only plain numbers keep theirs.</summary>
    internal static WeightFormat NativeFormat(WeightTensor tensor, WeightSlice slice) => tensor.Format switch
    {
        WeightFormat.F32 or WeightFormat.F16 or WeightFormat.BF16 => tensor.Format,
        WeightFormat.F8E4M3 or WeightFormat.F8E5M2 => WeightFormat.BF16, // without a scale: 4 significant bits, bfloat16 has 8
        _ when tensor.Format.BlockLength() > 1 && CanCopy(tensor.Format, slice) => tensor.Format,
        _ => WeightFormat.F32,
    };

    /// <summary>Whether a slice's rows are runs of whole blocks of the tensor's format.</summary>
    internal static bool CanCopy(WeightFormat format, WeightSlice slice)
    {
        int block = format.BlockLength();
        return slice.HasContiguousRows && slice.NumColumns % block == 0 && slice.SourceOffset % block == 0 && slice.SourceRowStep % block == 0;
    }

    /// <summary>The last slice that begins at or before an element.</summary>
    internal static int FirstSlice(IReadOnlyList<WeightSlice> slices, long element)
    {
        int low = 0, high = slices.Count - 1;
        while (low < high)
        {
            int middle = (low + high + 1) / 2;
            (low, high) = slices[middle].FirstElement <= element ? (middle, high) : (low, middle - 1);
        }

        return low;
    }

    private static void CheckCover(Parameter parameter, WeightSlice[] slices)
    {
        long next = 0;
        foreach (WeightSlice slice in slices)
        {
            if (slice.FirstElement != next)
            {
                throw new InvalidOperationException($"the table of names fills element {slice.FirstElement} of {parameter.Name} after {next}");
            }

            next += slice.Length;
        }

        if (next != parameter.Shape.Length)
        {
            throw new InvalidOperationException($"the table of names fills {next} of {parameter.Shape.Length} elements of {parameter.Name}");
        }
    }
}
