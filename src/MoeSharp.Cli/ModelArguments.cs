using System.CommandLine;
using MoeSharp.Checkpoints;
using MoeSharp.Cli.Training;
using MoeSharp.Kernels;
using MoeSharp.Kernels.Quantized;
using MoeSharp.Model;
using MoeSharp.Tokenization;

namespace MoeSharp.Cli;

/// <summary>The options of every verb that runs a model.</summary>
internal sealed class ModelArguments
{
    private const string ModelText = "A Hugging Face model folder, a .gguf file, a run folder (its latest valid checkpoint) or a checkpoint.";

    private readonly Option<string> _model = new("--model") { Description = ModelText, Required = true };
    private readonly Argument<string>? _named;
    private readonly Option<string> _weights = Weights();
    private readonly Option<string> _activations = new("--activations")
    {
        Description = "Precision of the activations that meet quantised weights: int8, as other programs do, or f32, exact. Where no weight is quantised they are f32 always.",
        DefaultValueFactory = _ => "int8",
    };
    private readonly Option<string> _cache = new("--kv") { Description = "How keys and values are kept: f32, or bf16, which takes half the memory and half the time over a long context.", DefaultValueFactory = _ => "f32" };
    private readonly Option<int> _threads = RunOptions.Threads();

    /// <summary>Makes the options.</summary>
    /// <param name="isArgument">Whether the model is the verb's argument instead of an option.</param>
    public ModelArguments(bool isArgument = false) => _named = isArgument ? new Argument<string>("model") { Description = ModelText } : null;

    /// <summary>The option that chooses formats.</summary>
    public static Option<string> Weights() => new("--weights")
    {
        Description = $"Formats of the weights in memory: {string.Join(", ", WeightTarget.All.Select(target => target.Name))}. native keeps the file's own.",
        DefaultValueFactory = _ => WeightTarget.Native.Name,
    };

    /// <summary>Gives the options to a command.</summary>
    public void AddTo(Command command)
    {
        if (_named is null)
        {
            command.Options.Add(_model);
        }
        else
        {
            command.Arguments.Add(_named);
        }

        command.Options.Add(_weights);
        command.Options.Add(_activations);
        command.Options.Add(_cache);
        command.Options.Add(_threads);
    }

    /// <summary>Loads the model that the user named. Damaged checkpoints that were passed over, the memory needed and the progress are told on standard error.</summary>
    /// <param name="parsed">The arguments.</param>
    /// <param name="context">Tokens of the text that memory is told for; null for a usual number.</param>
    public OpenedModel Open(ParseResult parsed, int? context = null)
    {
        WeightTarget weights = WeightTarget.Parse(parsed.GetRequiredValue(_weights));
        ActivationPrecision activations = ParseActivations(parsed.GetRequiredValue(_activations));
        int threads = RunOptions.CheckThreads(parsed.GetValue(_threads));
        CacheFormat cache = ParseCache(parsed.GetRequiredValue(_cache));
        return Open(FindPath(NameOf(parsed)), weights, activations, threads, cache, context);
    }

    /// <summary>The model as the user named it.</summary>
    public string NameOf(ParseResult parsed) => _named is null ? parsed.GetRequiredValue(_model) : parsed.GetRequiredValue(_named);

    /// <summary>Loads another model in the same way.</summary>
    /// <param name="parsed">The arguments.</param>
    /// <param name="name">The other model, as the user named it.</param>
    public OpenedModel OpenOther(ParseResult parsed, string name) => Open(
        FindPath(name),
        WeightTarget.Parse(parsed.GetRequiredValue(_weights)),
        ParseActivations(parsed.GetRequiredValue(_activations)),
        RunOptions.CheckThreads(parsed.GetValue(_threads)),
        ParseCache(parsed.GetRequiredValue(_cache)));

    /// <summary>Loads a model; the memory needed and the progress are told on standard error.</summary>
    public static OpenedModel Open(string path, WeightTarget weights, ActivationPrecision activations, int threads, CacheFormat cache = CacheFormat.Float32, int? context = null)
    {
        using ModelFiles files = ModelFiles.Open(path);
        WorkerPool workers = new(threads);
        try
        {
            MemoryNotice.Show(files, weights, cache, context, workers);
            using Interruption interruption = new();
            LoadProgressLine progress = new("loading");
            LanguageModel model = files.Load(new LoadOptions { Weights = weights, Threads = threads, Progress = progress.Show }, interruption.Token);
            progress.Finish();
            (model.Activations, model.CacheFormat) = (activations, cache);
            return new OpenedModel(files.Path, files.EndTokens, model, workers);
        }
        catch
        {
            workers.Dispose();
            throw;
        }
    }

    /// <summary>The model behind a path; damaged checkpoints that were passed over are told on standard error.</summary>
    public static string FindPath(string path)
    {
        FoundModel found = ModelPath.Find(path);
        foreach (DamagedCheckpoint damaged in found.Damaged)
        {
            Console.Error.WriteLine($"moe: {damaged.Folder} is damaged and passed over: {damaged.Reason}");
        }

        return found.Folder;
    }

    private static CacheFormat ParseCache(string name) => name switch
    {
        "f32" => CacheFormat.Float32,
        "bf16" => CacheFormat.BFloat16,
        _ => throw new ConfigurationException($"--kv '{name}' is not known; use f32 or bf16"),
    };

    private static ActivationPrecision ParseActivations(string name) => name switch
    {
        "int8" => ActivationPrecision.Int8,
        "f32" => ActivationPrecision.Float32,
        _ => throw new ConfigurationException($"--activations '{name}' is not known; use int8 or f32"),
    };
}

/// <summary>A model ready to run, with its workers.</summary>
/// <param name="path">Its folder or file.</param>
/// <param name="endTokens">Tokens that end a text.</param>
/// <param name="model">The model; owned from now on.</param>
/// <param name="workers">Its workers; owned from now on.</param>
internal sealed class OpenedModel(string path, IReadOnlyList<int> endTokens, LanguageModel model, WorkerPool workers) : IDisposable
{
    /// <summary>Folder of its files, or its GGUF file.</summary>
    public string Folder => path;

    /// <summary>Tokens that end a text.</summary>
    public IReadOnlyList<int> EndTokens => endTokens;

    /// <summary>The model.</summary>
    public LanguageModel Model => model;

    /// <summary>Its workers.</summary>
    public WorkerPool Workers => workers;

    /// <summary>The tokenizer saved beside the weights, or in their file.</summary>
    public Tokenizer LoadTokenizer() => GgufTokenizer.LoadAny(path);

    /// <inheritdoc/>
    public void Dispose()
    {
        model.Dispose();
        workers.Dispose();
    }
}
