using MoeSharp.Kernels;

namespace MoeSharp.Tests.Kernels;

public sealed class MachineProbeTests
{
    [Fact]
    public void Limits_are_positive_and_finite()
    {
        using WorkerPool pool = new(2);
        Assert.InRange(MachineProbe.FmaGflops(pool), 0.01, 1e6);
        Assert.InRange(MachineProbe.ReadGbps(pool), 0.01, 1e5);
        Assert.Equal(SimdWidthProbeTests.Width == 0 ? "none" : $"{SimdWidthProbeTests.Width}-bit", MachineProbe.SimdWidth);
    }
}
