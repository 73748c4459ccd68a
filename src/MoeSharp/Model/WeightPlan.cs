using MoeSharp.Kernels.Formats;
using MoeSharp.Kernels.Quantized;
using MoeSharp.Tensors;

namespace MoeSharp.Model;

/// <summary>How a model holds each weight: float32 and trainable, or packed in given formats.</summary>
/// <param name="find">Gives the parts of a weight by name and shape, or null for float32. It is asked once per weight, when the model is built.</param>
public sealed class WeightPlan(Func<string, Shape, PackedPart[]?> find)
{
    /// <summary>Everything float32.</summary>
    public static WeightPlan Trainable { get; } = new(static (_, _) => null);

    /// <summary>Every matrix but the routers in one format; where its blocks do not fill a row, the nearest format whose blocks do.</summary>
    /// <param name="format">Format wanted.</param>
    public static WeightPlan Uniform(WeightFormat format) =>
        new((name, shape) => IsMatrixOfProducts(name, shape) ? [new PackedPart(shape[shape.Rank - 2], Fitting(format, shape[shape.Rank - 1]))] : null);

    /// <summary>Whether a weight is a matrix that products read, rather than a norm, a bias, a sink or a router, which stay float32.</summary>
    public static bool IsMatrixOfProducts(string name, Shape shape) => shape.Rank >= 2 && shape[shape.Rank - 2] > 1
        && !name.Contains("router", StringComparison.Ordinal) && !name.Contains("bias", StringComparison.Ordinal) && !name.EndsWith("_gate", StringComparison.Ordinal);

    /// <summary>The format itself, or, where its blocks do not fill so many columns, the nearest one whose blocks do.</summary>
    public static WeightFormat Fitting(WeightFormat format, int columns)
    {
        while (columns % format.BlockLength() != 0)
        {
            format = format switch
            {
                WeightFormat.Q2K or WeightFormat.Q3K or WeightFormat.IQ4XS => WeightFormat.IQ4NL,
                WeightFormat.Q4K => WeightFormat.Q5_0,
                WeightFormat.Q5K => WeightFormat.Q5_1,
                WeightFormat.Q6K or WeightFormat.Q8K => WeightFormat.Q8_0,
                _ => WeightFormat.BF16,
            };
        }

        return format;
    }

    /// <summary>The parts of a weight, or null for float32.</summary>
    public IReadOnlyList<PackedPart>? Find(string name, Shape shape) => find(name, shape);

    /// <summary>Packs the weights that the plan names; what they held is gone.</summary>
    internal void Apply(IReadOnlyList<Parameter> parameters)
    {
        foreach (Parameter parameter in parameters)
        {
            Shape shape = parameter.Shape;
            if (find(parameter.Name, shape) is { } parts)
            {
                parameter.Pack(new PackedMatrix(shape.Rank == 3 ? shape[0] : 1, shape[shape.Rank - 1], parts));
            }
        }
    }
}
