using System.Buffers.Binary;
using System.Text;
using MoeSharp.Checkpoints;

namespace MoeSharp.Tests.Checkpoints;

/// <summary>Damaged weight files: only the library's own exception, no allocation beyond the file and a small constant.</summary>
public sealed class HostileFileTests
{
    // Mapping a file, its tables and the exception with its message.
    private const long SmallConstant = 64_000;

    [Theory]
    [InlineData("gguf", 1)]
    [InlineData("safetensors", 2)]
    public void A_thousand_mutated_files_raise_only_format_errors(string format, int seed) => Mutate(format, seed, 1_000);

    [Theory]
    [InlineData("gguf", 3)]
    [InlineData("safetensors", 4)]
    [Trait("Category", "Slow")]
    public void Twenty_thousand_mutated_files_raise_only_format_errors(string format, int seed) => Mutate(format, seed, 20_000);

    // Large headers whose counts are honest: what is built from them must stay below the file.
    [Fact]
    public void Bulky_headers_cost_no_more_memory_than_their_file()
    {
        using TemporaryFolder folder = new();
        string zeros = string.Join(',', Enumerable.Repeat("0", 500_000));
        string longName = new('n', 2_000_000);
        (string Name, byte[] Bytes)[] files =
        [
            ("shape.safetensors", SafetensorsWith($"{{\"x\":{{\"dtype\":\"F32\",\"shape\":[{zeros}],\"data_offsets\":[0,0]}}}}")),
            ("name.safetensors", SafetensorsWith($"{{\"{longName}\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}}}")),
            ("array.gguf", new GgufBytes().Entry("key", GgufValueType.Array, GgufBytes.Array(GgufValueType.UInt8, 2_000_000, new byte[2_000_000])).ToArray()),
            ("nested.gguf", new GgufBytes().Entry("key", GgufValueType.Array, GgufBytes.Array(GgufValueType.Array, 100_000, [.. Enumerable.Repeat(GgufBytes.Array(GgufValueType.UInt8, 0), 100_000)])).ToArray()),
            ("texts.gguf", new GgufBytes().Entry("tokenizer.ggml.tokens", GgufValueType.Array, GgufBytes.Array(GgufValueType.String, 100_000, [.. Enumerable.Repeat(GgufBytes.Text(""), 100_000)])).ToArray()),
        ];
        foreach ((string name, byte[] bytes) in files)
        {
            string path = Write(folder[name], bytes);
            long before = GC.GetAllocatedBytesForCurrentThread();
            Exception? error = Record.Exception(() => Open(path));
            long allocated = GC.GetAllocatedBytesForCurrentThread() - before;

            Assert.True(error is null or FileFormatException, $"{name}: {error}");
            Assert.True(allocated < bytes.Length + SmallConstant, $"{name}: {allocated} bytes for a file of {bytes.Length}");
        }
    }

    [Fact]
    public void Counts_have_bounds()
    {
        using TemporaryFolder folder = new();
        string texts = string.Join(',', Enumerable.Range(0, 70_000).Select(i => $"\"{i:x}\":\"\""));
        string tensors = string.Join(',', Enumerable.Range(0, 270_000).Select(i => $"\"{i:x}\":{{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}"));
        GgufBytes entries = new();
        for (int i = 0; i < 66_000; i++)
        {
            entries.Entry($"{i:x}", GgufValueType.UInt8, [1]);
        }

        foreach ((string name, byte[] bytes) in ((string, byte[])[])[("texts.safetensors", SafetensorsWith($"{{\"__metadata__\":{{{texts}}}}}")), ("tensors.safetensors", SafetensorsWith($"{{{tensors}}}")), ("entries.gguf", entries.ToArray())])
        {
            Assert.Throws<FileFormatException>(() => Open(Write(folder[name], bytes)));
        }
    }

    private static void Mutate(string format, int seed, int rounds)
    {
        using TemporaryFolder folder = new();
        string path = folder["mutated." + format];
        byte[] original = format == "gguf" ? GgufBytes.Example().ToArray() : Safetensors();
        Random random = new(seed);
        int accepted = 0;
        Open(Write(path, original)); // one-time allocations of the runtime
        for (int round = 0; round < rounds; round++)
        {
            byte[] bytes = Mutated(original, random);
            Write(path, bytes);
            long before = GC.GetAllocatedBytesForCurrentThread();
            try
            {
                Open(path);
                accepted++;
            }
            catch (FileFormatException)
            {
            }

            long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
            Assert.True(allocated < bytes.Length + SmallConstant, $"round {round}: {allocated} bytes for a file of {bytes.Length}");
        }

        Assert.InRange(accepted, rounds / 100, rounds * 9 / 10); // changed names and numbers of metadata stay legal
    }

    // Opens, and reads everything that can be read: what was accepted must be safe to use.
    private static void Open(string path)
    {
        Span<float> values = stackalloc float[256];
        if (path.EndsWith(".gguf", StringComparison.Ordinal))
        {
            using GgufFile file = GgufFile.Open(path);
            foreach (GgufTensor tensor in file.Tensors)
            {
                file.ReadFloats(tensor.Name, values[..(int)tensor.Length]);
            }

            foreach (string key in file.Metadata.Keys)
            {
                GgufValue value = file.Metadata.Find(key)!.Value;
                _ = value.Type == GgufValueType.Array && value.ElementType == GgufValueType.String ? file.Metadata.GetStrings(key).Count : 0;
            }
        }
        else
        {
            using SafetensorsFile file = SafetensorsFile.Open(path);
            foreach (string name in file.Names)
            {
                file.ReadFloats(name, values[..(int)file.Tensor(name).Length]);
            }
        }
    }

    private static byte[] Mutated(byte[] original, Random random)
    {
        List<byte> bytes = [.. original];
        for (int change = random.Next(1, 4); change > 0 && bytes.Count > 0; change--)
        {
            int position = random.Next(bytes.Count);
            switch (random.Next(6))
            {
                case 0:
                    bytes[position] = (byte)random.Next(256);
                    break;
                case 1:
                    bytes[position] ^= (byte)(1 << random.Next(8));
                    break;
                case 2:
                    bytes.RemoveRange(position, bytes.Count - position);
                    break;
                case 3:
                    bytes.RemoveRange(position, Math.Min(random.Next(1, 16), bytes.Count - position));
                    break;
                case 4: // a count bomb
                    byte[] count = BitConverter.GetBytes(random.Next(3) switch { 0 => ulong.MaxValue, 1 => 1ul << random.Next(64), _ => (ulong)random.NextInt64() });
                    for (int i = 0; i < count.Length && position + i < bytes.Count; i++)
                    {
                        bytes[position + i] = count[i];
                    }

                    break;
                default:
                    bytes.InsertRange(position, bytes.GetRange(0, position));
                    break;
            }
        }

        return [.. bytes];
    }

    private static byte[] Safetensors()
    {
        return [.. SafetensorsWith("""{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}}"""), .. new byte[32]];
    }

    private static byte[] SafetensorsWith(string json)
    {
        byte[] header = Encoding.UTF8.GetBytes(json);
        byte[] length = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(length, header.Length);
        return [.. length, .. header];
    }

    private static string Write(string path, byte[] bytes)
    {
        File.WriteAllBytes(path, bytes);
        return path;
    }
}
