using System.Text;
using System.Text.Json;
using MoeSharp.Checkpoints;
using MoeSharp.Kernels.Formats;

namespace MoeSharp.Tests.Checkpoints;

/// <summary>Reading GGUF: values, every rule of the format, split files.</summary>
public sealed class GgufFileTests
{
    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    public void Tensors_are_decoded_and_shapes_turned_to_row_major(int version)
    {
        using TemporaryFolder folder = new();
        GgufBytes bytes = GgufBytes.Example();
        bytes.Version = (uint)version;
        using GgufFile file = Open(folder, bytes);

        float[] rows = new float[4];
        file.ReadFloats("a.weight", 4, rows);
        float[] block = new float[32];
        file.ReadFloats("b.weight", block);

        Assert.Equal(version, file.Version);
        Assert.Equal(["a.weight", "b.weight"], file.Tensors.Select(tensor => tensor.Name));
        Assert.Equal([2L, 4L], file.Tensor("a.weight").Shape);
        Assert.Equal([5f, 6f, 7f, 8f], rows);
        Assert.Equal(WeightFormat.Q8_0, file.Tensor("b.weight").Format);
        Assert.Equal(Enumerable.Range(0, 32).Select(i => (float)i), block);
        Assert.Equal(new byte[] { 0, 0x3C, 0, 1 }, file.Bytes(file.Tensor("b.weight"), 0, 4).ToArray());
    }

    [Fact]
    public void Metadata_is_read_by_type()
    {
        using TemporaryFolder folder = new();
        using GgufFile file = Open(folder, GgufBytes.Example());
        GgufMetadata metadata = file.Metadata;

        Assert.Equal("deepseek", metadata.GetString("general.architecture"));
        Assert.Equal(2, metadata.GetInteger("deepseek.block_count"));
        Assert.Equal(0.5, metadata.GetFloat("deepseek.epsilon"));
        Assert.Equal(2.0, metadata.GetFloat("deepseek.block_count"));
        Assert.True(metadata.GetBool("flag"));
        Assert.Equal([-1L, 2L, 7L], metadata.GetIntegers("numbers"));
        Assert.Equal([-1.0, 2.0, 7.0], metadata.GetFloats("numbers"));
        Assert.Equal(["a", "\u00e9"], metadata.GetStrings("tokenizer.ggml.tokens").ToArray());
        Assert.Equal("\u00e9"u8.ToArray(), metadata.GetStrings("tokenizer.ggml.tokens")[1].ToArray());
        Assert.Equal(7, metadata.Keys.Count);
        Assert.Equal(("x", 5L, 0.25, true), (metadata.GetString("none", "x"), metadata.GetInteger("none", 5), metadata.GetFloat("none", 0.25), metadata.GetBool("none", true)));
        Assert.Equal((GgufValueType.Array, GgufValueType.Array, 2L), (metadata.Find("nested")!.Value.Type, metadata.Find("nested")!.Value.ElementType, metadata.Find("nested")!.Value.Count));
        Assert.Null(metadata.Find("none"));
    }

