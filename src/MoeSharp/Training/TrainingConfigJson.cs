using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using MoeSharp.Data;
using MoeSharp.Execution;
using MoeSharp.Model;
using MoeSharp.Model.Families;

namespace MoeSharp.Training;

/// <summary>Reads a <see cref="TrainingConfig"/> from layers of JSON, the later ones winning: defaults, preset, file, single settings.</summary>
/// <remarks>
/// Comments and trailing commas are allowed. Keys are the snake_case names of the records; section <c>model</c> takes
/// <c>preset</c> and the keys of a Hugging Face config.json. An unknown key is an error that names the nearest known one.
/// </remarks>
public static class TrainingConfigJson
{
    private const string ModelSection = "model";
    private const string PresetKey = "preset";
    private const double MinutesOfAnArchitecture = 10; // a preset that is only an architecture trains as long as the default experiment
    private const string ReferencePreset = "deepseek-moe-16b"; // has every key of a model with experts

    // Keys that a config.json leaves out where they say what is so anyway.
    private static readonly string[] s_unwrittenKeys = ["head_dim", "routed_scaling_factor", MoeSharpKeys.SectionName];

    private static readonly JsonDocumentOptions s_lenient = new() { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true, AllowDuplicateProperties = false };

    /// <summary>Names that <c>--preset</c> takes: the experiments that come with MoeSharp, then the architectures.</summary>
    public static IReadOnlyList<string> PresetNames => [.. ExperimentFiles.Names, .. ModelPresets.Names.Except(ExperimentFiles.Names)];

    /// <summary>Builds the configuration of a run.</summary>
    /// <param name="preset">Experiment or architecture to start from, or null.</param>
    /// <param name="file">JSON file, or null.</param>
    /// <param name="settings">Settings of the form <c>optimizer.beta2=0.98</c>; one of <c>budget</c> replaces the whole budget of the layers before.</param>
    /// <exception cref="ConfigurationException">A key, a value or a combination of them is wrong; every problem is listed.</exception>
    public static TrainingConfig Load(string? preset, string? file, IReadOnlyList<string> settings)
    {
        JsonObject merged = Defaults();
        if (preset is not null)
        {
            Overlay(merged, Preset(preset), $"preset {preset}");
        }

        if (file is not null)
        {
            Overlay(merged, ReadFile(file), file);
        }

        bool setsBudget = settings.Any(setting => IsFor("budget", setting));
        if (setsBudget)
        {
            merged["budget"] = Defaults()["budget"]!.DeepClone(); // what the user says replaces the preset's end, it does not come on top; the defaults have every section
        }

        foreach (string setting in settings.OrderBy(Precedence))
        {
            Overlay(merged, Setting(setting), $"--set {setting}");
        }

        if (!setsBudget && file is null && ModelPresets.Names.Contains(preset) && !ExperimentFiles.Names.Contains(preset))
        {
            merged["budget"]!["minutes"] = MinutesOfAnArchitecture;
        }

        return Resolve(merged, file ?? (preset is null ? "the settings" : $"preset {preset}"));
    }

    /// <summary>Builds a configuration from sections that lie over the defaults, the later ones winning; <c>model</c> is a section as in a file.</summary>
    /// <param name="source">Where the sections come from, for messages.</param>
    /// <param name="layers">Sections.</param>
    /// <exception cref="ConfigurationException">A key, a value or a combination of them is wrong; every problem is listed.</exception>
    public static TrainingConfig Build(string source, params ReadOnlySpan<JsonObject> layers)
    {
        JsonObject merged = Defaults();
        foreach (JsonObject layer in layers)
        {
            Overlay(merged, layer, source);
        }

        return Resolve(merged, source);
    }

    /// <summary>Whether a setting of the form <c>key=value</c> sets a key or, when that is a section, something in it.</summary>
    /// <param name="key">Key, for example <c>budget</c>.</param>
    /// <param name="setting">Setting, for example <c>budget.steps=5</c>.</param>
    public static bool IsFor(string key, string setting) =>
        setting.StartsWith(key, StringComparison.Ordinal) && setting.Length > key.Length && setting[key.Length] is '.' or '=';

