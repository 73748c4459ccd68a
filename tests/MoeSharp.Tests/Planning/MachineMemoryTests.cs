using MoeSharp.Checkpoints;
using MoeSharp.Kernels.Formats;
using MoeSharp.Kernels.Quantized;
using MoeSharp.Model;
using MoeSharp.Planning;
using MoeSharp.Tensors;
using MoeSharp.Tests.Checkpoints;

namespace MoeSharp.Tests.Planning;

/// <summary>What is free, and what a model needs of it.</summary>
public sealed class MachineMemoryTests
{
    [Theory]
    [InlineData("0::/a/b\n", "", "memory.max", "memory.current", "")]
    [InlineData("4:cpu,memory:/a/b\n9:pids:/a\n", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_")]
    public void The_tightest_limit_of_the_groups_above_counts_without_cached_files(string membership, string mount, string limit, string used, string prefix)
    {
        using TemporaryFolder folder = new();
        File.WriteAllText(folder["cgroup"], membership);
        string outer = Directory.CreateDirectory(Path.Combine(folder["root"], mount, "a")).FullName;
        string inner = Directory.CreateDirectory(Path.Combine(outer, "b")).FullName;
        File.WriteAllText(Path.Combine(inner, limit), "9000\n");
        File.WriteAllText(Path.Combine(inner, used), "1000\n");
        File.WriteAllText(Path.Combine(outer, limit), "5000\n");
        File.WriteAllText(Path.Combine(outer, used), "3000\n");
        File.WriteAllText(Path.Combine(outer, "memory.stat"), $"anon 1\n{prefix}inactive_file 400\n{prefix}active_file 100\n");

        Assert.Equal(2500, MachineMemory.FreeInControlGroups(folder["cgroup"], folder["root"]));
    }

    [Fact]
    public void No_group_is_no_limit()
    {
        using TemporaryFolder folder = new();
        Assert.True(MachineMemory.FreeInControlGroups(folder["cgroup"], folder["root"]) > 1L << 60);
        Assert.InRange(MachineMemory.FreeBytes(), 1, 1L << 50);
    }

    [Fact]
    public void A_weight_in_several_formats_counts_each_with_its_own_bytes()
    {
        PackedPart[] parts = [new(64, WeightFormat.Q4K), new(20, WeightFormat.Q6K), new(4, WeightFormat.F32)];
        using PackedMatrix packed = new(3, 512, parts);
        PlannedWeight weight = new("layers.0.attention.qkv_projection", new Shape(3, 88, 512), parts, []);
        MemoryEstimate estimate = MemoryEstimate.Of(ModelPresets.Get("deepseek-moe-16b"), [weight], 1);

        Assert.Equal(packed.Bytes, estimate.WeightBytes);
        Assert.Equal(weight.Bytes, estimate.WeightBytes);
        foreach (PackedPart part in parts)
        {
            using PackedMatrix alone = new(3, 512, part);
            Assert.Equal(new FormatShare(part.Format, 3L * part.Rows * 512, alone.Bytes), estimate.Formats.Single(share => share.Format == part.Format));
        }
    }

    [Fact]
    public void A_token_reads_everything_but_the_experts_it_does_not_use()
    {
        ModelConfig config = ModelPresets.Get("deepseek-moe-16b");
        MemoryEstimate estimate = MemoryEstimate.Of(config, LoadPlan.Of(config, WeightTarget.Float32), 4096);
        ParameterCounts counts = ModelSize.Of(config).Parameters;

        Assert.Equal(counts.Total * 4, estimate.WeightBytes);
        Assert.Equal((counts.ActivatedWithoutEmbedding + config.HiddenSize) * 4.0, estimate.BytesPerToken, 1000.0); // one row of the embedding
        Assert.Equal(2L * 28 * 2048 * 4 * 4096, estimate.KeyValueBytes);
        Assert.Equal(10, new MemoryEstimate([], 0, 0, 4_000_000_000).CeilingTokensPerSecond(40), 1e-9);
    }
}
