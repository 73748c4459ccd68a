using MoeSharp.Execution;

namespace MoeSharp.Moe.Balance;

/// <summary>Which routed experts share a device.</summary>
public sealed class DeviceGroups
{
    private readonly int[] _deviceOf; // [experts]
    private readonly int[] _sizes; // [devices]

    /// <summary>Makes groups.</summary>
    /// <param name="deviceOf">Device of each expert, from 0.</param>
    public DeviceGroups(IReadOnlyList<int> deviceOf)
    {
        _deviceOf = [.. deviceOf];
        _sizes = new int[_deviceOf.Length == 0 ? 0 : _deviceOf.Max() + 1];
        foreach (int device in _deviceOf)
        {
            _sizes[device]++;
        }
    }

    /// <summary>Number of devices.</summary>
    public int Count => _sizes.Length;

    /// <summary>Device of each expert, [experts].</summary>
    public ReadOnlySpan<int> DeviceOf => _deviceOf;

    /// <summary>Experts of each device, [devices].</summary>
    public ReadOnlySpan<int> Sizes => _sizes;

    /// <summary>Runs of neighbours of equal size.</summary>
    public static DeviceGroups Contiguous(int numExperts, int numDevices) => new([.. Enumerable.Range(0, numExperts).Select(expert => expert * numDevices / numExperts)]);

    /// <summary>The groups of a configuration.</summary>
    public static DeviceGroups Of(BalanceConfig balance, int numExperts) =>
        balance.ExpertDevices.Count > 0 ? new DeviceGroups(balance.ExpertDevices) : Contiguous(numExperts, balance.NumDeviceGroups);
}