    /// <summary>Reads a configuration that <see cref="Write"/> wrote, for resuming.</summary>
    /// <param name="json">The document.</param>
    /// <param name="source">Where it comes from, for messages.</param>
    public static TrainingConfig Parse(string json, string source)
    {
        JsonObject merged = Defaults();
        Overlay(merged, ParseObject(json, source), source);
        return Resolve(merged, source);
    }

    /// <summary>Writes the resolved configuration, the model in the keys of a Hugging Face config.json.</summary>
    public static JsonObject Write(TrainingConfig config)
    {
        JsonObject json = JsonSerializer.SerializeToNode(config, TrainingJson.Default.TrainingConfig)!.AsObject(); // never null for an object
        if (config.Model is not null)
        {
            json.Insert(0, ModelSection, ParseObject(ModelConfigJson.Write(config.Model), "model configuration"));
        }

        return json;
    }

    // A preset begins a model anew and a router its settings, so they come before the keys that change them.
    private static int Precedence(string setting) => IsFor($"{ModelSection}.{PresetKey}", setting) ? 0 : IsFor($"{ModelSection}.{MoeSharpKeys.SectionName}.{MoeSharpKeys.RouterKey}", setting) ? 1 : 2;

    private static JsonObject Defaults() => Write(new TrainingConfig());

    private static JsonObject Preset(string name)
    {
        if (ExperimentFiles.Names.Contains(name))
        {
            return ParseObject(ExperimentFiles.Read(name), $"preset {name}");
        }

        if (ModelPresets.Names.Contains(name))
        {
            return new JsonObject { [ModelSection] = new JsonObject { [PresetKey] = name } };
        }

        throw new ConfigurationException($"there is no preset {name}{SpellingSuggestion.Hint(name, PresetNames)}. Presets: {string.Join(", ", PresetNames)}.");
    }

    private static JsonObject ReadFile(string path)
    {
        if (!File.Exists(path))
        {
            throw new ConfigurationException($"the configuration {path} does not exist. Give a JSON file, or --preset NAME ({string.Join(", ", PresetNames)}).");
        }

        return ParseObject(File.ReadAllText(path), path);
    }

    private static JsonObject ParseObject(string json, string source)
    {
        try
        {
            JsonTexts.ThrowIfBroken(json, s_lenient);
            return JsonNode.Parse(json, null, s_lenient) as JsonObject
                ?? throw new ConfigurationException($"{source}: expected a JSON object {{ ... }} at the top.");
        }
        catch (JsonException error)
        {
            string place = error.LineNumber is { } line ? $" in line {line + 1}, byte {error.BytePositionInLine + 1}" : ""; // not told of a key that occurs twice
            throw new ConfigurationException($"{source}: not valid JSON{place}: {FirstSentence(error.Message)}", error);
        }
    }

    /// <summary>Turns <c>a.b=value</c> into <c>{"a": {"b": value}}</c>; what is no JSON value is a string.</summary>
    private static JsonObject Setting(string setting)
    {
        int equals = setting.IndexOf('=');
        if (equals <= 0)
        {
            throw new ConfigurationException($"--set {setting}: expected key=value, for example optimizer.weight_decay=0.05.");
        }

        string text = setting[(equals + 1)..];
        JsonNode? value;
        try
        {
            JsonTexts.ThrowIfBroken(text, s_lenient);
            value = JsonNode.Parse(text, null, s_lenient);
        }
        catch (JsonException)
        {
            value = JsonValue.Create(text);
        }

        foreach (string key in setting[..equals].Split('.').Reverse())
        {
            value = new JsonObject { [key] = value };
        }

        return value!.AsObject(); // Split gives at least one key
    }

