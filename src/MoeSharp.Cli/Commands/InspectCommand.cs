using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Json;
using MoeSharp.Checkpoints;
using MoeSharp.Model;
using MoeSharp.Planning;

namespace MoeSharp.Cli.Commands;

/// <summary><c>moe inspect</c>: what a model consists of, what it computes and what it needs.</summary>
internal static class InspectCommand
{
    /// <summary>Builds the verb.</summary>
    public static Command Create()
    {
        Argument<string?> model = new("model") { Description = "A preset, a config.json, a model folder, a .gguf file, a checkpoint or a run folder.", Arity = ArgumentArity.ZeroOrOne };
        Option<int?> sequenceLength = new("--sequence-length") { Description = "Tokens per sequence for the FLOPs; the model's longest sequence when absent." };
        Option<string?> weights = new("--weights") { Description = $"Also show what running it needs with weights in this format: {string.Join(", ", WeightTarget.All.Select(target => target.Name))}." };
        Option<int> context = new("--context") { Description = "Tokens of the context for that.", DefaultValueFactory = _ => MemoryNotice.UsualContext };
        Option<string?> dense = new("--dense") { Description = "Show the dense model with the same parameters instead: activated (as many as a token uses) or total." };
        Option<bool> json = new("--json") { Description = "Print one JSON document." };
        Option<bool> list = new("--list") { Description = "List the presets." };
        Command command = new("inspect", "Shows a model's parameters, FLOPs and memory.") { model, sequenceLength, weights, context, dense, json, list };
        command.SetAction(parsed =>
        {
            if (parsed.GetValue(list))
            {
                parsed.InvocationConfiguration.Output.Write(parsed.GetValue(json) ? PresetsAsJson() : PresetsAsTable());
                return CommandLine.Done;
            }

            string name = parsed.GetValue(model) ?? throw new ConfigurationException("inspect needs a model: a preset, a config.json, a model folder or a run folder; 'moe inspect --list' shows the presets");
            ModelConfig config = Load(name, parsed.InvocationConfiguration.Error);
            DenseBaseline? baseline = parsed.GetValue(dense) is { } match ? DenseBaseline.Of(config, MatchOf(match)) : null;
            if (baseline is not null && parsed.GetValue(weights) is not null)
            {
                throw new ConfigurationException("--dense shows a model that has no files yet, --weights what running files needs; use one of them");
            }

            config = baseline?.Config ?? config;
            int tokens = parsed.GetValue(sequenceLength) ?? config.MaxPositionEmbeddings;
            if (tokens < 1)
            {
                throw new ConfigurationException($"--sequence-length {tokens} must be at least 1");
            }

            ServingNeeds? needs = parsed.GetValue(weights) is { } format ? ServingNeeds.Measure(name, config, WeightTarget.Parse(format), parsed.GetValue(context)) : null;
            parsed.InvocationConfiguration.Output.Write(parsed.GetValue(json) ? AsJson(name, config, tokens, needs, baseline) : AsTable(name, config, tokens, needs, baseline));
            return CommandLine.Done;
        });
        return command;
    }

    private static ModelConfig Load(string name, TextWriter warnings)
    {
        if (ModelPresets.Names.Contains(name))
        {
            return ModelPresets.Get(name);
        }

        if (ModelPath.IsGguf(name))
        {
            using ModelFiles files = ModelFiles.Open(name);
            return files.Config;
        }

        if (File.Exists(name))
        {
            return ModelConfigJson.Load(name);
        }

        if (!Directory.Exists(name))
        {
            string hint = SpellingSuggestion.Hint(name, ModelPresets.Names);
            throw new ConfigurationException($"'{name}' is neither a preset{hint} nor a file nor a folder; 'moe inspect --list' shows the presets");
        }

        FoundModel found = ModelPath.Find(name);
        foreach (DamagedCheckpoint damaged in found.Damaged)
        {
            warnings.WriteLine($"moe: {damaged.Folder} is damaged and passed over: {damaged.Reason}");
        }

        return ModelFolder.LoadConfig(found.Folder);
    }

    private static DenseMatch MatchOf(string name) => name switch
    {
        "activated" => DenseMatch.Activated,
        "total" => DenseMatch.Total,
        _ => throw new ConfigurationException($"--dense '{name}' is not known; use activated or total"),
    };

