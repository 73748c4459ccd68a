using MoeSharp.Checkpoints;
using MoeSharp.Kernels.Formats;

namespace MoeSharp.Tests.Checkpoints;

/// <summary>Writing GGUF: what the reader finds, and what is left after a failure.</summary>
public sealed class GgufWriterTests
{
    [Fact]
    public void A_written_file_reads_back()
    {
        using TemporaryFolder folder = new();
        byte[] blocks = new byte[3 * 34];
        new Random(1).NextBytes(blocks);
        GgufEntries entries = new();
        entries.Add("general.architecture", "deepseek");
        entries.Add("count", 7u);
        entries.Add("short", (ushort)9);
        entries.Add("signed", -5);
        entries.Add("scale", 0.25f);
        entries.Add("flag", true);
        entries.Add("texts", ["a", "", "\u00e9"]);
        entries.Add("bytes", (IReadOnlyList<byte[]>)[[1, 0xFF], []]);
        entries.Add("integers", (IReadOnlyList<int>)[1, -2]);
        entries.Add("floats", [0.5f, 2f]);
        using (GgufWriter writer = new(folder["m.gguf"], entries, [new("empty", [0, 4], WeightFormat.F32), new("a", [3, 32], WeightFormat.Q8_0), new("b", [3], WeightFormat.F32)]))
        {
            writer.Append(blocks.AsSpan(0, 1));
            Assert.Equal("a", writer.Current?.Name);
            writer.Append(blocks.AsSpan(1));
            writer.Append(GgufBytes.Floats(1, 2, 3));
            Assert.Null(writer.Current);
            Assert.False(File.Exists(folder["m.gguf"]));
            writer.Complete();
        }

        using GgufFile file = GgufFile.Open(folder["m.gguf"]);
        Assert.Equal([folder["m.gguf"]], Directory.GetFiles(folder.Path));
        Assert.Equal(3, file.Version);
        Assert.Equal(blocks, file.Bytes(file.Tensor("a"), 0, blocks.Length).ToArray());
        float[] values = new float[3];
        file.ReadFloats("b", values);
        Assert.Equal([1f, 2f, 3f], values);
        Assert.Equal([3L, 32L], file.Tensor("a").Shape);
        GgufMetadata metadata = file.Metadata;
        Assert.Equal(("deepseek", 7L, 9L, -5L, 0.25, true), (metadata.GetString("general.architecture"), metadata.GetInteger("count"), metadata.GetInteger("short"), metadata.GetInteger("signed"), metadata.GetFloat("scale"), metadata.GetBool("flag")));
        Assert.Equal(["a", "", "\u00e9"], metadata.GetStrings("texts").ToArray());
        Assert.Equal([1, 0xFF], metadata.GetStrings("bytes")[0].ToArray());
        Assert.Equal([1L, -2L], metadata.GetIntegers("integers"));
        Assert.Equal([0.5, 2.0], metadata.GetFloats("floats"));
    }

    [Fact]
    public void Copied_files_are_identical()
    {
        using TemporaryFolder folder = new();
        byte[] original = GgufBytes.Example().ToArray();
        File.WriteAllBytes(folder["a.gguf"], original);
        using GgufFile file = GgufFile.Open(folder["a.gguf"]);
        GgufEntries entries = new();
        foreach (string key in file.Metadata.Keys)
        {
            entries.Copy(file.Metadata, key);
        }

        using (GgufWriter writer = new(folder["b.gguf"], entries, [.. file.Tensors.Select(tensor => new WeightTensor(tensor.Name, tensor.Shape, tensor.Format))]))
        {
            foreach (GgufTensor tensor in file.Tensors)
            {
                writer.Append(file.Bytes(tensor, 0, (int)tensor.ByteLength));
            }

            writer.Complete();
        }

        Assert.Equal(original, File.ReadAllBytes(folder["b.gguf"])[..original.Length]); // the writer pads the end too
    }

    [Fact]
    public void An_unfinished_file_disappears_and_the_old_one_stays()
    {
        using TemporaryFolder folder = new();
        File.WriteAllText(folder["m.gguf"], "old");
        using (GgufWriter writer = new(folder["m.gguf"], new GgufEntries(), [new("a", [2], WeightFormat.F32)]))
        {
            writer.Append(new byte[4]);
            Assert.Throws<InvalidOperationException>(() => writer.Append(new byte[5]));
            Assert.Throws<InvalidOperationException>(writer.Complete);
        }

        Assert.Equal([folder["m.gguf"]], Directory.GetFiles(folder.Path));
        Assert.Equal("old", File.ReadAllText(folder["m.gguf"]));
    }

    [Fact]
    public void What_cannot_be_stored_is_refused()
    {
        using TemporaryFolder folder = new();
        GgufEntries entries = new();
        entries.Add("key", 1u);
        Assert.Throws<ArgumentException>(() => entries.Add("key", 2u));
        Assert.Throws<ArgumentException>(() => entries.Add("", 2u));
        WeightTensor[][] refused =
        [
            [new("a", [2], WeightFormat.F32), new("a", [2], WeightFormat.F32)],
            [new("", [2], WeightFormat.F32)],
            [new(new string('a', 64), [2], WeightFormat.F32)],
            [new("a", [], WeightFormat.F32)],
            [new("a", [1, 1, 1, 1, 1], WeightFormat.F32)],
            [new("a", [2], WeightFormat.F8E4M3)],
        ];
        foreach (WeightTensor[] tensors in refused)
        {
            Assert.Throws<ArgumentException>(() => new GgufWriter(folder["m.gguf"], entries, tensors));
        }

        Assert.Throws<ShapeException>(() => new GgufWriter(folder["m.gguf"], entries, [new("a", [31], WeightFormat.Q4_0)]));
        Assert.Empty(Directory.GetFiles(folder.Path));
    }
}