    private static void Overlay(JsonObject target, JsonObject layer, string source)
    {
        List<string> problems = [];
        OverlaySection(target, layer, TrainingJson.Default.TrainingConfig, "", source, problems);
        ThrowIfAny(problems);
    }

    private static void OverlaySection(JsonObject target, JsonObject layer, JsonTypeInfo type, string path, string source, List<string> problems)
    {
        foreach ((string key, JsonNode? value) in layer)
        {
            string fullKey = path + key;
            if (path.Length == 0 && key == ModelSection)
            {
                OverlayModel(target, value, source, problems);
                continue;
            }

            JsonPropertyInfo? property = type.Properties.FirstOrDefault(known => known.Name == key);
            if (property is null)
            {
                IEnumerable<string> known = type.Properties.Select(property => path + property.Name);
                problems.Add(Unknown(fullKey, path.Length == 0 ? known.Append(ModelSection) : known, source));
                continue;
            }

            JsonTypeInfo propertyType = TrainingJson.Default.Options.GetTypeInfo(property.PropertyType);
            if (propertyType.Kind != JsonTypeInfoKind.Object)
            {
                CheckValue(value, propertyType, property.IsSetNullable, fullKey, source, problems);
                target[key] = value?.DeepClone();
            }
            else if (value is JsonObject section)
            {
                OverlaySection(target[key]!.AsObject(), section, propertyType, fullKey + ".", source, problems); // the defaults hold every section
            }
            else
            {
                problems.Add($"{source}: {fullKey} is a section; give an object {{ ... }} or set one of its keys, for example {fullKey}.{propertyType.Properties[0].Name}.");
            }
        }
    }

    // What is refused here would otherwise end as a crash or as a setting that means something else: numbers that are infinite as float, null where there is no such thing.
    private static void CheckValue(JsonNode? value, JsonTypeInfo type, bool mayBeNull, string key, string source, List<string> problems)
    {
        try
        {
            object? read = JsonSerializer.Deserialize(value, type);
            if (read is float.PositiveInfinity or float.NegativeInfinity or double.PositiveInfinity or double.NegativeInfinity)
            {
                problems.Add($"{source}: {key} is {value!.ToJsonString()}, which is more than a number of this kind holds; use a smaller one."); // null reads as no number
            }

            if (read is not null || mayBeNull)
            {
                return;
            }
        }
        catch (JsonException)
        {
            // said below
        }

        string expected = Expected(Nullable.GetUnderlyingType(type.Type) ?? type.Type);
        problems.Add($"{source}: {key} is {value?.ToJsonString() ?? "null"}; expected {expected}.");
    }

    private static string Expected(Type type) => type switch
    {
        _ when type == typeof(bool) => "true or false",
        _ when type == typeof(string) => "a text",
        _ when type == typeof(int) || type == typeof(long) || type == typeof(ulong) => "a whole number",
        _ when type == typeof(IReadOnlyList<int>) => "a list of whole numbers",
        _ when type.IsEnum => "one of " + string.Join(", ", Enum.GetNames(type).Select(JsonNamingPolicy.SnakeCaseLower.ConvertName)),
        _ => "a number",
    };

    private static void OverlayModel(JsonObject target, JsonNode? value, string source, List<string> problems)
    {
        if (value is not JsonObject section)
        {
            problems.Add($"{source}: model is a section; give an object {{ \"preset\": \"...\" }} or keys of a Hugging Face config.json.");
            return;
        }

        JsonObject model = target[ModelSection] is JsonObject before && !section.ContainsKey(PresetKey) ? before : []; // a preset is a whole model, so nothing of an earlier one may stay
        target[ModelSection] = model;
        MergeModel(model, section);
    }

