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
    private PackedMatrix[]? _large;
    private int _turn;

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
    public double ProductsPerToken => Model.Parameters.Where(p => p.Shape.Rank >= 2 && p.Name is not ("embedding" or "head"))
        .Sum(p => p.Shape.Length * (IsStack(p) ? (double)Model.Config.Moe!.TopK / p.Shape[0] : 1)); // a stack of experts comes with a mixture

    /// <summary>Bytes that a step of so many sequences reads when it uses this part of the experts.</summary>
    public double BytesPerStep(int sequences, double usedExperts) => Model.Parameters.Sum(p => p.Name == "embedding"
        ? ((double)BytesOf(p) / p.Shape[0] * sequences) + (Model.Config.TieWordEmbeddings ? BytesOf(p) : 0)
        : BytesOf(p) * (IsStack(p) ? usedExperts : 1));

    /// <summary>Bandwidth of reading one of the large weights, each in its turn, with all workers.</summary>
    public double ReadGbps()
    {
        _large ??= FindLarge();
        return MachineProbe.ReadGbps(_workers, _large[_turn++ % _large.Length].Memory);
    }

    /// <inheritdoc/>
    public void Dispose() => Model.Dispose();

    // Those of at least half the size of the largest, so that a model of any size has some.
    private PackedMatrix[] FindLarge()
    {
        PackedMatrix[] all = [.. Model.Parameters.Select(p => p.Packed).OfType<PackedMatrix>()];
        return [.. all.Where(packed => 2 * packed.Bytes >= all.Max(other => other.Bytes))];
    }

    private static long BytesOf(Parameter parameter) => parameter.Packed?.Bytes ?? (parameter.Shape.Length * sizeof(float));

    private bool IsStack(Parameter parameter) => Model.Config.Moe is not null && parameter.Shape.Rank == 3 && parameter.Name.Contains("experts", StringComparison.Ordinal);
}
