using MoeSharp.Checkpoints;
using MoeSharp.Model;
using MoeSharp.Tensors;

namespace MoeSharp.Verification;

/// <summary>A model's weights or gradients under the names that checkpoints give them.</summary>
internal static class NamedWeights
{
    /// <summary>Copies of all weights.</summary>
    public static List<NamedTensor> Values(LanguageModel model) => Slices(model, parameter => parameter.Value.ToArray());

    /// <summary>Copies of all gradients; what no row has touched is zero.</summary>
    public static List<NamedTensor> Gradients(LanguageModel model) =>
        Slices(model, parameter => parameter.GradientIsEmpty ? new float[parameter.Shape.Length] : parameter.Gradient.ToArray());

    private static List<NamedTensor> Slices(LanguageModel model, Func<Parameter, float[]> copy)
    {
        Dictionary<string, float[]> copies = model.Parameters.ToDictionary(parameter => parameter.Name, copy, StringComparer.Ordinal);
        return [.. CheckpointTensor.Group(WeightNames.Of(model.Config)).Select(tensor =>
            new NamedTensor(tensor.Name, [.. tensor.Shape.Select(dimension => checked((int)dimension))], tensor.Gather(name => copies[name])))];
    }
}
