namespace MoeSharp.Bench;

/// <summary>One figure beside what it is measured against.</summary>
/// <param name="Name">What was measured, with shape and number of threads.</param>
/// <param name="Value">The figure; its unit tells whether more or less is better.</param>
/// <param name="Unit">Its unit.</param>
/// <param name="Limit">What the machine, or the rival named by the suite, reached in the same run, in the same unit.</param>
/// <param name="Share">How near the limit it is: Value / Limit, or Limit / Value where less is better.</param>
public sealed record BenchResult(string Name, double Value, string Unit, double Limit, double Share);

/// <summary>The machine's measured limits.</summary>
/// <param name="FmaGflops">Float32 multiply-adds with all threads, GFLOP/s.</param>
/// <param name="ReadGbps">Reading memory with all threads, GB/s.</param>
/// <param name="Threads">Threads.</param>
/// <param name="Simd">Widest registers in use.</param>
public sealed record BenchMachine(double FmaGflops, double ReadGbps, int Threads, string Simd)
{
    /// <summary>Measures this machine.</summary>
    public static BenchMachine Measure(int threads)
    {
        using Kernels.WorkerPool workers = new(threads);
        return new BenchMachine(Kernels.MachineProbe.FmaGflops(workers), Kernels.MachineProbe.ReadGbps(workers), threads, Kernels.MachineProbe.SimdWidth);
    }
}
