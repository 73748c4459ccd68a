using FsCheck;
using FsCheck.Fluent;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Layers;
using MoeSharp.Model;
using MoeSharp.Moe.Dispatch;
using MoeSharp.Tensors;
using MoeSharp.Tests.Kernels;

namespace MoeSharp.Tests.Moe;

/// <summary>What holds for every mixture, whatever its sizes, tokens and weights.</summary>
public sealed class MoeLayerPropertyTests
{
    private const int Hidden = 8;

    // Each loss is on, with a factor of its own.
    private static readonly BalanceConfig s_everyLoss = new()
    {
        ExpertAlpha = 0.3f,
        DeviceAlpha = 0.7f,
        CommunicationAlpha = 0.4f,
        FirstChoiceAlpha = 0.2f,
        SequenceAlpha = 0.6f,
        BatchAlpha = 0.5f,
        ImportanceAlpha = 0.9f,
        ZLossAlpha = 0.05f,
        NumDeviceGroups = 3,
        MaxDevicesPerToken = 2,
    };

    [Fact]
    public void Padding_changes_no_output_no_loss_and_no_gradient() => ForSeeds(40, seed =>
    {
        Random random = new(seed);
        MoeConfig moe = new() { NumExperts = 6, TopK = 2, IntermediateSize = 5, NumSharedExperts = seed % 2, NormTopKProb = seed % 3 == 0, Capacity = Capacity(seed) };
        BalanceScope scope = (seed % 4) switch { 0 => BalanceScope.Sequence, 1 => BalanceScope.MicroBatch, 2 => BalanceScope.GlobalBatch, _ => BalanceScope.AllLayers };
        BalanceConfig balance = s_everyLoss with { Scope = scope };
        int[] lengths = [.. Enumerable.Range(0, random.Next(1, 4)).Select(_ => random.Next(1, 9))];
        int[] padded = [.. lengths.Select(length => length + random.Next(4))];
        int[] places = [.. Places(lengths, padded, random)];
        float[] x = KernelCheck.Random(lengths.Sum() * Hidden, seed);
        float[] cotangent = KernelCheck.Random(x.Length, seed + 1);

        using MoeBench bench = new(moe, Hidden);
        bench.Fill(seed, 0.6f);
        (float[] y, float[] dx) = bench.Differentiate(x, cotangent, balance, Rows(lengths, []));
        AuxiliaryLosses losses = bench.Routing.Losses;
        long dropped = bench.Routing.DroppedSlots;
        long[] load = [.. bench.Routing.TokensPerExpert];
        float[][] gradients = [.. bench.Parameters.Select(parameter => parameter.Gradient.ToArray())];

        float[] wide = KernelCheck.Random(padded.Sum() * Hidden, seed + 2);
        float[] wideCotangent = new float[wide.Length];
        Spread(x, places, wide);
        Spread(cotangent, places, wideCotangent);
        (float[] paddedY, float[] paddedDx) = bench.Differentiate(wide, wideCotangent, balance, Rows(padded, [.. Enumerable.Range(0, padded.Sum()).Except(places)]));
        Assert.Equal(y, Gather(paddedY, places));
        Assert.Equal(load, bench.Routing.TokensPerExpert);
        Assert.Equal(dropped, bench.Routing.DroppedSlots);
        KernelCheck.Close(KernelCheck.Double(dx), Gather(paddedDx, places), 1e-5, 1e-5, "input gradient");
        for (AuxiliaryLoss kind = 0; (int)kind < AuxiliaryLosses.Count; kind++)
        {
            Assert.Equal(losses[kind], bench.Routing.Losses[kind], 1e-6);
        }

        for (int index = 0; index < gradients.Length; index++)
        {
            KernelCheck.Close(KernelCheck.Double(gradients[index]), bench.Parameters[index].Gradient.ToArray(), 1e-5, 1e-5, bench.Parameters[index].Name);
        }
    });

