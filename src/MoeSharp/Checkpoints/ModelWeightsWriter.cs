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
        List<List<WeightSlice>> shards = Shards(WeightNames.Of(config), options);
        if (shards.Count == 1)
        {
            WriteShard(writer, SafetensorsFolder.SingleFile, shards[0], byName, options.WeightType);
            return;
        }

        List<(string File, List<WeightSlice> Slices)> named = [.. shards.Select((shard, index) => ($"model-{index + 1:D5}-of-{shards.Count:D5}.safetensors", shard))];
        foreach ((string file, List<WeightSlice> slices) in named)
        {
            WriteShard(writer, file, slices, byName, options.WeightType);
        }

        writer.WriteText(SafetensorsFolder.IndexFile, Index(named, options.WeightType));
    }

    // Fills each shard up to the bound; a single tensor above the bound gets a shard of its own.
    private static List<List<WeightSlice>> Shards(IReadOnlyList<WeightSlice> slices, ModelFolderOptions options)
    {
        List<List<WeightSlice>> shards = [[]];
        long bytes = 0;
        foreach (WeightSlice slice in slices)
        {
            long sliceBytes = Layout(slice, options.WeightType).ByteLength;
            if (shards[^1].Count > 0 && bytes + sliceBytes > options.LargestFileBytes)
            {
                shards.Add([]);
                bytes = 0;
            }

            shards[^1].Add(slice);
            bytes += sliceBytes;
        }

        return shards;
    }

    private static void WriteShard(FolderWriter writer, string file, List<WeightSlice> slices, Dictionary<string, Parameter> parameters, SafetensorsType type) =>
        writer.Write(file, stream =>
        {
            SafetensorsWriter weights = new(stream, [.. slices.Select(slice => Layout(slice, type))], new Dictionary<string, string>());
            foreach (WeightSlice slice in slices)
            {
                weights.Append(parameters[slice.ParameterName].Value.Slice(checked((int)slice.Offset), checked((int)slice.Length)));
            }

            weights.Finish();
        });

    private static string Index(List<(string File, List<WeightSlice> Slices)> shards, SafetensorsType type)
    {
        using MemoryStream stream = new();
        using (Utf8JsonWriter json = new(stream, new JsonWriterOptions { Indented = true, NewLine = "\n" }))
        {
            json.WriteStartObject();
            json.WriteStartObject("metadata");
            json.WriteNumber("total_size", shards.Sum(shard => shard.Slices.Sum(slice => Layout(slice, type).ByteLength)));
            json.WriteEndObject();
            json.WriteStartObject("weight_map");
            foreach ((string file, List<WeightSlice> slices) in shards)
            {
                foreach (WeightSlice slice in slices)
                {
                    json.WriteString(slice.CheckpointName, file);
                }
            }

            json.WriteEndObject();
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(stream.ToArray()) + "\n";
    }

    private static TensorLayout Layout(WeightSlice slice, SafetensorsType type) => new(slice.CheckpointName, type, slice.Shape);
}
