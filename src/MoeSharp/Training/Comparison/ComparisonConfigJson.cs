using System.Reflection;
using System.Text.Json;
using System.Text.Json.Nodes;
using MoeSharp.Data.Synthetic;
using MoeSharp.Model;

namespace MoeSharp.Training.Comparison;

/// <summary>Reads a <see cref="ComparisonConfig"/>. Comments and trailing commas are allowed; an unknown key is an error.</summary>
public static class ComparisonConfigJson
{
    private const string Prefix = "experiments/";

    // Sections that may differ between architectures: nothing that changes which tokens are seen, or how many.
    private static readonly string[] s_architectureSections = ["model", "balance", "optimizer", "schedule", "init_scheme"];
    private static readonly string[] s_ownSections = ["budget", "seed", "data"]; // the comparison's own business

    private static readonly JsonDocumentOptions s_lenient = new() { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true, AllowDuplicateProperties = false, MaxDepth = 32 };

    /// <summary>Names of the experiments that come with MoeSharp.</summary>
    public static IReadOnlyList<string> Names { get; } =
    [
        .. Assembly.GetExecutingAssembly().GetManifestResourceNames()
            .Where(name => name.StartsWith(Prefix, StringComparison.Ordinal))
            .Select(name => name[Prefix.Length..])
            .Order(StringComparer.Ordinal),
    ];

    /// <summary>Reads a file, or an experiment that comes with MoeSharp.</summary>
    /// <param name="pathOrName">JSON file, or one of <see cref="Names"/>.</param>
    /// <exception cref="ConfigurationException">There is no such file, or something in it is wrong; every problem is listed.</exception>
    public static ComparisonConfig Load(string pathOrName)
    {
        if (File.Exists(pathOrName))
        {
            return Parse(File.ReadAllText(pathOrName), Path.GetFileNameWithoutExtension(pathOrName), pathOrName);
        }

        if (!Names.Contains(pathOrName))
        {
            throw new ConfigurationException($"there is no experiment {pathOrName}{SpellingSuggestion.Hint(pathOrName, Names)}. Give a JSON file, or one of {string.Join(", ", Names)}.");
        }

        using Stream stream = Assembly.GetExecutingAssembly().GetManifestResourceStream(Prefix + pathOrName)!; // Names lists the resources
        using StreamReader reader = new(stream);
        return Parse(reader.ReadToEnd(), pathOrName, $"experiment {pathOrName}");
    }

    /// <summary>Reads a configuration.</summary>
    /// <param name="json">Content of the file.</param>
    /// <param name="name">Name of the comparison.</param>
    /// <param name="source">Where it comes from, for messages.</param>
    /// <exception cref="ConfigurationException">Something is wrong; every problem is listed.</exception>
    public static ComparisonConfig Parse(string json, string name, string source)
    {
        using JsonDocument document = ParseObject(json, source);
        ConfigReader reader = new(document.RootElement);
        ComparisonConfig config = Read(reader, name);
        foreach (ConfigReader section in WithSections(reader))
        {
            reader.Problems.AddRange(section.UnreadKeys.Select(key => $"unknown key '{section.Place(key.Name)}'{SpellingSuggestion.Hint(key.Name, section.KnownKeys)}"));
        }

        if (reader.Problems.Count == 0)
        {
            AddProblems(config, reader.Problems);
        }

        return reader.Problems.Count == 0
            ? config
            : throw new ConfigurationException(string.Join(Environment.NewLine, reader.Problems.Select(problem => $"{source}: {problem}.")));
    }

    private static ComparisonConfig Read(ConfigReader reader, string name)
    {
        ConfigReader corpora = reader.Section("corpora");
        ConfigReader architectures = reader.Section("architectures");
        string reference = reader.Text("reference") ?? "";
        return new ComparisonConfig
        {
            Name = name,
            Title = reader.Text("title") ?? name,
            Question = reader.Text("question") ?? "",
            Notes = [.. (reader.List("notes", JsonValueKind.String) ?? []).Select(note => note.GetString()!)], // the list holds texts only
            Training = Object(reader, "training"),
            Corpora = [.. KeysOf(corpora).Select(key => ReadCorpus(corpora.Section(key), key, reader.Problems))],
            Architectures = [.. KeysOf(architectures).Select(key => ReadArchitecture(architectures.Section(key), key, reference))],
            Reference = reference,
            Steps = [.. (reader.Ints("steps") ?? []).Select(steps => (long)steps)],
            Seeds = [.. (reader.Ints("seeds") ?? []).Select(seed => SeedOf(seed, "seeds", reader.Problems))],
            Tolerance = reader.Number("tolerance", 0.01),
            History = reader.List("history", JsonValueKind.Number) is { } history ? [.. history.Select(share => share.GetDouble())] : ComparisonConfig.DefaultHistory,
        };
    }

