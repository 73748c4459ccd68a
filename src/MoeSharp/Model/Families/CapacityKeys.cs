using System.Text.Json;
using MoeSharp.Model.Routers;
using MoeSharp.Moe.Dispatch;
using MoeSharp.Moe.Routing;

namespace MoeSharp.Model.Families;

/// <summary>The keys of the section <c>moesharp</c> about capacity.</summary>
internal static class CapacityKeys
{
    // Name in config.json -> policy.
    private static readonly (string Name, DropPolicy Policy)[] s_policies =
    [
        ("position", DropPolicy.SlotMajor),
        ("position_token_major", DropPolicy.TokenMajor),
        ("probability", DropPolicy.Probability),
        ("batch_prioritized", DropPolicy.BatchPrioritized),
        ("reroute", DropPolicy.Reroute),
    ];

    /// <summary>Reads the keys; null when neither experts nor devices are limited.</summary>
    public static CapacityRule? Read(ConfigReader section)
    {
        double? training = section.Number("capacity_factor");
        double? evaluation = section.Number("eval_capacity_factor");
        double? device = section.Number("device_capacity_factor");
        if (training is null && evaluation is null && device is null)
        {
            return null; // the other keys stay unread and are refused: they would do nothing
        }

        CapacityRule rule = new() { TrainingFactor = training ?? 0, EvaluationFactor = evaluation ?? 0 };
        if (training is not null || evaluation is not null)
        {
            rule = ReadExperts(section, rule);
        }

        return device is { } factor ? ReadDevices(section, rule, factor) : rule;
    }

    private static CapacityRule ReadExperts(ConfigReader section, CapacityRule rule)
    {
        string policy = section.OneOf("drop_policy", s_policies[0].Name, [.. s_policies.Select(row => row.Name)]);
        return rule with
        {
            Policy = Array.Find(s_policies, row => row.Name == policy).Policy,
            Minimum = section.Int("min_expert_capacity", 0),
            Multiple = section.Int("capacity_multiple", 1),
            RoundsUp = section.OneOf("capacity_rounding", "ceil", "ceil", "floor") == "ceil",
            CountsSlots = section.Switch("capacity_counts_slots", true),
            CountsPadding = section.Switch("capacity_counts_padding", false),
            GroupTokens = section.Int("capacity_group_size", 0),
            RenormalizesAfterDrop = policy != "reroute" && section.Switch("renormalize_after_drop", false),
            MaxRounds = policy == "reroute" ? section.Int("max_rounds", 0) : 0,
        };
    }

    private static CapacityRule ReadDevices(ConfigReader section, CapacityRule rule, double factor)
    {
        int devices = section.Int("num_devices", 0);
        if (devices < 1)
        {
            section.Problems.Add($"{section.Place("device_capacity_factor")} needs num_devices of 1 or more, not {devices}: the devices that experts are spread over");
        }

        return rule with
        {
            DeviceFactor = factor,
            NumDevices = devices,
            ProtectedShare = section.Number("protected_sequence_share", 0.1),
        };
    }

    /// <summary>Writes the keys.</summary>
    public static void Write(Utf8JsonWriter writer, CapacityRule rule)
    {
        if (rule.TrainingFactor > 0 || rule.EvaluationFactor > 0)
        {
            WriteFactor(writer, "capacity_factor", rule.TrainingFactor);
            WriteFactor(writer, "eval_capacity_factor", rule.EvaluationFactor);
            writer.WriteString("drop_policy", Array.Find(s_policies, row => row.Policy == rule.Policy).Name);
            writer.WriteNumber("min_expert_capacity", rule.Minimum);
            writer.WriteNumber("capacity_multiple", rule.Multiple);
            writer.WriteString("capacity_rounding", rule.RoundsUp ? "ceil" : "floor");
            writer.WriteBoolean("capacity_counts_slots", rule.CountsSlots);
            writer.WriteBoolean("capacity_counts_padding", rule.CountsPadding);
            writer.WriteNumber("capacity_group_size", rule.GroupTokens);
            if (rule.Policy == DropPolicy.Reroute)
            {
                writer.WriteNumber("max_rounds", rule.MaxRounds);
            }
            else
            {
                writer.WriteBoolean("renormalize_after_drop", rule.RenormalizesAfterDrop);
            }
        }

        if (rule.NumDevices > 0)
        {
            writer.WriteNumber("device_capacity_factor", rule.DeviceFactor);
            writer.WriteNumber("num_devices", rule.NumDevices);
            writer.WriteNumber("protected_sequence_share", rule.ProtectedShare);
        }
    }