    // Keys of MoeSharp's own section are set one by one, those of other sections together. A router takes its own settings with it when another one is chosen.
    private static void MergeModel(JsonObject model, JsonObject layer)
    {
        foreach ((string key, JsonNode? entry) in layer)
        {
            if (key != MoeSharpKeys.SectionName || entry is not JsonObject own || model[key] is not JsonObject before)
            {
                model[key] = entry?.DeepClone();
                continue;
            }

            if (own[MoeSharpKeys.RouterKey] is { } router && !JsonNode.DeepEquals(router, before[MoeSharpKeys.RouterKey]))
            {
                foreach (string stale in MoeSharpKeys.KeysOfRouter(before.ToJsonString()))
                {
                    before.Remove(stale);
                }
            }

            foreach ((string name, JsonNode? value) in own)
            {
                before[name] = value?.DeepClone();
            }
        }
    }

    private static TrainingConfig Resolve(JsonObject merged, string source)
    {
        JsonNode? section = merged[ModelSection];
        merged.Remove(ModelSection);
        TrainingConfig config = merged.Deserialize(TrainingJson.Default.TrainingConfig)!; // the merged object is never null
        config = config with { Model = section is JsonObject model ? ResolveModel(model, source) : null };
        config.Validate(source);
        return config;
    }

    private static ModelConfig ResolveModel(JsonObject section, string source)
    {
        string modelSource = $"{source}, section model";
        JsonObject resolved = [];
        if (section[PresetKey] is { } preset)
        {
            resolved = ParseObject(ModelConfigJson.Write(ModelPresets.Get(preset.ToString())), modelSource);
        }

        JsonObject own = section.DeepClone().AsObject();
        own.Remove(PresetKey);
        MergeModel(resolved, own);

        ModelConfig config = ModelConfigJson.Parse(resolved.ToJsonString(), modelSource);
        string[] known = [PresetKey, .. s_unwrittenKeys, .. KeysOf(config), .. KeysOf(ModelPresets.Get(ReferencePreset))];
        ThrowIfAny([.. section.Select(entry => entry.Key).Where(key => !known.Contains(key)).Select(key => Unknown(key, known, modelSource))]);
        return config;
    }

    private static IEnumerable<string> KeysOf(ModelConfig config) => ParseObject(ModelConfigJson.Write(config), "preset").Select(entry => entry.Key);

    private static string Unknown(string key, IEnumerable<string> known, string source)
    {
        string[] names = [.. known.Distinct()];
        string hint = SpellingSuggestion.Hint(key, names);
        return $"{source}: unknown key {key}{(hint.Length > 0 ? hint : ". Known keys: " + string.Join(", ", names))}";
    }

    private static void ThrowIfAny(List<string> problems)
    {
        if (problems.Count > 0)
        {
            throw new ConfigurationException(string.Join(Environment.NewLine, problems));
        }
    }

    private static string FirstSentence(string message) => message.Split(". ", 2)[0].TrimEnd('.') + ".";
}

/// <summary>Writes balance scopes in lower case, as all other keys and values.</summary>
internal sealed class BalanceScopeConverter() : JsonStringEnumConverter<BalanceScope>(JsonNamingPolicy.SnakeCaseLower, allowIntegerValues: false);

/// <summary>Task namings in snake case.</summary>
internal sealed class TaskNamingConverter() : JsonStringEnumConverter<TaskNaming>(JsonNamingPolicy.SnakeCaseLower, allowIntegerValues: false);

/// <summary>Writes initialisation schemes in lower case.</summary>
internal sealed class WeightInitSchemeConverter() : JsonStringEnumConverter<WeightInitScheme>(JsonNamingPolicy.SnakeCaseLower, allowIntegerValues: false);

/// <summary>Writes kinds of schedules in lower case.</summary>
internal sealed class ScheduleKindConverter() : JsonStringEnumConverter<ScheduleKind>(JsonNamingPolicy.SnakeCaseLower, allowIntegerValues: false);

/// <summary>Source-generated JSON of the training records.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true, Converters = [typeof(BalanceScopeConverter), typeof(TaskNamingConverter), typeof(WeightInitSchemeConverter), typeof(ScheduleKindConverter)])]
[JsonSerializable(typeof(TrainingConfig))]
internal sealed partial class TrainingJson : JsonSerializerContext;
