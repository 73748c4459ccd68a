using MoeSharp.Kernels;
using MoeSharp.Kernels.Formats;
using MoeSharp.Kernels.Quantized;
using MoeSharp.Model;
using MoeSharp.Tensors;

namespace MoeSharp.Bench;

/// <summary>A preset with random packed weights, and what a pass over it must read and compute.</summary>
internal sealed class RandomModel : IDisposable
{
    private const float Deviation = 0.02f;

    private readonly WorkerPool _workers;

    /// <summary>Builds and fills it.</summary>
    public RandomModel(string preset, WeightFormat format, WorkerPool workers)
    {
        _workers = workers;
        Model = new LanguageModel(ModelPresets.Get(preset), WeightPlan.Uniform(format));
        ulong seed = 1;
        foreach (Parameter parameter in Model.Parameters)
        {
            if (parameter.Packed is { } packed)
            {
                RandomWeights.Fill(workers, seed++, Deviation, packed);
            }
            else if (parameter.Name.EndsWith("norm", StringComparison.Ordinal))
            {
                parameter.Value.Fill(1f);
            }
            else
            {
                NormalFill.Fill(workers, seed++, Deviation, parameter.Value);
            }
        }
    }

    /// <summary>The model.</summary>
    public LanguageModel Model { get; }

    /// <summary>Bytes of all weights.</summary>
    public long WeightBytes => Model.Parameters.Sum(BytesOf);

    /// <summary>Multiply-adds with weights per token, the head not included.</summary>
    public double ProductsPerToken => Model.Parameters.Where(p => p.Shape.Rank >= 2 && p.Name is not ("embedding" or "head")).Sum(p => p.Shape.Length * Share(p, 1));

    /// <summary>Bytes that a step of so many sequences reads when tokens choose experts evenly.</summary>
    public double BytesPerStep(int sequences) => Model.Parameters.Sum(p => p.Name == "embedding"
        ? (double)BytesOf(p) / p.Shape[0] * sequences + (Model.Config.TieWordEmbeddings ? BytesOf(p) : 0)
        : BytesOf(p) * Share(p, sequences));

    /// <summary>Bandwidth of reading the weights once, all workers.</summary>
    public double ReadGbps()
    {
        double bytes = 0;
        double seconds = 0;
        foreach (Parameter parameter in Model.Parameters)
        {
            if (parameter.Packed is { Bytes: > 16 * 1024 * 1024 } packed)
            {
                bytes += packed.Bytes;
                seconds += packed.Bytes / MachineProbe.ReadGbps(_workers, packed.Memory);
            }
        }

        return bytes / seconds;
    }

    /// <inheritdoc/>
    public void Dispose() => Model.Dispose();

    private static long BytesOf(Parameter parameter) => parameter.Packed?.Bytes ?? (parameter.Shape.Length * sizeof(float));

    // Part of a weight that so many tokens touch: of a stack of experts, those that at least one of them chooses.
    private double Share(Parameter parameter, int tokens)
    {
        bool isStack = parameter.Shape.Rank == 3 && parameter.Name.Contains("experts", StringComparison.Ordinal);
        return isStack && Model.Config.Moe is { } moe ? 1 - Math.Pow(1 - ((double)moe.TopK / parameter.Shape[0]), tokens) : 1;
    }
}
