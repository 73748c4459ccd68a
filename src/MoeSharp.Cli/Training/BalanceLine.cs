using System.Globalization;
using MoeSharp.Execution;
using MoeSharp.Model;
using MoeSharp.Model.Routers;
using MoeSharp.Moe.Dispatch;
using MoeSharp.Training;

namespace MoeSharp.Cli.Training;

/// <summary>What keeps the experts of a run in use, in one line before its first step, in the words of its configuration.</summary>
internal static class BalanceLine
{
    /// <summary>Prints the line where there is one.</summary>
    public static void Report(TrainingConfig config, RunScreen screen)
    {
        if (Of(config) is { } line)
        {
            screen.Report(line);
        }
    }

    /// <summary>The line; null for a model without experts.</summary>
    public static string? Of(TrainingConfig config) => config.Model?.Moe is { } moe
        ? string.Create(CultureInfo.InvariantCulture, $"Router {moe.Router.Name}, {moe.TopK} of {moe.NumExperts} experts. Load balance: {Losses(config.Balance)}. Capacity: {Capacity(moe)}.")
        : null;

    private static string Losses(BalanceConfig balance)
    {
        string scope = balance.Scope switch
        {
            BalanceScope.Sequence => "per sequence",
            BalanceScope.MicroBatch => "per micro-batch",
            BalanceScope.GlobalBatch => "loads of the global batch",
            BalanceScope.Group => string.Create(CultureInfo.InvariantCulture, $"per group of {balance.GroupTokens} tokens"),
            _ => "all layers together",
        };
        (string Key, float Factor, string Scope)[] losses =
        [
            ("expert_alpha", balance.ExpertAlpha, scope),
            ("device_alpha", balance.DeviceAlpha, scope),
            ("communication_alpha", balance.CommunicationAlpha, "per sequence"),
            ("first_choice_alpha", balance.FirstChoiceAlpha, scope),
            ("sequence_alpha", balance.SequenceAlpha, "per sequence"),
            ("batch_alpha", balance.BatchAlpha, "loads of the global batch"),
            ("importance_alpha", balance.ImportanceAlpha, "per micro-batch"),
            ("load_alpha", balance.LoadAlpha, "per micro-batch"),
            ("z_loss_alpha", balance.ZLossAlpha, "per micro-batch"),
            ("bias_update_speed", balance.BiasUpdateSpeed, "per step"),
        ];
        string[] on = [.. losses.Where(loss => loss.Factor != 0).Select(loss => string.Create(CultureInfo.InvariantCulture, $"{loss.Key} {loss.Factor} ({loss.Scope})"))];
        return on.Length == 0 ? "OFF" : string.Join(", ", on);
    }

    private static string Capacity(MoeConfig moe) => moe switch
    {
        { Capacity: { } rule } => Limits(rule),
        { Router: GShardRouterConfig { ExpertCapacity: { } places } } => string.Create(CultureInfo.InvariantCulture, $"{places} places per expert in training"),
        { Router: ExpertChoiceRouterConfig } => "experts choose their tokens",
        _ => "none, no token is dropped",
    };

    private static string Limits(CapacityRule rule)
    {
        List<string> limits = [];
        if (rule.TrainingFactor > 0 || rule.EvaluationFactor > 0)
        {
            limits.Add($"factor {Factor(rule.TrainingFactor)} in training, {Factor(rule.EvaluationFactor)} in evaluation");
        }

        if (rule.NumDevices > 0)
        {
            limits.Add(string.Create(CultureInfo.InvariantCulture, $"factor {rule.DeviceFactor} for each of {rule.NumDevices} devices in training"));
        }

        return string.Join(", ", limits);
    }

    private static string Factor(double factor) => factor > 0 ? factor.ToString(CultureInfo.InvariantCulture) : "none";
}
