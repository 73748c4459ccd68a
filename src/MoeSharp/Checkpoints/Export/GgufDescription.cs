using MoeSharp.Checkpoints.Gguf;
using MoeSharp.Kernels;
using MoeSharp.Kernels.Formats;
using MoeSharp.Model;

namespace MoeSharp.Checkpoints.Export;

/// <summary>Makes sure that metadata describes the model it was written for: a property that a GGUF reader would not see is an error, not another model.</summary>
internal static class GgufDescription
{
    /// <summary>Reads the metadata back, from a file that has the tensors' names but not the contents of weights.</summary>
    /// <param name="entries">Metadata.</param>
    /// <param name="config">The model in the order of the file.</param>
    /// <param name="tensors">Tensors that the file will have.</param>
    /// <exception cref="ConfigurationException">The model that would be read is another one.</exception>
    public static void Check(GgufEntries entries, ModelConfig config, IEnumerable<WeightTensor> tensors)
    {
        WeightTensor[] names = [.. tensors.Select(tensor => tensor.Name == GgufNames.RotaryDivisors ? tensor : new WeightTensor(tensor.Name, [1], WeightFormat.F32))];
        string folder = Directory.CreateTempSubdirectory("moesharp-").FullName;
        try
        {
            string check = Path.Combine(folder, "check.gguf");
            using (GgufWriter writer = new(check, entries, names))
            {
                foreach (WeightTensor tensor in names)
                {
                    writer.Append(tensor.Name == GgufNames.RotaryDivisors ? NumberFormats.Bytes(config.Rope.FrequencyDivisors.ToArray()) : new byte[sizeof(float)]);
                }

                writer.Complete();
            }

            using GgufFile file = GgufFile.Open(check);
            if (ConfigDifference.Between(config, GgufArchitecture.ConfigOf(file)) is { } difference)
            {
                throw new ConfigurationException($"GGUF cannot describe this model for model_type '{config.ModelType}': {difference}");
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
