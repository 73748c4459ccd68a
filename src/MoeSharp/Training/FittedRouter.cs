using MoeSharp.Model;
using MoeSharp.Model.Routers;
using MoeSharp.Moe.Routing;

namespace MoeSharp.Training;

/// <summary>What a router must know of the text before it can be built.</summary>
internal static class FittedRouter
{
    /// <summary>Makes the balanced hash table, where the model has one that is not made yet, and checks what depends on the vocabulary.</summary>
    /// <param name="config">Configuration whose model has the source's vocabulary.</param>
    /// <param name="source">What is learned.</param>
    /// <exception cref="ConfigurationException">A setting does not fit the vocabulary.</exception>
    public static TrainingConfig Fit(TrainingConfig config, ITrainingSource source)
    {
        ModelConfig model = config.RequireModel();
        if (model.Moe is { Router: HashRouterConfig { NeedsFrequencies: true } hash } moe)
        {
            int[] table = ListedHashTable.Balance(source.CountTokens(), moe.NumExperts, new long[moe.NumExperts]);
            model = model with { Moe = moe with { Router = hash with { Entries = table } } };
        }

        List<string> problems = [];
        model.Moe?.Router.AddProblems(model, model.Moe, problems);
        return problems.Count == 0 ? config with { Model = model } : throw new ConfigurationException($"{source.Place}: {string.Join("; ", problems)}");
    }
}
