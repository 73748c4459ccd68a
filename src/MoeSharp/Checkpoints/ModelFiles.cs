using MoeSharp.Checkpoints.Gguf;
using MoeSharp.Model;
using MoeSharp.Tensors;

namespace MoeSharp.Checkpoints;

/// <summary>A model on disk, opened and checked but not loaded: a Hugging Face folder or a GGUF file.</summary>
public sealed class ModelFiles : IDisposable
{
    private readonly IReadOnlyList<WeightSlice> _slices;

    private ModelFiles(string path, ModelConfig config, IReadOnlyList<int> endTokens, IWeightSource source, IReadOnlyList<WeightSlice> slices)
    {
        (Path, Config, EndTokens, Source, _slices) = (path, config, endTokens, source, slices);
    }

    /// <summary>Opens a model and compares its tensors with its configuration; no weight is read.</summary>
    /// <param name="path">A model folder, or a .gguf file (any part of a split one).</param>
    /// <exception cref="ConfigurationException">There is no model, or it is not supported.</exception>
    /// <exception cref="FileFormatException">A file breaks its format, or tensors are missing, misshapen or unknown; the message lists them.</exception>
    public static ModelFiles Open(string path) => ModelPath.IsGguf(path) ? OpenGguf(path) : OpenFolder(path);

    /// <summary>Folder or file.</summary>
    public string Path { get; }

    /// <summary>Whether the model is a GGUF file.</summary>
    public bool IsGguf => Source is GgufSource;

    /// <summary>Architecture.</summary>
    public ModelConfig Config { get; }

    /// <summary>Tokens that end a text.</summary>
    public IReadOnlyList<int> EndTokens { get; }

    /// <summary>The tensors.</summary>
    public IWeightSource Source { get; }

    /// <summary>What of the tensors fills which parameter.</summary>
    internal IReadOnlyList<WeightSlice> Slices => _slices;

    /// <summary>In which formats the parameters will be held.</summary>
    public IReadOnlyList<PlannedWeight> Plan(WeightTarget target)
    {
        using LanguageModel empty = new(Config); // parameters take memory when they are filled
        return LoadPlan.Of(empty.Parameters, Source, _slices, target, Config.TieWordEmbeddings);
    }

    /// <summary>Loads the model.</summary>
    /// <param name="options">Formats, threads, progress.</param>
    /// <param name="cancel">Stops loading; nothing is kept.</param>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public LanguageModel Load(LoadOptions options, CancellationToken cancel = default)
    {
        LanguageModel model = new(Config);
        try
        {
            Fill(model.Parameters, options, cancel);
            return model;
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    /// <summary>Fills the parameters of a model with this configuration.</summary>
    /// <param name="parameters">= weights.</param>
    /// <param name="options">Formats, threads, progress.</param>
    /// <param name="cancel">Stops loading; parameters are partly filled.</param>
    public void Fill(IReadOnlyList<Parameter> parameters, LoadOptions options, CancellationToken cancel = default) =>
        WeightLoader.Load(Source, LoadPlan.Of(parameters, Source, _slices, options.Weights, Config.TieWordEmbeddings), parameters, options, cancel);

    /// <inheritdoc/>
    public void Dispose() => Source.Dispose();

    /// <summary>Opens a folder's weights as those of a given configuration.</summary>
    internal static ModelFiles OpenFolder(string folder, ModelConfig config)
    {
        IWeightSource source = OpenWeights(folder);
        try
        {
            return new ModelFiles(folder, config, ModelFolder.EndTokens(folder), source, WeightNames.Match(config, source));
        }
        catch
        {
            source.Dispose();
            throw;
        }
    }

    // Weights of 4 and 8 bits have scales beside them.
    private static IWeightSource OpenWeights(string folder)
    {
        SafetensorsFolder weights = SafetensorsFolder.Open(folder);
        try
        {
            return ModelFolder.ScaleBlock(folder) is { } block ? new ScaledSource(weights, block.Rows, block.Columns) : weights;
        }
        catch
        {
            weights.Dispose();
            throw;
        }
    }

    private static ModelFiles OpenFolder(string folder) => OpenFolder(folder, ModelFolder.LoadConfig(folder));

    private static ModelFiles OpenGguf(string path)
    {
        GgufSource source = new(GgufFile.Open(path));
        try
        {
            ModelConfig config = GgufArchitecture.ConfigOf(source.File);
            TensorPresence isPresent = source.File.Contains;
            IReadOnlyList<WeightSlice> slices = WeightMatch.Check(source, "the metadata", GgufNames.Slices(config, isPresent), [.. GgufNames.Ignored(config, GgufArchitecture.NumPredictingLayers(source.File), isPresent)]);
            return new ModelFiles(path, config, GgufArchitecture.EndTokens(source.File), source, slices);
        }
        catch
        {
            source.Dispose();
            throw;
        }
    }
}
