using System.Text;
using System.Text.Json;
using MoeSharp.Model;
using MoeSharp.Tensors;

namespace MoeSharp.Checkpoints;

/// <summary>Writes a model's weights as one safetensors file, or as shards with an index.</summary>
internal static class ModelWeightsWriter
{
    /// <summary>Writes the weight files of a model folder.</summary>
    public static void Write(FolderWriter writer, ModelConfig config, IReadOnlyList<Parameter> parameters, ModelFolderOptions options)
    {
        Dictionary<string, Parameter> byName = parameters.ToDictionary(parameter => parameter.Name, StringComparer.Ordinal);
        Write(writer, CheckpointTensor.Group(WeightNames.Of(config)), options, (weights, tensor) => Append(weights, tensor, byName));
    }

    /// <summary>Writes the weight files of a model folder.</summary>
    /// <param name="writer">Folder.</param>
    /// <param name="tensors">Tensors, in order.</param>
    /// <param name="options">Format and size of a shard.</param>
    /// <param name="append">Appends the elements of one tensor.</param>
    public static void Write(FolderWriter writer, List<CheckpointTensor> tensors, ModelFolderOptions options, Action<SafetensorsWriter, CheckpointTensor> append)
    {
        List<List<CheckpointTensor>> shards = Shards(tensors, options);
        if (shards.Count == 1)
        {
            WriteShard(writer, SafetensorsFolder.SingleFile, shards[0], append, options.WeightType);
            return;
        }

        List<(string File, List<CheckpointTensor> Tensors)> named = [.. shards.Select((shard, index) => ($"model-{index + 1:D5}-of-{shards.Count:D5}.safetensors", shard))];
        foreach ((string file, List<CheckpointTensor> shard) in named)
        {
            WriteShard(writer, file, shard, append, options.WeightType);
        }

        writer.WriteText(SafetensorsFolder.IndexFile, Index(named, options.WeightType));
    }

    // Fills each shard up to the bound; a single tensor above the bound gets a shard of its own.
    private static List<List<CheckpointTensor>> Shards(IReadOnlyList<CheckpointTensor> tensors, ModelFolderOptions options)
    {
        List<List<CheckpointTensor>> shards = [[]];
        long bytes = 0;
        foreach (CheckpointTensor tensor in tensors)
        {
            long tensorBytes = Layout(tensor, options.WeightType).ByteLength;
            if (shards[^1].Count > 0 && bytes + tensorBytes > options.LargestFileBytes)
            {
                shards.Add([]);
                bytes = 0;
            }

            shards[^1].Add(tensor);
            bytes += tensorBytes;
        }

        return shards;
    }

    private static void WriteShard(FolderWriter writer, string file, List<CheckpointTensor> tensors, Action<SafetensorsWriter, CheckpointTensor> append, SafetensorsType type) =>
        writer.Write(file, stream =>
        {
            SafetensorsWriter weights = new(stream, [.. tensors.Select(tensor => Layout(tensor, type))], new Dictionary<string, string>());
            foreach (CheckpointTensor tensor in tensors)
            {
                append(weights, tensor);
            }

            weights.Finish();
        });

    private static void Append(SafetensorsWriter weights, CheckpointTensor tensor, Dictionary<string, Parameter> parameters)
    {
        if (tensor.IsOneRange)
        {
            WeightSlice slice = tensor.Slices[0];
            weights.Append(parameters[slice.ParameterName].Value.Slice(checked((int)slice.FirstElement), checked((int)slice.Length)));
            return;
        }

        float[] values = new float[tensor.Length];
        foreach (WeightSlice slice in tensor.Slices)
        {
            WeightRows.Scatter(slice, parameters[slice.ParameterName].Value, values);
        }

        weights.Append(values);
    }

    private static string Index(List<(string File, List<CheckpointTensor> Tensors)> shards, SafetensorsType type)
    {
        using MemoryStream stream = new();
        using (Utf8JsonWriter json = new(stream, new JsonWriterOptions { Indented = true, NewLine = "\n" }))
        {
            json.WriteStartObject();
            json.WriteStartObject("metadata");
            json.WriteNumber("total_size", shards.Sum(shard => shard.Tensors.Sum(tensor => Layout(tensor, type).ByteLength)));
            json.WriteEndObject();
            json.WriteStartObject("weight_map");
            foreach ((string file, List<CheckpointTensor> tensors) in shards)
            {
                foreach (CheckpointTensor tensor in tensors)
                {
                    json.WriteString(tensor.Name, file);
                }
            }

            json.WriteEndObject();
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(stream.ToArray()) + "\n";
    }

    private static TensorLayout Layout(CheckpointTensor tensor, SafetensorsType type) => new(tensor.Name, type, [.. tensor.Shape.Select(dimension => checked((int)dimension))]);
}
