using System.Diagnostics;
using MoeSharp.Checkpoints.Gguf;
using MoeSharp.Kernels;
using MoeSharp.Kernels.Formats;
using MoeSharp.Model;
using MoeSharp.Tensors;

namespace MoeSharp.Checkpoints.Export;

/// <summary>How a model is written in another form.</summary>
public sealed record ExportOptions
{
    /// <summary>Formats of the matrices; native keeps what the source has.</summary>
    public WeightTarget Weights { get; init; } = WeightTarget.Native;

    /// <summary>Weights of columns for formats of few bits, or null for equal ones.</summary>
    public ColumnImportance? Importance { get; init; }

    /// <summary>Threads that convert.</summary>
    public int Threads { get; init; } = Environment.ProcessorCount;

    /// <summary>Told after every batch; null for silence.</summary>
    public Action<LoadProgress>? Progress { get; init; }
}

/// <summary>Writes a model as a GGUF file or a Hugging Face folder, tensor by tensor; the target appears under its name only when complete.</summary>
public sealed class ModelExport
{
    private readonly ModelFiles _files;
    private readonly ExportOptions _options;
    private readonly Dictionary<string, Shape> _shapes;
    private readonly ParameterReader _reader;
    private readonly TensorEncoder _encoder;
    private readonly List<WrittenTensor> _written = [];
    private readonly List<string> _warnings = [];
    private readonly long _start = Stopwatch.GetTimestamp();
    private long _bytesTotal;
    private long _bytesDone;

    private ModelExport(ModelFiles files, ExportOptions options)
    {
        (_files, _options) = (files, options);
        using LanguageModel empty = new(files.Config); // parameters take memory when they are filled
        _shapes = empty.Parameters.ToDictionary(parameter => parameter.Name, parameter => parameter.Shape, StringComparer.Ordinal);
        _reader = new ParameterReader(files);
        _encoder = new TensorEncoder(_reader, _shapes, options.Importance, options.Threads);
    }

    /// <summary>Writes a model.</summary>
    /// <param name="files">Model.</param>
    /// <param name="target">A name that ends in .gguf, or a folder that does not exist yet.</param>
    /// <param name="options">Formats, importance, threads.</param>
    /// <param name="cancel">Stops; nothing is left.</param>
    /// <exception cref="ConfigurationException">The form cannot hold the model or its formats, or the target exists.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public static ExportReport Write(ModelFiles files, string target, ExportOptions options, CancellationToken cancel = default)
    {
        CheckTarget(target, options.Weights);
        ModelExport export = new(files, options);
        if (ModelPath.HasGgufName(target))
        {
            export.WriteGguf(target, cancel);
        }
        else
        {
            export.WriteFolder(target, cancel);
        }

        return export.Report(target);
    }

    /// <summary>Checks what can be known before anything is read: that the target is free, has a place, and takes the formats.</summary>
    /// <param name="target">As for <see cref="Write"/>.</param>
    /// <param name="weights">Formats of the matrices.</param>
    /// <exception cref="ConfigurationException">It is not.</exception>
    public static void CheckTarget(string target, WeightTarget weights)
    {
        bool isGguf = ModelPath.HasGgufName(target);
        if (File.Exists(target) || (Directory.Exists(target) && (isGguf || Directory.EnumerateFileSystemEntries(target).Any())))
        {
            throw new ConfigurationException($"{target} exists; name a new {(isGguf ? "file" : "folder")}");
        }

        if (isGguf && Path.GetDirectoryName(Path.GetFullPath(target)) is { } parent && !Directory.Exists(parent))
        {
            throw new ConfigurationException($"{target}: there is no folder {parent}; make it, or name another file");
        }

        if (!isGguf && weights.Format is not (null or WeightFormat.F32 or WeightFormat.BF16))
        {
            throw new ConfigurationException($"a Hugging Face folder holds f32 or bf16, not {weights.Name}; write a file that ends in .gguf, or use --weights bf16");
        }
    }