    [Fact]
    public void Balanced_routing_gives_exactly_one_for_every_loss_and_no_variation() => ForSeeds(40, seed =>
    {
        // Token of kind h likes experts h, h + size, h + 2 size, ... in this order: every expert and every device is used equally, every token uses K devices.
        Random random = new(seed);
        (int devices, int size) = (random.Next(2, 5), random.Next(1, 5));
        int experts = devices * size;
        int topK = random.Next(1, devices + 1);
        MoeConfig moe = new() { NumExperts = experts, TopK = topK, IntermediateSize = 2 };
        using MoeBench bench = new(moe, experts);
        bench.Fill(seed, 0.5f);
        Span<float> router = bench.Parameter("moe.router").Value;
        router.Clear();
        for (int kind = 0; kind < experts; kind++)
        {
            for (int choice = 0; choice < topK; choice++)
            {
                router[((kind + (choice * size)) % experts * experts) + kind] = topK - choice;
            }
        }

        int[] kinds = [.. Enumerable.Range(0, experts * random.Next(1, 4)).Select(token => token % experts)];
        random.Shuffle(kinds);
        float[] x = [.. kinds.SelectMany(kind => Enumerable.Range(0, experts).Select(h => h == kind ? 1f : 0f))];
        bench.Differentiate(x, new float[x.Length], s_everyLoss with { NumDeviceGroups = devices, MaxDevicesPerToken = topK });
        foreach (AuxiliaryLoss kind in (AuxiliaryLoss[])[AuxiliaryLoss.ExpertLevel, AuxiliaryLoss.DeviceLevel, AuxiliaryLoss.Communication, AuxiliaryLoss.FirstChoice, AuxiliaryLoss.SequenceWise, AuxiliaryLoss.BatchWise])
        {
            Assert.True(Math.Abs(bench.Routing.Losses[kind] - 1) < 1e-6, $"{kind}: {bench.Routing.Losses[kind]}");
        }

        Assert.Equal(0, bench.Routing.Losses[AuxiliaryLoss.Importance], 1e-9);
    });

    [Fact]
    public void All_experts_with_equal_weights_are_one_dense_feed_forward() => ForSeeds(30, seed =>
    {
        Random random = new(seed);
        (int experts, int width, int tokens) = (random.Next(2, 9), random.Next(1, 12), random.Next(1, 20));
        MoeConfig moe = new() { NumExperts = experts, TopK = experts, IntermediateSize = width, NormTopKProb = true };
        using MoeBench bench = new(moe, Hidden);
        bench.Fill(seed, 0.5f);
        using WorkerPool workers = new(1);
        using ForwardContext context = new(workers);
        List<Parameter> weights = [];
        FeedForwardLayer dense = new("dense", Hidden, width, weights);
        for (int index = 0; index < 2; index++)
        {
            Span<float> stack = bench.Parameters[index + 1].Value;
            int size = stack.Length / experts;
            for (int expert = 1; expert < experts; expert++)
            {
                stack[..size].CopyTo(stack[(expert * size)..]);
            }

            stack[..size].CopyTo(weights[index].Value);
        }

        float[] x = KernelCheck.Random(tokens * Hidden, seed);
        context.BeginInference(Rows([tokens], []));
        Tensor input = context.Pool.Rent(new Shape(tokens, Hidden));
        x.CopyTo(input.Data);
        float[] expected = dense.Forward(input, context).Data.ToArray();
        context.EndPass();
        KernelCheck.Close(KernelCheck.Double(expected), bench.Forward(x), 1e-5, 1e-5, "output");
        weights.ForEach(parameter => parameter.Dispose());
    });

    private static void ForSeeds(int count, Action<int> holds) =>
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(count), Prop.ForAll(Gen.Choose(0, 1_000_000).ToArbitrary(), holds));

    private static CapacityRule? Capacity(int seed) => (seed % 5) switch
    {
        0 => new CapacityRule { TrainingFactor = 0.75 },
        1 => new CapacityRule { TrainingFactor = 0.75, Policy = DropPolicy.Probability, RenormalizesAfterDrop = true },
        2 => new CapacityRule { NumDevices = 3, DeviceFactor = 0.75, ProtectedShare = 0 },
        _ => null,
    };

    // Where the real rows of each sequence stand when padding comes between them.
    private static IEnumerable<int> Places(int[] lengths, int[] padded, Random random)
    {
        int begin = 0;
        for (int sequence = 0; sequence < lengths.Length; sequence++)
        {
            int[] rows = [.. Enumerable.Range(begin, padded[sequence])];
            random.Shuffle(rows);
            foreach (int row in rows.Take(lengths[sequence]).Order())
            {
                yield return row;
            }

            begin += padded[sequence];
        }
    }

    private static TokenBatch Rows(int[] lengths, int[] padding)
    {
        TokenBatch batch = new();
        batch.Resize(lengths.Sum(), lengths.Sum());
        batch.SetSequences(lengths);
        Array.ForEach(padding, batch.MarkPadding);
        return batch;
    }

    private static void Spread(float[] rows, int[] places, float[] into)
    {
        for (int row = 0; row < places.Length; row++)
        {
            rows.AsSpan(row * Hidden, Hidden).CopyTo(into.AsSpan(places[row] * Hidden));
        }
    }

    private static float[] Gather(float[] rows, int[] places) => [.. places.SelectMany(place => rows[(place * Hidden)..((place + 1) * Hidden)])];
}
