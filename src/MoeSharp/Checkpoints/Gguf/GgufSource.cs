using MoeSharp.Kernels.Formats;

namespace MoeSharp.Checkpoints.Gguf;

/// <summary>The tensors of a GGUF file as weights.</summary>
public sealed class GgufSource : IWeightSource
{
    private readonly Dictionary<string, WeightTensor> _tensors;

    /// <summary>Gives access to a file's tensors.</summary>
    /// <param name="file">File; owned from now on.</param>
    public GgufSource(GgufFile file)
    {
        File = file;
        _tensors = file.Tensors.ToDictionary(tensor => tensor.Name, tensor => new WeightTensor(tensor.Name, tensor.Shape, tensor.Format), StringComparer.Ordinal);
    }

    /// <summary>The file.</summary>
    public GgufFile File { get; }

    /// <inheritdoc/>
    public string Description => File.Path;

    /// <inheritdoc/>
    public IReadOnlyCollection<string> Names => _tensors.Keys;

    /// <inheritdoc/>
    public WeightTensor? Find(string name) => _tensors.GetValueOrDefault(name);

    /// <inheritdoc/>
    public void ReadBlocks(WeightTensor tensor, long firstElement, long count, Span<byte> blocks)
    {
        long offset = firstElement / tensor.Format.BlockLength() * tensor.Format.BlockBytes();
        int length = checked((int)tensor.Format.RowBytes(count));
        File.Read(File.Tensor(tensor.Name), offset, blocks[..length]);
    }

    /// <inheritdoc/>
    public void ReadFloats(WeightTensor tensor, long firstElement, Span<float> values) => BlockReader.ReadFloats(this, tensor, firstElement, values);

    /// <inheritdoc/>
    public void Dispose() => File.Dispose();
}