    private static void WriteFactor(Utf8JsonWriter writer, string key, double factor)
    {
        if (factor > 0)
        {
            writer.WriteNumber(key, factor);
        }
    }

    // Whether a router chooses by its scores and nothing else, and weighs by them.
    private static bool OffersByScores(MoeConfig moe) =>
        moe.Router is SwitchRouterConfig || (moe.Router is TopKRouterConfig && moe.NumGroups == 1 && !moe.HasSelectionBias && moe.Scoring != RouterScoring.SoftmaxOverChosen);

    /// <summary>Adds what is wrong with a rule, alone and together with the experts.</summary>
    public static void AddProblems(MoeConfig moe, List<string> problems)
    {
        if (moe.Capacity is not { } rule)
        {
            return;
        }

        void Require(bool holds, string problem)
        {
            if (!holds)
            {
                problems.Add(problem);
            }
        }

        bool limitsDevices = rule.NumDevices > 0;
        Require(rule.TrainingFactor >= 0 && rule.EvaluationFactor >= 0, $"capacity_factor {rule.TrainingFactor} and eval_capacity_factor {rule.EvaluationFactor} must be positive; use null for no limit");
        Require(rule.TrainingFactor > 0 || rule.EvaluationFactor > 0 || limitsDevices, "capacity_factor or eval_capacity_factor must be above 0, or device_capacity_factor needs num_devices, the devices that experts are spread over; leave them all out for no limit");
        Require(rule.Minimum >= 0 && rule.Multiple >= 1 && rule.GroupTokens >= 0 && rule.MaxRounds >= 0, $"min_expert_capacity {rule.Minimum}, capacity_group_size {rule.GroupTokens} and max_rounds {rule.MaxRounds} must not be negative, capacity_multiple {rule.Multiple} at least 1");
        Require(!limitsDevices || moe.NumExperts % rule.NumDevices == 0, $"num_devices {rule.NumDevices} must divide n_routed_experts {moe.NumExperts}");
        Require(!limitsDevices || rule.DeviceFactor > 0, $"device_capacity_factor {rule.DeviceFactor} must be positive");
        Require(rule.ProtectedShare is >= 0 and <= 1, $"protected_sequence_share {rule.ProtectedShare} must lie between 0 and 1");
        Require(!rule.RenormalizesAfterDrop || moe.TopK > 1, "renormalize_after_drop with one expert per token would make every weight 1, so that the router got no gradient; switch it off");
        Require(!rule.RenormalizesAfterDrop || moe.Router is not GShardRouterConfig { SecondExpertPolicy: SecondExpertPolicy.None }, "renormalize_after_drop with second_expert_policy 'none' would make every weight 1, so that the router got no gradient; switch it off");
        Require(!rule.RenormalizesAfterDrop || (moe.RoutedScalingFactor == 1f && moe.LayerScalingFactors.Count == 0), $"renormalize_after_drop makes the weights of a token sum to 1, which would undo routed_scaling_factor {moe.RoutedScalingFactor}; set that to 1, or switch renormalize_after_drop off");
        Require(rule.Policy != DropPolicy.Reroute || moe.TopK == 1, $"drop_policy 'reroute' is for num_experts_per_tok 1, not {moe.TopK}; use 'position' or 'probability'");
        Require(rule.Policy != DropPolicy.Reroute || !limitsDevices, "drop_policy 'reroute' and device_capacity_factor do not go together: a device would rank tokens by the weights of experts that they were not sent to. Leave one of them out");
        Require(rule.Policy != DropPolicy.Reroute || OffersByScores(moe), $"drop_policy 'reroute' offers tokens to other experts by scores alone: it is for the routers 'top_k' and 'switch' without groups, selection bias or 'top_k_then_softmax'. Use 'position' or 'probability'");
    }
}