    private void WriteGguf(string path, CancellationToken cancel)
    {
        List<CheckpointTensor> tensors = Sorted(GgufTable());
        List<WeightTensor> layouts = [.. tensors.Select(tensor => new WeightTensor(tensor.Name, tensor.Shape, Format(tensor)))];
        ModelConfig inFile = _files.Source is GgufSource ? _files.Config : GgufMetadataWriter.InFile(_files.Config);
        float[] divisors = [.. inFile.Rope.FrequencyDivisors];
        if (divisors.Length > 0)
        {
            layouts.Add(new WeightTensor(GgufNames.RotaryDivisors, [divisors.Length], WeightFormat.F32));
        }

        _bytesTotal = layouts.Sum(layout => layout.ByteLength);
        GgufEntries metadata = Metadata(layouts);
        if (_files.Source is not GgufSource)
        {
            GgufDescription.Check(metadata, inFile, layouts);
        }

        using GgufWriter writer = new(path, metadata, layouts);
        foreach ((CheckpointTensor tensor, WeightTensor layout) in tensors.Zip(layouts))
        {
            _encoder.Encode(tensor, layout.Format, writer.Append, cancel);
            Done(layout);
        }

        if (divisors.Length > 0)
        {
            writer.Append(NumberFormats.Bytes(divisors));
            Done(layouts[^1]);
        }

        cancel.ThrowIfCancellationRequested();
        writer.Complete();
    }

    private void WriteFolder(string folder, CancellationToken cancel)
    {
        ModelConfig config = _files.Config;
        bool isReordered = config.LatentAttention is null && config.Rope.IsInterleaved;
        ModelConfig inFolder = isReordered ? config with { Rope = config.Rope with { IsInterleaved = false } } : config;
        IEnumerable<WeightSlice> slices = WeightNames.Of(inFolder);
        List<CheckpointTensor> tensors = Sorted(isReordered ? RotaryRows.Reorder(slices, config) : slices);
        SafetensorsType type = FolderType(tensors);
        _bytesTotal = tensors.Sum(tensor => tensor.Length * type.Bits() / 8);
        ModelFolder.SaveFolder(folder, writer =>
        {
            ModelFolder.WriteConfig(writer, inFolder, type);
            ModelWeightsWriter.Write(writer, tensors, new ModelFolderOptions { WeightType = type }, (weights, tensor) =>
            {
                _encoder.Read(tensor, weights.Append, cancel);
                WeightTensor layout = new(tensor.Name, tensor.Shape, type == SafetensorsType.BF16 ? WeightFormat.BF16 : WeightFormat.F32);
                Done(layout);
            });
            WriteTokenizer(writer);
        });
    }

    // A GGUF file keeps its own spelling; other models get the usual one, with rotary pairs in the order of the architecture's files.
    private IEnumerable<WeightSlice> GgufTable()
    {
        if (_files.Source is GgufSource source)
        {
            return GgufNames.Slices(_files.Config, source.File.Contains);
        }

        ModelConfig inFile = GgufMetadataWriter.InFile(_files.Config);
        IEnumerable<WeightSlice> slices = GgufNames.Slices(_files.Config, _ => false);
        return inFile.Rope.IsInterleaved == _files.Config.Rope.IsInterleaved ? slices : RotaryRows.Reorder(slices, _files.Config);
    }