    private static ComparedArchitecture ReadArchitecture(ConfigReader section, string name, string reference)
    {
        ParameterMatch match = section.OneOf("matches", "both", "both", "activated", "total", "nothing") switch
        {
            "activated" => ParameterMatch.Activated,
            "total" => ParameterMatch.Total,
            "nothing" => ParameterMatch.Nothing,
            _ => ParameterMatch.Both,
        };
        JsonObject sections = [];
        foreach (string key in s_architectureSections)
        {
            if (section.Value(key) is { } value)
            {
                sections[key] = JsonNode.Parse(value.GetRawText(), null, s_lenient);
            }
        }

        return new ComparedArchitecture(name, section.Text("title") ?? name, sections, match, section.Text("against") ?? reference);
    }

    private static ComparisonCorpus ReadCorpus(ConfigReader section, string name, List<string> problems)
    {
        string kind = section.OneOf("kind", "pair", "pair", "shared_key", "dialect", "embedded", "text");
        ComparisonCorpus corpus = new() { Name = name, Settings = [] };
        try
        {
            if (kind is "embedded" or "text")
            {
                corpus = corpus with { VocabSize = section.Int("vocab_size", corpus.VocabSize) };
                corpus = kind == "text" ? corpus : corpus with { EmbeddedBytes = section.Int("bytes", 4_000_000), Seed = Seed(section, 1) };
            }
            else
            {
                corpus = corpus with
                {
                    Language = ReadLanguage(section, kind),
                    LinesPerStep = section.Int("lines_per_step", corpus.LinesPerStep),
                    ValidationLines = section.Int("validation_lines", corpus.ValidationLines),
                };
            }
        }
        catch (ConfigurationException error)
        {
            problems.Add(error.Message.TrimEnd('.'));
        }

        JsonObject settings = new() { ["kind"] = kind };
        foreach (string key in section.KnownKeys.Where(key => key != "kind").Order(StringComparer.Ordinal).ToArray())
        {
            if (section.Value(key) is { } value)
            {
                settings[key] = JsonNode.Parse(value.GetRawText(), null, s_lenient);
            }
        }

        return corpus with { Settings = settings };
    }

    /// <summary>The generated language that a run was trained on, from the section text.language of its run.json, or with its usual settings.</summary>
    /// <param name="kind">Kind of language: pair, shared_key or dialect.</param>
    /// <param name="settings">The section, or null for usual settings.</param>
    /// <exception cref="ConfigurationException">A setting is out of range.</exception>
    public static KnownLanguage Language(string kind, JsonObject? settings)
    {
        using JsonDocument document = JsonDocument.Parse(settings?.ToJsonString() ?? "{}");
        return ReadLanguage(new ConfigReader(document.RootElement), kind);
    }

    private static KnownLanguage ReadLanguage(ConfigReader section, string kind)
    {
        switch (kind)
        {
            case "dialect":
                DialectSettings dialect = new();
                return new DialectLanguage(new DialectSettings
                {
                    Dialects = section.Int("dialects", dialect.Dialects),
                    Symbols = section.Int("symbols", dialect.Symbols),
                    LineSymbols = section.Int("line_symbols", dialect.LineSymbols),
                    LikelierShare = section.Number("likelier_share", dialect.LikelierShare),
                    Seed = Seed(section, dialect.Seed),
                });

            case "shared_key":
                SharedKeySettings shared = new();
                return new SharedKeyLanguage(new SharedKeySettings
                {
                    Factors = section.Int("factors", shared.Factors),
                    Values = section.Int("values", shared.Values),
                    Symbols = section.Int("symbols", shared.Symbols),
                    LineSymbols = section.Int("line_symbols", shared.LineSymbols),
                    SharedScale = section.Number("shared_scale", shared.SharedScale),
                    FactorScale = section.Number("factor_scale", shared.FactorScale),
                    Seed = Seed(section, shared.Seed),
                });

            default:
                PairSettings pair = new();
                return new PairLanguage(new PairSettings
                {
                    Factors = section.Int("factors", pair.Factors),
                    Values = section.Int("values", pair.Values),
                    Symbols = section.Int("symbols", pair.Symbols),
                    LineSymbols = section.Int("line_symbols", pair.LineSymbols),
                    SharedScale = section.Number("shared_scale", pair.SharedScale),
                    FactorScale = section.Number("factor_scale", pair.FactorScale),
                    Seed = Seed(section, pair.Seed),
                });
        }
    }

