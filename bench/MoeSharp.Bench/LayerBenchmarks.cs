using System.Diagnostics;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Layers;
using MoeSharp.Model;
using MoeSharp.Moe;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;

namespace MoeSharp.Bench;

/// <summary>One MoE layer of DeepSeekMoE 16B (hidden 2048, 64 routed experts of 1408, top-6, 2 shared) over 2048 tokens, forward, and forward with backward.</summary>
public static class LayerBenchmarks
{
    private const int Tokens = 2048;
    private const int Warmups = 1;
    private const int Repeats = 5;

    /// <summary>Times the layer.</summary>
    /// <param name="threads">Workers.</param>
    public static IReadOnlyList<BenchResult> Run(int threads)
    {
        ModelConfig config = ModelPresets.Get("deepseek-moe-16b");
        MoeConfig moe = config.Moe!; // the preset has experts
        List<Parameter> parameters = [];
        TopKRouter router = new("moe.router", config.HiddenSize, moe.NumExperts, moe.TopK, moe.NormTopKProb, moe.RoutedScalingFactor, parameters);
        GroupedExperts experts = new("moe.experts", moe.NumExperts, config.HiddenSize, moe.IntermediateSize, parameters);
        FeedForwardLayer shared = new("moe.shared_experts", config.HiddenSize, moe.NumSharedExperts * moe.IntermediateSize, parameters);
        MoeLayer layer = new(1, router, experts, shared);
        using WorkerPool workers = new(threads);
        using ForwardContext context = new(workers);
        foreach (Parameter parameter in parameters)
        {
            NormalFill.Fill(workers, (ulong)parameter.Name.Length, 0.02f, parameter.Value);
            parameter.AllocateGradient();
        }

        using NativeBuffer input = new((long)Tokens * config.HiddenSize);
        using NativeBuffer outputGradient = new((long)Tokens * config.HiddenSize);
        int length = Tokens * config.HiddenSize;
        NormalFill.Fill(workers, 1, 1f, input.Slice(0, length));
        NormalFill.Fill(workers, 2, 1f, outputGradient.Slice(0, length));

        List<double> peaks = [MachineProbe.FmaGflops(workers)];
        double forward = Median(() => Pass(layer, input.Slice(0, length), [], config.HiddenSize, context));
        peaks.Add(MachineProbe.FmaGflops(workers));
        double both = Median(() =>
        {
            peaks.Add(MachineProbe.FmaSample(workers));
            parameters.ForEach(p => p.GradientIsEmpty = true);
            Pass(layer, input.Slice(0, length), outputGradient.Slice(0, length), config.HiddenSize, context);
        });
        parameters.ForEach(p => p.Dispose());

        peaks.Sort();
        double fmaGflops = peaks[peaks.Count / 2];
        double gflop = 2.0 * Tokens * ((3.0 * config.HiddenSize * moe.IntermediateSize * (moe.TopK + moe.NumSharedExperts)) + (config.HiddenSize * moe.NumExperts)) / 1e9;
        return
        [
            new BenchResult("layer16b.forward", forward, "s", gflop / fmaGflops, gflop / forward / fmaGflops),
            new BenchResult("layer16b.forward_backward", both, "s", 3 * gflop / fmaGflops, 3 * gflop / both / fmaGflops),
        ];
    }

    // An empty gradient means forward only.
    private static void Pass(MoeLayer layer, Span<float> input, Span<float> outputGradient, int hidden, ForwardContext context)
    {
        TokenBatch batch = new();
        batch.Resize(Tokens, Tokens / 4);
        if (outputGradient.IsEmpty)
        {
            context.BeginInference(batch);
        }
        else
        {
            context.BeginTraining(batch, new BalanceConfig { ExpertAlpha = 0.001f }, 1f);
        }

        Tensor x = context.Pool.Rent(new Shape(Tokens, hidden)); // [tokens, hidden]
        input.CopyTo(x.Data);
        Tensor y = layer.Forward(x, context); // [tokens, hidden]
        if (!outputGradient.IsEmpty)
        {
            outputGradient.CopyTo(y.WriteGradient(out _));
            context.Tape!.Backward(context); // BeginTraining set the tape
        }

        context.EndPass();
    }

    private static double Median(Action pass)
    {
        List<double> seconds = [];
        for (int repeat = 0; repeat < Warmups + Repeats; repeat++)
        {
            long start = Stopwatch.GetTimestamp();
            pass();
            if (repeat >= Warmups)
            {
                seconds.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
            }
        }

        seconds.Sort();
        return seconds[seconds.Count / 2];
    }
}
