using MoeSharp.Checkpoints;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Planning;

namespace MoeSharp.Cli;

/// <summary>What running a model needs, and what this machine has.</summary>
/// <param name="Estimate">Needs.</param>
/// <param name="Context">Tokens of the context counted.</param>
/// <param name="FreeBytes">Memory that is free.</param>
/// <param name="ReadGbps">Read bandwidth of memory measured now.</param>
internal sealed record ServingNeeds(MemoryEstimate Estimate, int Context, long FreeBytes, double ReadGbps)
{
    /// <summary>Estimates the needs of a model on disk, or of a preset, and measures the machine.</summary>
    public static ServingNeeds Measure(string name, ModelConfig config, WeightTarget weights, int context)
    {
        if (context < 1)
        {
            throw new ConfigurationException($"--context {context} must be at least 1");
        }

        using WorkerPool workers = new(Environment.ProcessorCount);
        return new ServingNeeds(MemoryEstimate.Of(config, Plan(name, config, weights), context), context, MachineMemory.FreeBytes(), MachineProbe.ReadGbps(workers));
    }

    private static IReadOnlyList<PlannedWeight> Plan(string name, ModelConfig config, WeightTarget weights)
    {
        if (ModelPresets.Names.Contains(name) || (File.Exists(name) && !ModelPath.IsGguf(name)))
        {
            return LoadPlan.Of(config, weights);
        }

        using ModelFiles files = ModelFiles.Open(ModelPath.Find(name).Folder);
        return files.Plan(weights);
    }
}