    private static void AddProblems(ComparisonConfig config, List<string> problems)
    {
        void Require(bool holds, string problem)
        {
            if (!holds)
            {
                problems.Add(problem);
            }
        }

        string[] names = [.. config.Architectures.Select(architecture => architecture.Name)];
        Require(config.Corpora.Count > 0, "corpora is empty; name at least one, for example \"corpora\": { \"pair\": { \"kind\": \"pair\" } }");
        Require(names.Length > 1, "architectures must name at least two to compare");
        Require(names.Contains(config.Reference), $"reference '{config.Reference}' is none of the architectures ({string.Join(", ", names)})");
        Require(config.Steps.Count > 0 && config.Steps.All(steps => steps > 0) && config.Steps.Distinct().Count() == config.Steps.Count, "steps must be a list of different positive numbers, for example [1200]");
        Require(config.Seeds.Count > 0 && config.Seeds.Distinct().Count() == config.Seeds.Count, "seeds must be a list of different numbers, for example [2, 3, 4, 5, 6]");
        Require(config.Tolerance is > 0 and <= 0.5, $"tolerance {config.Tolerance} must lie between 0 and 0.5, for example 0.01");
        foreach (ComparedArchitecture architecture in config.Architectures)
        {
            Require(names.Contains(architecture.Against), $"architectures.{architecture.Name}.against '{architecture.Against}' is none of the architectures");
        }

        foreach (string name in names.Concat(config.Corpora.Select(corpus => corpus.Name)))
        {
            Require(name.Length is > 0 and <= 60 && name.All(character => char.IsAsciiLetterOrDigit(character) || character is '-' or '_' or '.') && name[0] != '.', $"the name '{name}' becomes a folder; use letters, digits, '-', '_' and '.'");
        }

        if (config.Training["validation"]?["saturation_at"] is not null)
        {
            problems.Add("training.validation.saturation_at is the comparison's own: give history beside training");
        }

        foreach (string key in s_ownSections.Where(config.Training.ContainsKey))
        {
            problems.Add($"training.{key} is the comparison's own: give steps, seeds and corpora beside training");
        }
    }

    private static ulong Seed(ConfigReader section, ulong absent) => SeedOf(section.Int("seed", (int)absent), section.Place("seed"), section.Problems);

    private static ulong SeedOf(int seed, string place, List<string> problems)
    {
        if (seed < 0)
        {
            problems.Add($"{place} holds {seed}; seeds are 0 or more");
        }

        return (ulong)Math.Max(0, seed);
    }

    private static string[] KeysOf(ConfigReader section) => [.. section.UnreadKeys.Select(key => key.Name)];

    private static IEnumerable<ConfigReader> WithSections(ConfigReader reader) => reader.Sections.SelectMany(WithSections).Prepend(reader);

    private static JsonObject Object(ConfigReader reader, string key)
    {
        if (reader.Value(key) is not { } value)
        {
            return [];
        }

        if (value.ValueKind == JsonValueKind.Object)
        {
            return JsonNode.Parse(value.GetRawText(), null, s_lenient)!.AsObject(); // an object is never null
        }

        reader.Problems.Add($"{reader.Place(key)} is {ConfigReader.Shown(value)}; write an object");
        return [];
    }

    private static JsonDocument ParseObject(string json, string source)
    {
        try
        {
            JsonTexts.ThrowIfBroken(json, s_lenient);
            JsonDocument document = JsonDocument.Parse(json, s_lenient);
            if (document.RootElement.ValueKind == JsonValueKind.Object)
            {
                return document;
            }

            document.Dispose();
        }
        catch (JsonException error)
        {
            string place = error.LineNumber is { } line ? $" in line {line + 1}, byte {error.BytePositionInLine + 1}" : ""; // not told of a key that occurs twice
            throw new ConfigurationException($"{source} is not valid JSON{place}: {error.Message.Split(". ", 2)[0].TrimEnd('.')}.", error);
        }

        throw new ConfigurationException($"{source}: expected a JSON object {{ ... }} at the top.");
    }
}
