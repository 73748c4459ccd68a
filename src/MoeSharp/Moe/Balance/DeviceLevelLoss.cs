namespace MoeSharp.Moe.Balance;

/// <summary>Keeps groups of experts, one group a device, equally used.</summary>
/// <remarks>
/// L = alpha2 sum over groups f'_d P'_d, f'_d = mean of f over the group, P'_d = sum of P over the group
/// (DeepSeekMoE, arXiv 2401.06066, equations 15 to 17). Balanced routing gives exactly alpha2.
/// </remarks>
public static class DeviceLevelLoss
{
    private const int MostOnStack = 256; // devices; more are rare enough to allocate

    /// <summary>Adds the loss's slope with respect to each P_i.</summary>
    /// <param name="use">A group of tokens.</param>
    /// <param name="devices">Groups of experts.</param>
    /// <param name="alpha">alpha2.</param>
    /// <param name="slopes">+= dL/dP, [experts].</param>
    /// <returns>sum f'_d P'_d, without alpha2.</returns>
    public static double Measure(in GroupUse use, DeviceGroups devices, double alpha, Span<double> slopes)
    {
        Span<double> loads = devices.Count <= MostOnStack ? stackalloc double[devices.Count] : new double[devices.Count];
        loads.Clear();
        for (int expert = 0; expert < use.Loads.Length; expert++)
        {
            int device = devices.DeviceOf[expert];
            loads[device] += use.Loads[expert] / devices.Sizes[device];
        }

        double loss = 0;
        for (int expert = 0; expert < use.Loads.Length; expert++)
        {
            double load = loads[devices.DeviceOf[expert]];
            loss += load * use.MeanScores[expert];
            slopes[expert] += alpha * load;
        }

        return loss;
    }
}