    private static string AsJson(string name, ModelConfig config, int sequenceLength, ServingNeeds? needs, DenseBaseline? baseline)
    {
        ModelSize size = ModelSize.Of(config);
        ModelFlops flops = size.Flops(sequenceLength);
        ModelMemory memory = size.Memory(sequenceLength);
        return Json(json =>
        {
            json.WriteStartObject();
            json.WriteString("model", name);
            json.WriteString("model_type", config.ModelType);
            json.WriteStartObject("parameters");
            json.WriteNumber("total", size.Parameters.Total);
            json.WriteNumber("activated", size.Parameters.Activated);
            json.WriteNumber("activated_without_embedding", size.Parameters.ActivatedWithoutEmbedding);
            json.WriteEndObject();
            json.WriteStartObject("flops");
            json.WriteNumber("sequence_length", sequenceLength);
            json.WriteNumber("paper", flops.Paper);
            json.WriteNumber("actual", flops.Actual);
            json.WriteNumber("actual_causal", flops.ActualCausal);
            json.WriteEndObject();
            json.WriteStartObject("memory");
            json.WriteNumber("weight_bytes", memory.WeightsFloat32);
            json.WriteNumber("weight_bytes_bf16", memory.WeightsBFloat16);
            json.WriteNumber("kv_cache_bytes_per_token", memory.KeyValueCachePerToken);
            json.WriteNumber("training_bytes", memory.Training);
            json.WriteNumber("training_weight_bytes", memory.TrainingWeights);
            json.WriteNumber("training_activation_bytes", memory.TrainingActivations);
            json.WriteEndObject();
            if (baseline is not null)
            {
                json.WriteStartObject("dense_baseline");
                json.WriteNumber("matched_parameters", baseline.Wanted);
                json.WriteNumber("difference", baseline.Difference);
                json.WriteNumber("router_parameters", baseline.RouterParameters);
                json.WriteEndObject();
            }

            if (needs is not null)
            {
                json.WritePropertyName("serving");
                MemoryNotice.Write(json, needs.Estimate, needs.Context, needs.FreeBytes, needs.ReadGbps);
            }

            json.WritePropertyName("config");
            json.WriteRawValue(ModelConfigJson.Write(config).TrimEnd());
            json.WriteEndObject();
        });
    }

