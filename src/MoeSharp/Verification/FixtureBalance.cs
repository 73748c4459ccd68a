using System.Text.Json;
using MoeSharp.Execution;
using MoeSharp.Model;
using MoeSharp.Moe.Balance;

namespace MoeSharp.Verification;

/// <summary>The auxiliary losses of a fixture: what the pass is told, and what the fixture calls the parts that it gives.</summary>
/// <param name="Config">Factors for the pass.</param>
/// <param name="BiasUpdateSpeed">Size of the moves of selection biases; 0 for none.</param>
/// <param name="JointFactor">Experts per token where the loss runs over all layers together and does not divide loads by them; 0 elsewhere.</param>
internal sealed record FixtureBalance(BalanceConfig Config, float BiasUpdateSpeed, int JointFactor)
{
    /// <summary>No auxiliary loss, of the same kind.</summary>
    public FixtureBalance WithoutLosses => this with { Config = new BalanceConfig { Scope = Config.Scope } };

    /// <summary>Understands the options of a fixture.</summary>
    /// <param name="training">Its training part.</param>
    /// <param name="model">Its architecture.</param>
    /// <param name="isPerSequence">seq_aux of the model's config.json.</param>
    /// <exception cref="ConfigurationException">An option is not known.</exception>
    public static FixtureBalance Read(FixtureTraining training, ModelConfig model, bool isPerSequence)
    {
        BalanceConfig config = new() { Scope = isPerSequence ? BalanceScope.Sequence : BalanceScope.MicroBatch };
        (float biasSpeed, int jointFactor) = (0f, 0);
        foreach ((string name, JsonElement value) in training.Options)
        {
            switch (name)
            {
                case "alpha_expert":
                    config = config with { ExpertAlpha = value.GetSingle() };
                    break;
                case "alpha_device":
                    config = config with { DeviceAlpha = value.GetSingle() };
                    break;
                case "alpha_comm":
                    config = config with { CommunicationAlpha = value.GetSingle() };
                    break;
                case "comm_max_devices":
                    config = config with { MaxDevicesPerToken = value.GetInt32() };
                    break;
                case "device_groups":
                    config = config with { NumDeviceGroups = CountGroups(value) };
                    break;
                case "bias_update_speed":
                    biasSpeed = value.GetSingle();
                    break;
                case "router_aux_loss_coef":
                    jointFactor = model.Moe?.TopK ?? 1;
                    config = config with { ExpertAlpha = value.GetSingle() * jointFactor, Scope = BalanceScope.AllLayers };
                    break;
                case "router_z_loss_coef":
                    config = config with { ZLossAlpha = value.GetSingle() / Math.Max(1, model.NumMoeLayers) }; // theirs is a mean over layers, ours a sum
                    break;
                default:
                    throw new ConfigurationException($"train.options.{name} is not supported");
            }
        }

        return new FixtureBalance(config, biasSpeed, jointFactor);
    }

    /// <summary>The loss's parts without their factors, and the total.</summary>
    /// <param name="loss">Mean cross-entropy.</param>
    /// <param name="record">The pass.</param>
    public Dictionary<string, double> Parts(double loss, RoutingRecord record)
    {
        Dictionary<string, double> parts = new(StringComparer.Ordinal) { ["ce"] = loss };
        double total = loss;
        foreach (LayerRouting layer in record.Layers)
        {
            parts[$"expert_balance.layer{layer.Layer}"] = layer.Losses[AuxiliaryLoss.ExpertLevel];
            parts[$"device_balance.layer{layer.Layer}"] = layer.Losses[AuxiliaryLoss.DeviceLevel];
            parts[$"comm_balance.layer{layer.Layer}"] = layer.Losses[AuxiliaryLoss.Communication];
            total += (Config.DeviceAlpha * layer.Losses[AuxiliaryLoss.DeviceLevel]) + (Config.CommunicationAlpha * layer.Losses[AuxiliaryLoss.Communication]) + (Config.ZLossAlpha * layer.Losses[AuxiliaryLoss.ZLoss]);
            total += JointFactor > 0 ? 0 : Config.ExpertAlpha * layer.Losses[AuxiliaryLoss.ExpertLevel];
        }

        if (JointFactor > 0)
        {
            double joint = JointExpertLoss.Measure(record);
            parts["load_balancing"] = JointFactor * joint;
            total += Config.ExpertAlpha * joint;
        }

        parts["router_z"] = record.NumLayers > 0 ? record.Layers.Average(layer => layer.Losses[AuxiliaryLoss.ZLoss]) : 0;
        parts["total"] = total;
        return parts;
    }

    private static int CountGroups(JsonElement groups)
    {
        int size = groups[0].GetArrayLength();
        int next = 0;
        foreach (JsonElement group in groups.EnumerateArray())
        {
            if (group.GetArrayLength() != size || group.EnumerateArray().Any(expert => expert.GetInt32() != next++))
            {
                throw new ConfigurationException("train.options.device_groups are not equal runs of neighbouring experts, the only kind that is supported");
            }
        }

        return groups.GetArrayLength();
    }
}
