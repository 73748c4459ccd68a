using System.Text;
using MoeSharp.Checkpoints;

namespace MoeSharp.Tests.Checkpoints;

/// <summary>Puts GGUF files together byte by byte, right or wrong.</summary>
internal sealed class GgufBytes
{
    private readonly MemoryStream _entries = new();
    private readonly MemoryStream _tensors = new();
    private readonly List<byte> _data = [];

    public byte[] Magic { get; set; } = "GGUF"u8.ToArray();

    public uint Version { get; set; } = 3;

    public ulong NumEntries { get; set; }

    public ulong NumTensors { get; set; }

    public int Alignment { get; set; } = 32;

    public static GgufBytes Example() => new GgufBytes()
        .Entry("general.architecture", GgufValueType.String, Text("deepseek"))
        .Entry("deepseek.block_count", GgufValueType.UInt32, BitConverter.GetBytes(2u))
        .Entry("deepseek.epsilon", GgufValueType.Float32, BitConverter.GetBytes(0.5f))
        .Entry("flag", GgufValueType.Bool, [1])
        .Entry("numbers", GgufValueType.Array, Array(GgufValueType.Int32, 3, BitConverter.GetBytes(-1), BitConverter.GetBytes(2), BitConverter.GetBytes(7)))
        .Entry("tokenizer.ggml.tokens", GgufValueType.Array, Array(GgufValueType.String, 2, Text("a"), Text("\u00e9")))
        .Entry("nested", GgufValueType.Array, Array(GgufValueType.Array, 2, Array(GgufValueType.UInt8, 2, [1], [2]), Array(GgufValueType.UInt64, 0)))
        .Tensor("a.weight", [4, 2], 0, Floats(1, 2, 3, 4, 5, 6, 7, 8))
        .Tensor("b.weight", [32], 8, [0, 0x3C, .. Enumerable.Range(0, 32).Select(i => (byte)i)]);

    public static byte[] Text(string text) => [.. BitConverter.GetBytes((ulong)Encoding.UTF8.GetByteCount(text)), .. Encoding.UTF8.GetBytes(text)];

    public static byte[] Array(GgufValueType type, ulong count, params byte[][] elements) => [.. BitConverter.GetBytes((uint)type), .. BitConverter.GetBytes(count), .. elements.SelectMany(element => element)];

    public static byte[] Floats(params float[] values) => [.. values.SelectMany(BitConverter.GetBytes)];

    public GgufBytes Entry(string key, GgufValueType type, byte[] value) => Entry(Text(key), (uint)type, value);

    public GgufBytes Entry(byte[] key, uint type, byte[] value)
    {
        _entries.Write([.. key, .. BitConverter.GetBytes(type), .. value]);
        NumEntries++;
        return this;
    }

    public GgufBytes Tensor(string name, ulong[] dimensions, uint type, byte[] data, ulong? offset = null)
    {
        while (_data.Count % Alignment != 0)
        {
            _data.Add(0);
        }

        byte[] sizes = [.. dimensions.SelectMany(BitConverter.GetBytes)];
        _tensors.Write([.. Text(name), .. BitConverter.GetBytes((uint)dimensions.Length), .. sizes, .. BitConverter.GetBytes(type), .. BitConverter.GetBytes(offset ?? (ulong)_data.Count)]);
        _data.AddRange(data);
        NumTensors++;
        return this;
    }

    public byte[] ToArray()
    {
        List<byte> bytes = [.. Magic, .. BitConverter.GetBytes(Version), .. BitConverter.GetBytes(NumTensors), .. BitConverter.GetBytes(NumEntries), .. _entries.ToArray(), .. _tensors.ToArray()];
        while (bytes.Count % Alignment != 0)
        {
            bytes.Add(0);
        }

        bytes.AddRange(_data);
        return [.. bytes];
    }
}