    private static string AsTable(string name, ModelConfig config, int sequenceLength, ServingNeeds? needs, DenseBaseline? baseline)
    {
        ModelSize size = ModelSize.Of(config);
        ModelFlops flops = size.Flops(sequenceLength);
        ModelMemory memory = size.Memory(sequenceLength);
        StringBuilder text = new();
        text.Append(CultureInfo.InvariantCulture, $"{name}\n");
        Line(text, "structure", ModelDescription.Structure(config));
        Line(text, "attention", ModelDescription.Attention(config));
        Line(text, "feed-forward", ModelDescription.FeedForward(config));
        Line(text, "parameters", $"{Count(size.Parameters.Total)} in total");
        Line(text, "", $"{Count(size.Parameters.Activated)} activated by a token");
        Line(text, "", $"{Count(size.Parameters.ActivatedWithoutEmbedding)} of them outside the input embedding");
        Line(text, "training FLOPs", $"of one sequence of {sequenceLength} tokens, forward and backward");
        Line(text, "", $"{Flops(flops.Paper)} as the DeepSeekMoE paper counts (full attention, nominal widths)");
        Line(text, "", $"{Flops(flops.Actual)} with true widths, key/value heads and routers (full attention)");
        Line(text, "", $"{Flops(flops.ActualCausal)} the same with causal attention: what this program computes");
        Line(text, "memory", $"{Bytes(memory.WeightsFloat32)} weights as float32, {Bytes(memory.WeightsBFloat16)} as bfloat16");
        Line(text, "", $"{Bytes(memory.KeyValueCachePerToken)} of keys and values per token (float32)");
        IReadOnlyList<string> untrainable = TrainingLimits.Of(config);
        Line(text, "", untrainable.Count > 0
            ? $"cannot be trained: no backward pass for {string.Join(", ", untrainable)}"
            : $"{Bytes(memory.TrainingWeights)} to train: weights, gradients, two moments; about {Bytes(memory.TrainingActivations)} more per sequence of {sequenceLength}");
        if (baseline is not null)
        {
            double share = 100.0 * baseline.Difference / baseline.Wanted;
            Line(text, "dense baseline", $"every feed-forward {config.IntermediateSize} wide: {baseline.Difference.ToString("+#,0;-#,0;0", CultureInfo.InvariantCulture)} parameters against {name} ({share.ToString("+0.###;-0.###;0", CultureInfo.InvariantCulture)} %),");
            Line(text, "", $"whose routers are not counted ({baseline.RouterParameters.ToString("N0", CultureInfo.InvariantCulture)}): they choose and hold no knowledge");
            if (config.ModelType == "deepseek")
            {
                Line(text, "", $"to train it, the same configuration with --set model.n_routed_experts=null --set model.moesharp=null --set model.intermediate_size={config.IntermediateSize} --set model.num_attention_heads={config.NumAttentionHeads} --set model.head_dim={config.HeadDim}");
            }
        }

        if (needs is not null)
        {
            MemoryEstimate estimate = needs.Estimate;
            Line(text, "to run", $"{MemoryNotice.Needs(estimate, needs.Context)}");
            Line(text, "", $"{MemoryNotice.Gigabytes(needs.FreeBytes)} are free here: {(estimate.TotalBytes <= needs.FreeBytes ? "it fits" : "it does not fit")}");
            Line(text, "", $"a token reads {MemoryNotice.Gigabytes(estimate.BytesPerToken)} of weights: at most {estimate.CeilingTokensPerSecond(needs.ReadGbps):F1} tokens/s at {needs.ReadGbps:F1} GB/s");
        }

        return text.ToString();
    }

    private static string PresetsAsTable()
    {
        StringBuilder text = new();
        foreach (string name in ModelPresets.Names)
        {
            ParameterCounts counts = ModelSize.Of(ModelPresets.Get(name)).Parameters;
            text.Append(CultureInfo.InvariantCulture, $"{name,-24}{Short(counts.Total),9}{Short(counts.Activated),9}  {ModelPresets.Summary(name)}\n");
        }

        return $"{"preset",-24}{"total",9}{"active",9}\n{text}";
    }

    private static string PresetsAsJson() => Json(json =>
    {
        json.WriteStartArray();
        foreach (string name in ModelPresets.Names)
        {
            ParameterCounts counts = ModelSize.Of(ModelPresets.Get(name)).Parameters;
            json.WriteStartObject();
            json.WriteString("name", name);
            json.WriteString("summary", ModelPresets.Summary(name));
            json.WriteNumber("total", counts.Total);
            json.WriteNumber("activated", counts.Activated);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    });

    private static string Json(Action<Utf8JsonWriter> write)
    {
        using MemoryStream stream = new();
        using (Utf8JsonWriter json = new(stream, new JsonWriterOptions { Indented = true, NewLine = "\n" }))
        {
            write(json);
        }

        return Encoding.UTF8.GetString(stream.ToArray()) + "\n";
    }

    private static void Line(StringBuilder text, string label, string value) => text.Append(CultureInfo.InvariantCulture, $"{label,-18}{value}\n");

    private static string Count(long value) => value.ToString("N0", CultureInfo.InvariantCulture).PadLeft(15);

    private static string Flops(double value) => value >= 1e12
        ? (value / 1e12).ToString("N2", CultureInfo.InvariantCulture).PadLeft(10) + "T"
        : (value / 1e9).ToString("N2", CultureInfo.InvariantCulture).PadLeft(10) + "G";

    private static string Short(long value) => value >= 1_000_000_000
        ? (value / 1e9).ToString("F2", CultureInfo.InvariantCulture) + "B"
        : (value / 1e6).ToString("F2", CultureInfo.InvariantCulture) + "M";

    private static string Bytes(long value)
    {
        string[] units = ["B", "KiB", "MiB", "GiB", "TiB"];
        double scaled = value;
        int unit = 0;
        while (scaled >= 1024 && unit < units.Length - 1)
        {
            scaled /= 1024;
            unit++;
        }

        return scaled.ToString(unit == 0 ? "F0" : "F1", CultureInfo.InvariantCulture) + " " + units[unit];
    }
}