    private GgufEntries Metadata(List<WeightTensor> layouts)
    {
        const uint OtherType = 0;
        GgufEntries entries = new();
        WeightFormat most = layouts.GroupBy(layout => layout.Format).OrderByDescending(group => group.Sum(layout => layout.Length)).First().Key;
        uint fileType = s_fileTypes.GetValueOrDefault(most, OtherType);
        if (_files.Source is not GgufSource source)
        {
            GgufMetadataWriter.Add(entries, _files.Config, Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(_files.Path))), fileType);
            GgufVocabularyWriter.Add(entries, _files.Path, _files.Config, _warnings);
            return entries;
        }

        string architecture = source.File.Metadata.GetString("general.architecture");
        entries.Add("general.quantization_version", 2u);
        entries.Add("general.file_type", fileType);
        entries.Add(architecture + ".block_count", (uint)_files.Config.NumHiddenLayers);
        string[] replaced = ["general.quantization_version", "general.file_type", architecture + ".block_count", architecture + ".nextn_predict_layers", "general.alignment"];
        foreach (string key in source.File.Metadata.Keys.Where(key => !replaced.Contains(key) && !key.StartsWith("split.", StringComparison.Ordinal)))
        {
            entries.Copy(source.File.Metadata, key);
        }

        return entries;
    }

    // Numbers of general.file_type for files whose matrices are mostly of one format.
    private static readonly Dictionary<WeightFormat, uint> s_fileTypes = new()
    {
        [WeightFormat.F32] = 0,
        [WeightFormat.F16] = 1,
        [WeightFormat.Q4_0] = 2,
        [WeightFormat.Q4_1] = 3,
        [WeightFormat.Q8_0] = 7,
        [WeightFormat.Q5_0] = 8,
        [WeightFormat.Q5_1] = 9,
        [WeightFormat.Q2K] = 10,
        [WeightFormat.Q3K] = 12,
        [WeightFormat.Q4K] = 15,
        [WeightFormat.Q5K] = 17,
        [WeightFormat.Q6K] = 18,
        [WeightFormat.IQ4NL] = 25,
        [WeightFormat.IQ4XS] = 30,
        [WeightFormat.BF16] = 32,
        [WeightFormat.MXFP4] = 38,
    };

    // The rules of loading: norms, biases and routers are float32 in every file.
    private WeightFormat Format(CheckpointTensor tensor)
    {
        string parameter = tensor.Slices[0].ParameterName;
        if (tensor.Shape.Count < 2 || !WeightPlan.IsMatrixOfProducts(parameter, _shapes[parameter]))
        {
            return WeightFormat.F32;
        }

        int columns = checked((int)tensor.Shape[^1]);
        if (_options.Weights.Format is { } format)
        {
            return WeightTarget.FormatOf(format, parameter, columns, _files.Config.TieWordEmbeddings);
        }

        WeightFormat[] stored = [.. tensor.Slices.Select(slice => _reader.FormatOf(slice.ParameterName, slice.FirstElement, slice.Length)).Distinct()];
        bool isKept = stored.Length == 1 && columns % stored[0].BlockLength() == 0 && stored[0].GgmlType() is not null && (stored[0].BlockLength() == 1 || tensor.Slices.All(slice => slice.HasContiguousRows));
        return isKept ? stored[0] : WeightFormat.F32;
    }

    // safetensors of this kind hold plain numbers.
    private SafetensorsType FolderType(List<CheckpointTensor> tensors) => _options.Weights.Format switch
    {
        WeightFormat.F32 => SafetensorsType.F32,
        WeightFormat.BF16 => SafetensorsType.BF16,
        null => tensors.Where(tensor => tensor.Shape.Count > 1).All(tensor => tensor.Slices.All(slice => _reader.FormatOf(slice.ParameterName, slice.FirstElement, slice.Length) == WeightFormat.BF16))
            ? SafetensorsType.BF16
            : SafetensorsType.F32,
        var format => throw new InvalidOperationException($"{format} was not refused"),
    };

    private void WriteTokenizer(FolderWriter writer)
    {
        if (_files.Source is not GgufSource source)
        {
            ModelFolder.CopyTokenizer(writer, _files.Path);
            return;
        }

        string folder = Directory.CreateTempSubdirectory("moesharp-").FullName;
        try
        {
            GgufTokenizer.Load(source.File).Save(folder);
            ModelFolder.CopyTokenizer(writer, folder);
        }
        catch (FileFormatException exception)
        {
            _warnings.Add($"the folder has no tokenizer: {exception.Message}");
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private void Done(WeightTensor layout)
    {
        _written.Add(new WrittenTensor(layout.Name, layout.Format, layout.Length, layout.ByteLength, _files.Source.Find(layout.Name)?.Format == layout.Format));
        _bytesDone += layout.ByteLength;
        _options.Progress?.Invoke(new LoadProgress(_bytesDone, _bytesTotal, Stopwatch.GetElapsedTime(_start)));
    }

    private ExportReport Report(string target)
    {
        HashSet<string> used = [.. _files.Slices.Select(slice => slice.CheckpointName), .. _files.Config.Rope.FrequencyDivisors.Count > 0 ? [GgufNames.RotaryDivisors] : (string[])[]];
        string[] all = [.. _files.Source.Names];
        List<ExpertCoverage> coverage = _options.Importance is { } importance
            ? [.. importance.Weights.Where(name => name.EndsWith("experts.gate_up_projection", StringComparison.Ordinal) && importance.RowsOf(name).Count > 1).Select(name => new ExpertCoverage(name, importance.RowsOf(name)))]
            : [];
        int unreached = coverage.Sum(layer => layer.NumUnreached);
        if (unreached > 0)
        {
            _warnings.Add($"no calibration token reached {unreached} of {coverage.Sum(layer => layer.Rows.Count)} experts; their columns count equally. Give more text, or text of more kinds");
        }

        return new ExportReport(target, _written, all.Length, used.Count, all.Where(used.Contains).Sum(name => _files.Source.Find(name)!.ByteLength), [.. all.Where(name => !used.Contains(name))], coverage, _warnings);
    }

    private static List<CheckpointTensor> Sorted(IEnumerable<WeightSlice> slices) =>
        [.. CheckpointTensor.Group(slices).Select(tensor => tensor with { Slices = [.. tensor.Slices.OrderBy(slice => slice.SourceOffset)] })];
}
