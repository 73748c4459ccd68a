using System.CommandLine;
using System.Globalization;
using MoeSharp.Analysis.Study;
using MoeSharp.Execution;
using MoeSharp.Inference;

namespace MoeSharp.Cli.Study;

/// <summary>The options of <c>moe study</c> apart from the model's.</summary>
internal sealed class StudyArguments
{
    private const int DefaultTokens = 32768;
    private const int DefaultQuestions = 192;

    private readonly Option<string[]> _data = new("--data") { Description = "Files, folders or globs; .jsonl holds one text per line, anything else one per file. Or: embedded, the built-in corpus; pair, shared_key or dialect, lines of the language that a run of moe compare was trained on.", AllowMultipleArgumentsPerToken = true };
    private readonly Option<string?> _ids = new("--ids") { Description = "In place of --data: a JSON array of token ids, or an array of such arrays, for models without a tokenizer." };
    private readonly Option<string> _textField = new("--text-field") { Description = "Field of a .jsonl record that holds the text.", DefaultValueFactory = _ => "text" };
    private readonly Option<string> _domainField = new("--domain-field") { Description = "Field of a .jsonl record that names its domain. Without it, several files are a domain each.", DefaultValueFactory = _ => "domain" };
    private readonly Option<ulong> _corpusSeed = new("--corpus-seed") { Description = "Seed of the embedded corpus that the model was trained on.", DefaultValueFactory = _ => 7 };
    private readonly Option<int> _tokens = new("--tokens") { Description = "Most tokens to read, taken from everywhere in the text. Every experiment reads them once more.", DefaultValueFactory = _ => DefaultTokens };
    private readonly Option<int?> _context = new("--context") { Description = "Tokens of the window that slides over long documents; without it, the model's context." };
    private readonly Option<int?> _stride = new("--stride") { Description = "Tokens that the window moves on; without it, half a window." };
    private readonly Option<string[]> _ratios = new("--ratios") { Description = "Shares of the routed experts to disable for each token, the best first, such as 1/16 0.125.", AllowMultipleArgumentsPerToken = true, DefaultValueFactory = _ => ["1/16", "2/16", "3/16", "4/16"] };
    private readonly Option<bool> _statistics = new("--statistics-only") { Description = "Count, but change nothing: one pass, hardly longer than moe eval." };
    private readonly Option<string[]> _off = new("--off") { Description = "Experts to switch off together in one more experiment, as LAYER:EXPERT or LAYER:FIRST-LAST, from 0.", AllowMultipleArgumentsPerToken = true };
    private readonly Option<string?> _with = new("--with") { Description = "A second model for the same experiments: GShard, or one trained with half the activated experts." };
    private readonly Option<int?> _facts = new("--facts") { Description = $"Questions about the embedded corpus to ask with every expert off in turn; 0 for none. Default: {DefaultQuestions} with --data embedded, else 0." };
    private readonly Option<string?> _out = new("--out", "-o") { Description = "Folder for report.html and study.json (default: runs/study-DATE-TIME)." };
    private readonly Option<bool> _json = Training.RunOptions.Json();

    /// <summary>Gives the options to a command.</summary>
    public void AddTo(Command command)
    {
        foreach (Option option in (Option[])[_data, _ids, _textField, _domainField, _corpusSeed, _tokens, _context, _stride, _ratios, _statistics, _off, _with, _facts, _out, _json])
        {
            command.Options.Add(option);
        }
    }

    /// <summary>The text.</summary>
    public StudySource Source(ParseResult parsed)
    {
        int tokens = parsed.GetValue(_tokens);
        (string[] data, string? ids) = (parsed.GetValue(_data) ?? [], parsed.GetValue(_ids));
        if ((data.Length == 0) == (ids is null))
        {
            throw new ConfigurationException("give the text as --data FILES, --data embedded, or --data pair, or its token ids as --ids FILE.json; one of them");
        }

        return new StudySource
        {
            Data = data,
            Ids = ids,
            TextField = parsed.GetRequiredValue(_textField),
            DomainField = parsed.GetRequiredValue(_domainField),
            CorpusSeed = parsed.GetValue(_corpusSeed),
            MostTokens = tokens >= 1 ? tokens : throw new ConfigurationException($"--tokens {tokens} must be at least 1"),
        };
    }

    /// <summary>Window and stride for a model.</summary>
    public EvaluationOptions Windows(ParseResult parsed) => new() { ContextLength = parsed.GetValue(_context), Stride = parsed.GetValue(_stride) };

    /// <summary>The experiments.</summary>
    public StudyPlan Plan(ParseResult parsed) => parsed.GetValue(_statistics)
        ? StudyPlan.None
        : new StudyPlan { MaskedShares = [.. (parsed.GetValue(_ratios) ?? []).Select(Ratio)] };

    /// <summary>Experts to switch off.</summary>
    public IReadOnlyList<ExpertPlace> SwitchedOff(ParseResult parsed) => [.. (parsed.GetValue(_off) ?? []).SelectMany(Places).Distinct()];

    /// <summary>The second model, as named, or null.</summary>
    public string? Rival(ParseResult parsed) => parsed.GetValue(_with);

    /// <summary>Questions to ask at most.</summary>
    public int Questions(ParseResult parsed, StudySource source)
    {
        int questions = parsed.GetValue(_facts) ?? (source.IsEmbedded && !parsed.GetValue(_statistics) ? DefaultQuestions : 0);
        return questions >= 0 ? questions : throw new ConfigurationException($"--facts {questions} must be 0 or more");
    }

    /// <summary>Folder of the results.</summary>
    public string Folder(ParseResult parsed) => parsed.GetValue(_out) ?? Training.RunTerminal.NewRunPath("study");

    /// <summary>Whether JSON is wanted.</summary>
    public bool IsJson(ParseResult parsed) => parsed.GetValue(_json);

    private static double Ratio(string text)
    {
        string[] parts = text.Split('/');
        bool isNumber = double.TryParse(parts[0], NumberStyles.Float, CultureInfo.InvariantCulture, out double ratio);
        if (isNumber && parts.Length == 2 && double.TryParse(parts[1], NumberStyles.Float, CultureInfo.InvariantCulture, out double divisor))
        {
            ratio /= divisor;
        }
        else if (parts.Length != 1)
        {
            isNumber = false;
        }

        return isNumber && ratio is > 0 and < 1 ? ratio : throw new ConfigurationException($"--ratios {text} is no share between 0 and 1; give numbers such as 1/16 or 0.125");
    }

    private static IEnumerable<ExpertPlace> Places(string text)
    {
        string[] parts = text.Split(':');
        string[] range = parts.Length == 2 ? parts[1].Split('-') : [];
        if (range.Length is 1 or 2
            && int.TryParse(parts[0], NumberStyles.None, CultureInfo.InvariantCulture, out int layer)
            && int.TryParse(range[0], NumberStyles.None, CultureInfo.InvariantCulture, out int first)
            && int.TryParse(range[^1], NumberStyles.None, CultureInfo.InvariantCulture, out int last)
            && last >= first && last - first < 4096)
        {
            return Enumerable.Range(first, last - first + 1).Select(expert => new ExpertPlace(layer, expert));
        }

        throw new ConfigurationException($"--off {text} is not understood; give LAYER:EXPERT or LAYER:FIRST-LAST, such as 0:5 or 3:8-15");
    }
}
