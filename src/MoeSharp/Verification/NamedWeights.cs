using MoeSharp.Checkpoints;
using MoeSharp.Model;
using MoeSharp.Moe.Balance;
using MoeSharp.Tensors;

namespace MoeSharp.Verification;

/// <summary>A model's weights or gradients under the names that checkpoints give them.</summary>
internal static class NamedWeights
{
    /// <summary>Copies of all weights.</summary>
    public static List<NamedTensor> Values(LanguageModel model) => Slices(model, parameter => parameter.Value.ToArray(), _ => true);

    /// <summary>Copies of all gradients; what no row has touched is zero. Selection biases have none.</summary>
    public static List<NamedTensor> Gradients(LanguageModel model)
    {
        HashSet<string> biases = [.. model.Parameters.Where(SelectionBias.Is).Select(parameter => parameter.Name)];
        return Slices(
            model,
            parameter => parameter.GradientIsEmpty ? new float[parameter.Shape.Length] : parameter.Gradient.ToArray(),
            slice => !biases.Contains(slice.ParameterName));
    }

    private static List<NamedTensor> Slices(LanguageModel model, Func<Parameter, float[]> copy, Func<WeightSlice, bool> isWanted)
    {
        Dictionary<string, float[]> copies = model.Parameters.ToDictionary(parameter => parameter.Name, copy, StringComparer.Ordinal);
        return [.. CheckpointTensor.Group(WeightNames.Of(model.Config).Where(isWanted)).Select(tensor =>
            new NamedTensor(tensor.Name, [.. tensor.Shape.Select(dimension => checked((int)dimension))], tensor.Gather(name => copies[name])))];
    }
}