    [Fact]
    public void A_wrong_type_is_named_with_file_and_key()
    {
        using TemporaryFolder folder = new();
        using GgufFile file = Open(folder, GgufBytes.Example());

        Action[] reads =
        [
            () => file.Metadata.GetString("flag"),
            () => file.Metadata.GetInteger("general.architecture"),
            () => file.Metadata.GetInteger("numbers", 3),
            () => file.Metadata.GetFloat("flag"),
            () => file.Metadata.GetBool("deepseek.block_count"),
            () => file.Metadata.GetStrings("numbers"),
            () => file.Metadata.GetIntegers("tokenizer.ggml.tokens"),
            () => file.Metadata.GetIntegers("deepseek.block_count"),
            () => file.Metadata.GetIntegers("nested"),
            () => file.Metadata.GetString("absent"),
            () => file.Tensor("absent"),
        ];
        foreach (Action read in reads)
        {
            Assert.StartsWith(file.Path, Assert.Throws<FileFormatException>(read).Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Ranges_are_checked()
    {
        using TemporaryFolder folder = new();
        using GgufFile file = Open(folder, GgufBytes.Example());
        GgufTensor tensor = file.Tensor("b.weight");

        Assert.Throws<ArgumentOutOfRangeException>(() => file.Bytes(tensor, 1, 34));
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Bytes(tensor, -1, 1));
        Assert.Throws<ArgumentException>(() => file.ReadFloats("b.weight", 1, new float[31]));
        Assert.Throws<ArgumentException>(() => file.ReadFloats("b.weight", new float[64]));
        Assert.Throws<ArgumentException>(() => file.ReadFloats("a.weight", 5, new float[4]));
    }

    public static TheoryData<string, string> BrokenFiles => [.. Broken().Select(pair => (pair.Key, pair.Value.Rule))];

    [Theory]
    [MemberData(nameof(BrokenFiles))]
    public void A_broken_rule_is_named(string name, string rule)
    {
        using TemporaryFolder folder = new();

        FileFormatException error = Assert.Throws<FileFormatException>(() => Open(folder, Broken()[name].Bytes).Dispose());

        Assert.StartsWith(folder.Path, error.Message, StringComparison.Ordinal);
        Assert.Contains(rule, error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain(error.Message, char.IsControl);
    }

    [Fact]
    public void Every_shorter_file_is_refused_or_lacks_only_padding()
    {
        using TemporaryFolder folder = new();
        byte[] bytes = GgufBytes.Example().ToArray();
        for (int length = 0; length < bytes.Length; length++)
        {
            File.WriteAllBytes(folder["cut.gguf"], bytes[..length]);
            Assert.Throws<FileFormatException>(() => GgufFile.Open(folder["cut.gguf"]).Dispose());
        }
    }

    [Fact]
    public void Arrays_nest_to_a_bound_without_recursion()
    {
        byte[] opening = GgufBytes.Array(GgufValueType.Array, 1);
        byte[] Nested(int depth) => [.. Enumerable.Repeat(opening, depth - 1).SelectMany(bytes => bytes), .. GgufBytes.Array(GgufValueType.UInt8, 1, [7])];

        using TemporaryFolder folder = new();
        Open(folder, new GgufBytes().Entry("deep", GgufValueType.Array, Nested(8))).Dispose();
        Assert.Contains("deep", Assert.Throws<FileFormatException>(() => Open(folder, new GgufBytes().Entry("deep", GgufValueType.Array, Nested(100_000))).Dispose()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Parts_of_a_split_model_open_as_one()
    {
        using TemporaryFolder folder = new();
        WriteSplit(folder, 2, 2);

        using GgufFile file = GgufFile.Open(folder["m-00002-of-00002.gguf"]);

        float[] values = new float[2];
        file.ReadFloats("t1", values);
        Assert.Equal([1f, 2f], values);
        Assert.Equal(folder["m-00001-of-00002.gguf"], file.Path);
        Assert.Equal(2, file.NumParts);
        Assert.Equal(["t0", "t1"], file.Tensors.Select(tensor => tensor.Name));
        Assert.Equal("deepseek", file.Metadata.GetString("general.architecture"));
    }

    [Fact]
    public void A_broken_split_is_refused()
    {
        using TemporaryFolder folder = new();
        WriteSplit(folder, 2, 2);
        File.Copy(folder["m-00001-of-00002.gguf"], folder["renamed.gguf"]);
        File.Copy(folder["m-00001-of-00002.gguf"], folder["n-00001-of-00002.gguf"]);
        File.Copy(folder["m-00001-of-00002.gguf"], folder["o-00001-of-00002.gguf"]);
        File.Copy(folder["m-00001-of-00002.gguf"], folder["o-00002-of-00002.gguf"]);
        Assert.Contains("file name says 1", Assert.Throws<FileFormatException>(() => GgufFile.Open(folder["renamed.gguf"])).Message, StringComparison.Ordinal);
        Assert.Contains("n-00002-of-00002.gguf is missing", Assert.Throws<FileFormatException>(() => GgufFile.Open(folder["n-00001-of-00002.gguf"])).Message, StringComparison.Ordinal);
        Assert.Contains("another part", Assert.Throws<FileFormatException>(() => GgufFile.Open(folder["o-00001-of-00002.gguf"])).Message, StringComparison.Ordinal);

        WriteSplit(folder, 2, 3);
        Assert.Contains("split.tensors.count is 3", Assert.Throws<FileFormatException>(() => GgufFile.Open(folder["m-00001-of-00002.gguf"])).Message, StringComparison.Ordinal);
        File.Copy(folder["m-00002-of-00002.gguf"], folder["m-00001-of-00002.gguf"], overwrite: true);
        Assert.Contains("split.no is 1", Assert.Throws<FileFormatException>(() => GgufFile.Open(folder["m-00001-of-00002.gguf"])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Collected_files_are_accepted_or_rejected_as_listed()
    {
        string folder = Path.Combine(Fixtures(), "malformed");
        using JsonDocument manifest = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "manifest.json")));
        int files = 0;
        foreach (JsonElement entry in manifest.RootElement.EnumerateArray())
        {
            string name = entry.GetProperty("file").GetString() ?? "";
            if (!name.EndsWith(".gguf", StringComparison.Ordinal))
            {
                continue;
            }

            Exception? error = Record.Exception(() => GgufFile.Open(Path.Combine(folder, name)).Dispose());
            bool isAccepted = entry.GetProperty("expect").GetString() == "accept";
            Assert.True(isAccepted ? error is null : error is FileFormatException, $"{name} ({entry.GetProperty("why")}): {error?.ToString() ?? "accepted"}");
            files++;
        }

        Assert.Equal(22, files);
    }

    [Fact]
    public void Models_written_elsewhere_open()
    {
        string[] paths = Directory.GetFiles(Path.Combine(Fixtures(), "llamacpp"), "*.gguf", SearchOption.AllDirectories);
        foreach (string path in paths)
        {
            using GgufFile file = GgufFile.Open(path);
            string architecture = file.Metadata.GetString("general.architecture");
            float[] embedding = new float[file.Tensor("token_embd.weight").Length];
            file.ReadFloats("token_embd.weight", embedding);

            Assert.Equal(file.Metadata.GetInteger(architecture + ".embedding_length"), file.Tensor("token_embd.weight").Columns);
            Assert.Equal(file.Tensor("token_embd.weight").Shape[0], file.Metadata.GetStrings("tokenizer.ggml.tokens").Count);
            Assert.All(embedding, value => Assert.True(float.IsFinite(value)));
        }

        Assert.Equal(12, paths.Length);
    }

    private static Dictionary<string, (GgufBytes Bytes, string Rule)> Broken()
    {
        byte[] data = new byte[32];
        byte[] one = BitConverter.GetBytes(1u);
        GgufBytes Entry(GgufValueType type, byte[] value) => new GgufBytes().Entry("key", type, value);
        GgufBytes Tensor(string name, ulong[] dimensions, uint type, ulong? offset = null) => new GgufBytes().Tensor(name, dimensions, type, data, offset);
        return new()
        {
            ["magic"] = (new GgufBytes { Magic = "GGML"u8.ToArray() }, "GGUF"),
            ["version 1"] = (new GgufBytes { Version = 1 }, "version 1"),
            ["future version"] = (new GgufBytes { Version = 4 }, "version 4"),
            ["big-endian"] = (new GgufBytes { Version = 0x03000000 }, "big-endian"),
            ["many tensors"] = (new GgufBytes { NumTensors = 1 }, "do not fit"),
            ["negative tensors"] = (new GgufBytes { NumTensors = ulong.MaxValue }, "do not fit"),
            ["many entries"] = (new GgufBytes { NumEntries = 1ul << 40 }, "do not fit"),
            ["empty key"] = (new GgufBytes().Entry(new byte[8], 0, new byte[8]), "a key of 0 bytes"),
            ["long key"] = (new GgufBytes().Entry(GgufBytes.Text(new string('k', 65536)), 0, [1]), "65535"),
            ["huge key"] = (new GgufBytes().Entry(BitConverter.GetBytes(ulong.MaxValue), 0, new byte[16]), "a key of"),
            ["key that is not text"] = (new GgufBytes().Entry([1, 0, 0, 0, 0, 0, 0, 0, 0xFF], 0, [1]), "UTF-8"),
            ["control characters"] = (new GgufBytes().Entry("\u001b[2J\n", (GgufValueType)77, [1]), "unknown type 77"),
            ["negative type"] = (new GgufBytes().Entry(GgufBytes.Text("key"), uint.MaxValue, [1]), "unknown type"),
            ["bool of 2"] = (Entry(GgufValueType.Bool, [2]), "neither 0 nor 1"),
            ["bools of 2"] = (Entry(GgufValueType.Array, GgufBytes.Array(GgufValueType.Bool, 2, [1, 2])), "neither 0 nor 1"),
            ["long text"] = (Entry(GgufValueType.String, BitConverter.GetBytes(1ul << 40)), "claims a text"),
            ["text of 2^64-1"] = (Entry(GgufValueType.String, BitConverter.GetBytes(ulong.MaxValue)), "claims a text"),
            ["long array"] = (Entry(GgufValueType.Array, GgufBytes.Array(GgufValueType.UInt64, 1ul << 61)), "claims 2305843009213693952 elements"),
            ["long array of texts"] = (Entry(GgufValueType.Array, GgufBytes.Array(GgufValueType.String, ulong.MaxValue)), "elements"),
            ["array with unknown type"] = (Entry(GgufValueType.Array, GgufBytes.Array((GgufValueType)13, 0)), "unknown type 13"),
            ["error inside an array"] = (Entry(GgufValueType.Array, GgufBytes.Array(GgufValueType.Array, 2, GgufBytes.Array(GgufValueType.UInt8, 0), GgufBytes.Array((GgufValueType)13, 0))), "unknown type 13"),
            ["key twice"] = (Entry(GgufValueType.UInt32, one).Entry("key", GgufValueType.UInt32, one), "twice"),
            ["alignment of 64 bits"] = (new GgufBytes().Entry("general.alignment", GgufValueType.UInt64, BitConverter.GetBytes(32ul)), "u32"),
            ["alignment 24"] = (new GgufBytes().Entry("general.alignment", GgufValueType.UInt32, BitConverter.GetBytes(24u)), "power of two"),
            ["alignment 2^31"] = (new GgufBytes().Entry("general.alignment", GgufValueType.UInt32, BitConverter.GetBytes(1u << 31)), "power of two"),
            ["inconsistent alignment"] = (new GgufBytes().Entry("general.alignment", GgufValueType.UInt32, BitConverter.GetBytes(64u)).Tensor("a", [8], 0, data).Tensor("b", [8], 0, data), "alignment 64"),
            ["empty tensor name"] = (Tensor("", [8], 0), "a tensor name of 0 bytes"),
            ["long tensor name"] = (Tensor(new string('t', 64), [8], 0), "a tensor name of 64 bytes"),
            ["no dimensions"] = (Tensor("t", [], 0).Entry("filler", GgufValueType.UInt64, new byte[8]), "0 dimensions"),
            ["five dimensions"] = (Tensor("t", [1, 1, 1, 1, 1], 0), "5 dimensions"),
            ["negative dimension"] = (Tensor("t", [ulong.MaxValue], 0), "64 bits"),
            ["product of 2^64"] = (Tensor("t", [1ul << 32, 1ul << 32], 0), "64 bits"),
            ["product that wraps to 8"] = (Tensor("t", [(1ul << 61) + 1, 8], 0), "64 bits"),
            ["bytes of 2^65"] = (Tensor("t", [1ul << 62], 0), "64 bits"),
            ["sum that wraps"] = (new GgufBytes().Tensor("a", [1ul << 62], 24, data, 0).Tensor("b", [1ul << 62], 24, data, 1ul << 62).Tensor("c", [1ul << 62], 24, data, 1ul << 63), "64 bits"),
            ["removed type"] = (Tensor("t", [32], 4), "removed type 4"),
            ["unknown type"] = (Tensor("t", [32], uint.MaxValue), "unknown or removed"),
            ["type without decoder"] = (Tensor("t", [256], 16), "iq2_xxs"),
            ["broken row"] = (Tensor("t", [8, 4], 8), "rows of 8"),
            ["misaligned offset"] = (Tensor("t", [8], 0, 8), "multiple of the alignment"),
            ["hole"] = (Tensor("t", [8], 0, 32), "ends at 0"),
            ["overlap"] = (new GgufBytes().Tensor("a", [8], 0, data).Tensor("b", [8], 0, data, 0), "ends at 32"),
            ["huge offset"] = (Tensor("t", [8], 0, 1ul << 63), "63 bits"),
            ["tensor twice"] = (new GgufBytes().Tensor("t", [8], 0, data).Tensor("t", [8], 0, data), "twice"),
            ["data missing"] = (new GgufBytes().Tensor("t", [8], 0, data[..31]), "truncated"),
            ["too many layers"] = (GgufBytesWith("a.block_count", GgufValueType.UInt32, BitConverter.GetBytes(513u)), "512"),
            ["scores of another vocabulary"] = (GgufBytes.Example().Entry("tokenizer.ggml.scores", GgufValueType.Array, GgufBytes.Array(GgufValueType.Float32, 1, one)), "vocabulary of 2"),
        };
    }

    private static GgufBytes GgufBytesWith(string key, GgufValueType type, byte[] value) => new GgufBytes().Entry("general.architecture", GgufValueType.String, GgufBytes.Text("a")).Entry(key, type, value);

    private static void WriteSplit(TemporaryFolder folder, int parts, int promised)
    {
        for (int part = 0; part < parts; part++)
        {
            GgufBytes bytes = new GgufBytes()
                .Entry("split.no", GgufValueType.UInt16, BitConverter.GetBytes((ushort)part))
                .Entry("split.count", GgufValueType.UInt16, BitConverter.GetBytes((ushort)parts))
                .Entry("split.tensors.count", GgufValueType.Int32, BitConverter.GetBytes(promised))
                .Tensor($"t{part}", [2], 0, GgufBytes.Floats(part, part + 1));
            bytes = part == 0 ? bytes.Entry("general.architecture", GgufValueType.String, GgufBytes.Text("deepseek")) : bytes;
            File.WriteAllBytes(folder[$"m-{part + 1:d5}-of-{parts:d5}.gguf"], bytes.ToArray());
        }
    }

    private static string Fixtures()
    {
        string? fixtures = Environment.GetEnvironmentVariable("MOE_FIXTURES");
        if (string.IsNullOrEmpty(fixtures))
        {
            Assert.Skip("MOE_FIXTURES is not set");
        }

        return fixtures;
    }

    private static GgufFile Open(TemporaryFolder folder, GgufBytes bytes)
    {
        File.WriteAllBytes(folder["x.gguf"], bytes.ToArray());
        return GgufFile.Open(folder["x.gguf"]);
    }
}
