using System.Text.Json;
using MoeSharp.Kernels;

namespace MoeSharp.Verification.Routing;

/// <summary>A folder of small numeric cases, one JSON file each: routers, balance losses, capacity, layers, placement, classic mixtures.</summary>
internal static class RoutingVerification
{
    private const long LongestFile = 16_000_000; // bytes; real ones have a few thousand
    private const int LongestStart = 256; // bytes at the beginning of a file that name its format

    // What is a case of what. A kind that is not here is a failure, except those of a family that is not supported as a whole.
    private static readonly Dictionary<string, Action<RoutingCase, WorkerPool>> s_kinds = new(StringComparer.Ordinal)
    {
        ["router/top_k"] = TopKCases.CheckTopK,
        ["router/group_limited"] = TopKCases.CheckGroups,
        ["capacity/size"] = CapacityCases.CheckSize,
        ["capacity/position"] = CapacityCases.CheckPlaces,
        ["capacity/probability"] = CapacityCases.CheckPlaces,
        ["capacity/batch_prioritized"] = CapacityCases.CheckPlaces,
        ["capacity/per_group"] = CapacityCases.CheckPlaces,
        ["capacity/reroute"] = CapacityCases.CheckReroute,
        ["capacity/device_drop"] = CapacityCases.CheckDeviceDrop,
        ["layer/moe"] = LayerCases.Check,
        ["placement/balanced_packing"] = PlacementCases.CheckPacking,
        ["placement/replicate"] = PlacementCases.CheckReplication,
        ["placement/eplb"] = PlacementCases.CheckPlacement,
        ["placement/dispatch_plan"] = PlacementCases.CheckExchange,
        ["balance/expert_level"] = BalanceCases.CheckExpertLevel,
        ["balance/device_level"] = BalanceCases.CheckDeviceLevel,
        ["balance/communication"] = BalanceCases.CheckCommunication,
        ["balance/switch"] = BalanceCases.CheckFirstChoice,
        ["balance/sequence_wise"] = BalanceCases.CheckSequenceWise,
        ["balance/batch_wise"] = BalanceCases.CheckBatchWise,
        ["balance/importance"] = BalanceCases.CheckImportance,
        ["balance/z_loss"] = BalanceCases.CheckZLoss,
        ["balance/hf_concatenated"] = BalanceCases.CheckAllLayers,
        ["balance/bias_update"] = BalanceCases.CheckBiasUpdate,
        ["router/switch"] = SwitchCases.Check,
        ["router/gshard"] = GShardCases.Check,
        ["router/hash"] = HashCases.CheckRouter,
        ["router/hash_table_balanced"] = HashCases.CheckBalancedTable,
        ["router/noisy_top_k"] = NoisyTopKCases.CheckRouter,
        ["balance/load"] = NoisyTopKCases.CheckLoadLoss,
        ["router/task_level"] = TaskCases.Check,
        ["router/base"] = AssignmentCases.CheckExact,
        ["router/sinkhorn"] = AssignmentCases.CheckSinkhorn,
        ["router/expert_choice"] = ExpertChoiceCases.Check,
        ["router/reinforce"] = ReinforceCases.Check,
        ["router/stablemoe_stage1"] = StableMoeCases.CheckFirstStage,
        ["router/stablemoe_stage2"] = StableMoeCases.CheckSecondStage,
        ["classic/mixture_1991"] = ClassicCases.CheckMixture,
        ["classic/hme_e_step"] = ClassicCases.CheckPosteriors,
        ["classic/hme_m_step"] = ClassicCases.CheckStep,
        ["classic/hme_em"] = ClassicCases.CheckIterations,
    };

    private static readonly (string Family, string Reason)[] s_unsupported = [("reshape/", "reshaping of models is not supported")];

    /// <summary>Whether a folder holds such cases.</summary>
    public static bool IsIn(string folder) => Directory.EnumerateFiles(folder, "*.json").Any(IsCase);

    /// <summary>Runs every case of a folder.</summary>
    public static void Compare(string folder, WorkerPool workers, VerificationResults results)
    {
        foreach (string path in Directory.EnumerateFiles(folder, "*.json").Order(StringComparer.Ordinal))
        {
            if (!IsCase(path))
            {
                results.AddUnknown(Path.GetFileName(path), $"not a case of format {RoutingCase.Format}");
                continue;
            }

            try
            {
                using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(path));
                Run(new RoutingCase(document.RootElement, results.Checks), workers, results);
            }
            catch (Exception exception) when (exception is JsonException or KeyNotFoundException or InvalidOperationException or FormatException or MoeSharpException)
            {
                results.AddUnknown(Path.GetFileName(path), $"cannot be run: {exception.Message}");
            }
            catch (Exception exception) when (exception is ArgumentException or IndexOutOfRangeException or ArithmeticException or OutOfMemoryException)
            {
                results.AddUnknown(Path.GetFileName(path), $"cannot be run, its sizes or ids do not fit together: {exception.Message}"); // lists of a case say how long they are, and ids what they point at
            }
        }
    }

    private static void Run(RoutingCase fixture, WorkerPool workers, VerificationResults results)
    {
        if (Array.Find(s_unsupported, row => fixture.Kind.StartsWith(row.Family, StringComparison.Ordinal)) is { Family: not null } unsupported)
        {
            results.Skipped.Add(new VerificationSkip(fixture.Name, unsupported.Reason));
        }
        else if (s_kinds.TryGetValue(fixture.Kind, out Action<RoutingCase, WorkerPool>? check))
        {
            check(fixture, workers);
            fixture.Finish();
        }
        else
        {
            results.AddUnknown(fixture.Name, $"the kind '{fixture.Kind}' is not known");
        }
    }

    private static bool IsCase(string path)
    {
        if (new FileInfo(path).Length > LongestFile)
        {
            return false;
        }

        using FileStream file = File.OpenRead(path);
        Span<byte> start = stackalloc byte[LongestStart];
        int length = file.ReadAtLeast(start, LongestStart, throwOnEndOfStream: false);
        return start[..length].IndexOf("\"moe-routing-fixture/1\""u8) >= 0;
    }
}
