using System.Diagnostics;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace MoeSharp.Kernels;

/// <summary>Measures what the machine gives at most, so that a benchmark can be read as a share of it.</summary>
/// <remarks>Absolute figures drift with heat and neighbours: measure in the same run, and alternate with what is compared.</remarks>
public static unsafe class MachineProbe
{
    private const int NumChains = 12; // independent multiply-adds: more than latency times units of any core we know, fewer than 16 registers
    private const int FmaSteps = 200_000; // under one millisecond
    private const int NumSamples = 9;
    private const int NumPeakSamples = 100; // together longer than a time slice of the scheduler, so that one neighbour cannot spoil all
    private const long MinReadBytes = 256L * 1024 * 1024; // well beyond any cache

    /// <summary>The widest registers that the kernels use here.</summary>
    public static string SimdWidth =>
        Vector512.IsHardwareAccelerated ? "512-bit" : Vector256.IsHardwareAccelerated ? "256-bit" : Vector128.IsHardwareAccelerated ? "128-bit" : "none";

    /// <summary>Peak of float32 multiply-adds with all workers of the pool, in GFLOP/s: the best of many short samples, because neighbours can only lower one.</summary>
    public static double FmaGflops(WorkerPool workers)
    {
        double best = 0;
        for (int sample = 0; sample < NumPeakSamples; sample++)
        {
            best = Math.Max(best, FmaSample(workers));
        }

        return best;
    }

    /// <summary>Peak of 8-bit multiply-adds in the instructions that packed products use, with all workers, in 10^9 operations per second.</summary>
    public static double ByteGops(WorkerPool workers)
    {
        double best = 0;
        for (int sample = 0; sample < NumPeakSamples; sample++)
        {
            best = Math.Max(best, ByteSample(workers));
        }

        return best;
    }

    /// <summary>One sample of <see cref="FmaGflops"/>, below a millisecond, to alternate with what is measured.</summary>
    public static double FmaSample(WorkerPool workers)
    {
        float* sums = stackalloc float[workers.Workers];
        FmaJob job = new() { Sums = sums };
        long start = Stopwatch.GetTimestamp();
        workers.Run(ref job);
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        int lanes = Vector512.IsHardwareAccelerated ? 16 : Vector256.IsHardwareAccelerated ? 8 : Vector128.IsHardwareAccelerated ? 4 : 1;
        return 2.0 * FmaSteps * NumChains * lanes * workers.Workers / seconds / 1e9;
    }

    /// <summary>Bandwidth of reading memory with all workers, in GB/s (10^9 bytes): the median of several passes over a fresh block.</summary>
    /// <param name="workers">The workers.</param>
    /// <param name="bytes">Size of the block; at least 256 MiB are used.</param>
    public static double ReadGbps(WorkerPool workers, long bytes = MinReadBytes)
    {
        long floats = Math.Max(bytes, MinReadBytes) / sizeof(float);
        using NativeBuffer block = new(floats);
        float* sums = stackalloc float[workers.Workers];
        ReadJob job = new() { Block = block.Pointer, Floats = floats, Sums = sums, Clears = true };
        workers.Run(ref job); // first touch
        job.Clears = false;
        return Median(NumSamples, () => ReadSample(workers, job));
    }

    /// <summary>Bandwidth of reading given memory with all workers, in GB/s: one pass. Where memory lies in the machine changes it.</summary>
    internal static double ReadGbps(WorkerPool workers, NativeBuffer block)
    {
        float* sums = stackalloc float[workers.Workers];
        return ReadSample(workers, new ReadJob { Block = block.Pointer, Floats = block.Length, Sums = sums });
    }

    private static double ReadSample(WorkerPool workers, ReadJob job)
    {
        long start = Stopwatch.GetTimestamp();
        workers.Run(ref job);
        return job.Floats * sizeof(float) / Stopwatch.GetElapsedTime(start).TotalSeconds / 1e9;
    }

    private static double Median(int count, Func<double> sample)
    {
        double[] samples = new double[count];
        for (int index = 0; index < count; index++)
        {
            samples[index] = sample();
        }

        Array.Sort(samples);
        return samples[count / 2];
    }

    private static double ByteSample(WorkerPool workers)
    {
        float* sums = stackalloc float[workers.Workers];
        ByteJob job = new() { Sums = sums };
        long start = Stopwatch.GetTimestamp();
        workers.Run(ref job);
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        return 2.0 * FmaSteps * NumChains * ByteLanes * workers.Workers / seconds / 1e9;
    }

    // Bytes per vector that meet in one instruction: vpdpbusd of 256 bits, or vpmaddubsw of 512 or 256; scalar loops count one.
    private static int ByteLanes => AvxVnni.IsSupported ? 32 : Avx512BW.IsSupported ? 64 : Avx2.IsSupported ? 32 : 1;

    private struct ByteJob : IWorkerJob
    {
        public float* Sums; // [workers], kept so that the loops have a result

        public readonly void Run(int worker, int workers) =>
            Sums[worker] = AvxVnni.IsSupported ? ByteChainsVnni(FmaSteps) : Avx512BW.IsSupported ? ByteChains512(FmaSteps) : Avx2.IsSupported ? ByteChains256(FmaSteps) : ChainsScalar(FmaSteps);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static int ByteChainsVnni(int steps)
    {
        Vector256<byte> m = Vector256.Create((byte)3);
        Vector256<sbyte> s = Vector256.Create((sbyte)1);
        Vector256<int> x0 = default, x1 = x0, x2 = x0, x3 = x0, x4 = x0, x5 = x0, x6 = x0, x7 = x0, x8 = x0, x9 = x0, x10 = x0, x11 = x0;
        for (int step = 0; step < steps; step++)
        {
            x0 = AvxVnni.MultiplyWideningAndAdd(x0, m, s);
            x1 = AvxVnni.MultiplyWideningAndAdd(x1, m, s);
            x2 = AvxVnni.MultiplyWideningAndAdd(x2, m, s);
            x3 = AvxVnni.MultiplyWideningAndAdd(x3, m, s);
            x4 = AvxVnni.MultiplyWideningAndAdd(x4, m, s);
            x5 = AvxVnni.MultiplyWideningAndAdd(x5, m, s);
            x6 = AvxVnni.MultiplyWideningAndAdd(x6, m, s);
            x7 = AvxVnni.MultiplyWideningAndAdd(x7, m, s);
            x8 = AvxVnni.MultiplyWideningAndAdd(x8, m, s);
            x9 = AvxVnni.MultiplyWideningAndAdd(x9, m, s);
            x10 = AvxVnni.MultiplyWideningAndAdd(x10, m, s);
            x11 = AvxVnni.MultiplyWideningAndAdd(x11, m, s);
        }

        return Vector256.Sum(x0 + x1 + x2 + x3 + x4 + x5 + x6 + x7 + x8 + x9 + x10 + x11);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static int ByteChains512(int steps)
    {
        Vector512<sbyte> m = Vector512.Create((sbyte)1);
        Vector512<short> x0 = Vector512.Create((short)1), x1 = x0, x2 = x0, x3 = x0, x4 = x0, x5 = x0, x6 = x0, x7 = x0, x8 = x0, x9 = x0, x10 = x0, x11 = x0;
        for (int step = 0; step < steps; step++)
        {
            x0 = Avx512BW.MultiplyAddAdjacent(x0.AsByte(), m);
            x1 = Avx512BW.MultiplyAddAdjacent(x1.AsByte(), m);
            x2 = Avx512BW.MultiplyAddAdjacent(x2.AsByte(), m);
            x3 = Avx512BW.MultiplyAddAdjacent(x3.AsByte(), m);
            x4 = Avx512BW.MultiplyAddAdjacent(x4.AsByte(), m);
            x5 = Avx512BW.MultiplyAddAdjacent(x5.AsByte(), m);
            x6 = Avx512BW.MultiplyAddAdjacent(x6.AsByte(), m);
            x7 = Avx512BW.MultiplyAddAdjacent(x7.AsByte(), m);
            x8 = Avx512BW.MultiplyAddAdjacent(x8.AsByte(), m);
            x9 = Avx512BW.MultiplyAddAdjacent(x9.AsByte(), m);
            x10 = Avx512BW.MultiplyAddAdjacent(x10.AsByte(), m);
            x11 = Avx512BW.MultiplyAddAdjacent(x11.AsByte(), m);
        }

        return Vector512.Sum(x0 + x1 + x2 + x3 + x4 + x5 + x6 + x7 + x8 + x9 + x10 + x11);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static int ByteChains256(int steps)
    {
        Vector256<sbyte> m = Vector256.Create((sbyte)1);
        Vector256<short> x0 = Vector256.Create((short)1), x1 = x0, x2 = x0, x3 = x0, x4 = x0, x5 = x0, x6 = x0, x7 = x0, x8 = x0, x9 = x0, x10 = x0, x11 = x0;
        for (int step = 0; step < steps; step++)
        {
            x0 = Avx2.MultiplyAddAdjacent(x0.AsByte(), m);
            x1 = Avx2.MultiplyAddAdjacent(x1.AsByte(), m);
            x2 = Avx2.MultiplyAddAdjacent(x2.AsByte(), m);
            x3 = Avx2.MultiplyAddAdjacent(x3.AsByte(), m);
            x4 = Avx2.MultiplyAddAdjacent(x4.AsByte(), m);
            x5 = Avx2.MultiplyAddAdjacent(x5.AsByte(), m);
            x6 = Avx2.MultiplyAddAdjacent(x6.AsByte(), m);
            x7 = Avx2.MultiplyAddAdjacent(x7.AsByte(), m);
            x8 = Avx2.MultiplyAddAdjacent(x8.AsByte(), m);
            x9 = Avx2.MultiplyAddAdjacent(x9.AsByte(), m);
            x10 = Avx2.MultiplyAddAdjacent(x10.AsByte(), m);
            x11 = Avx2.MultiplyAddAdjacent(x11.AsByte(), m);
        }

        return Vector256.Sum(x0 + x1 + x2 + x3 + x4 + x5 + x6 + x7 + x8 + x9 + x10 + x11);
    }

    private struct FmaJob : IWorkerJob
    {
        public float* Sums; // [workers], kept so that the loops have a result

        public readonly void Run(int worker, int workers) =>
            Sums[worker] = Vector512.IsHardwareAccelerated ? Chains512(FmaSteps) : Vector256.IsHardwareAccelerated ? Chains256(FmaSteps) : Vector128.IsHardwareAccelerated ? Chains128(FmaSteps) : ChainsScalar(FmaSteps);
    }

    private struct ReadJob : IWorkerJob
    {
        public float* Block;
        public long Floats;
        public float* Sums;
        public bool Clears;

        public readonly void Run(int worker, int workers)
        {
            long begin = Floats / 64 * worker / workers * 64;
            long end = worker + 1 == workers ? Floats : Floats / 64 * (worker + 1) / workers * 64;
            if (Clears)
            {
                for (long at = begin; at < end; at += 1 << 20)
                {
                    new Span<float>(Block + at, (int)Math.Min(1 << 20, end - at)).Clear();
                }
            }
            else
            {
                Sums[worker] = Sum(Block + begin, Block + end);
            }
        }
    }

    // Vector<T> is enough here: memory is slower than registers of any width.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Sum(float* from, float* end)
    {
        int lanes = Vector<float>.Count;
        Vector<float> s0 = default, s1 = default, s2 = default, s3 = default;
        for (; from + (4 * lanes) <= end; from += 4 * lanes)
        {
            s0 += Vector.Load(from);
            s1 += Vector.Load(from + lanes);
            s2 += Vector.Load(from + (2 * lanes));
            s3 += Vector.Load(from + (3 * lanes));
        }

        return Vector.Sum(s0 + s1 + s2 + s3);
    }

    // x = x * 0.999 + 0.5 in twelve chains: it converges, so no number overflows or becomes subnormal, which would slow the unit down.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Chains512(int steps)
    {
        Vector512<float> m = Vector512.Create(0.999f), s = Vector512.Create(0.5f);
        Vector512<float> x0 = s, x1 = s, x2 = s, x3 = s, x4 = s, x5 = s, x6 = s, x7 = s, x8 = s, x9 = s, x10 = s, x11 = s;
        for (int step = 0; step < steps; step++)
        {
            x0 = Vector512.FusedMultiplyAdd(x0, m, s);
            x1 = Vector512.FusedMultiplyAdd(x1, m, s);
            x2 = Vector512.FusedMultiplyAdd(x2, m, s);
            x3 = Vector512.FusedMultiplyAdd(x3, m, s);
            x4 = Vector512.FusedMultiplyAdd(x4, m, s);
            x5 = Vector512.FusedMultiplyAdd(x5, m, s);
            x6 = Vector512.FusedMultiplyAdd(x6, m, s);
            x7 = Vector512.FusedMultiplyAdd(x7, m, s);
            x8 = Vector512.FusedMultiplyAdd(x8, m, s);
            x9 = Vector512.FusedMultiplyAdd(x9, m, s);
            x10 = Vector512.FusedMultiplyAdd(x10, m, s);
            x11 = Vector512.FusedMultiplyAdd(x11, m, s);
        }

        return Vector512.Sum(x0 + x1 + x2 + x3 + x4 + x5 + x6 + x7 + x8 + x9 + x10 + x11);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Chains256(int steps)
    {
        Vector256<float> m = Vector256.Create(0.999f), s = Vector256.Create(0.5f);
        Vector256<float> x0 = s, x1 = s, x2 = s, x3 = s, x4 = s, x5 = s, x6 = s, x7 = s, x8 = s, x9 = s, x10 = s, x11 = s;
        for (int step = 0; step < steps; step++)
        {
            x0 = Vector256.FusedMultiplyAdd(x0, m, s);
            x1 = Vector256.FusedMultiplyAdd(x1, m, s);
            x2 = Vector256.FusedMultiplyAdd(x2, m, s);
            x3 = Vector256.FusedMultiplyAdd(x3, m, s);
            x4 = Vector256.FusedMultiplyAdd(x4, m, s);
            x5 = Vector256.FusedMultiplyAdd(x5, m, s);
            x6 = Vector256.FusedMultiplyAdd(x6, m, s);
            x7 = Vector256.FusedMultiplyAdd(x7, m, s);
            x8 = Vector256.FusedMultiplyAdd(x8, m, s);
            x9 = Vector256.FusedMultiplyAdd(x9, m, s);
            x10 = Vector256.FusedMultiplyAdd(x10, m, s);
            x11 = Vector256.FusedMultiplyAdd(x11, m, s);
        }

        return Vector256.Sum(x0 + x1 + x2 + x3 + x4 + x5 + x6 + x7 + x8 + x9 + x10 + x11);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Chains128(int steps)
    {
        Vector128<float> m = Vector128.Create(0.999f), s = Vector128.Create(0.5f);
        Vector128<float> x0 = s, x1 = s, x2 = s, x3 = s, x4 = s, x5 = s, x6 = s, x7 = s, x8 = s, x9 = s, x10 = s, x11 = s;
        for (int step = 0; step < steps; step++)
        {
            x0 = Vector128.MultiplyAddEstimate(x0, m, s);
            x1 = Vector128.MultiplyAddEstimate(x1, m, s);
            x2 = Vector128.MultiplyAddEstimate(x2, m, s);
            x3 = Vector128.MultiplyAddEstimate(x3, m, s);
            x4 = Vector128.MultiplyAddEstimate(x4, m, s);
            x5 = Vector128.MultiplyAddEstimate(x5, m, s);
            x6 = Vector128.MultiplyAddEstimate(x6, m, s);
            x7 = Vector128.MultiplyAddEstimate(x7, m, s);
            x8 = Vector128.MultiplyAddEstimate(x8, m, s);
            x9 = Vector128.MultiplyAddEstimate(x9, m, s);
            x10 = Vector128.MultiplyAddEstimate(x10, m, s);
            x11 = Vector128.MultiplyAddEstimate(x11, m, s);
        }

        return Vector128.Sum(x0 + x1 + x2 + x3 + x4 + x5 + x6 + x7 + x8 + x9 + x10 + x11);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float ChainsScalar(int steps)
    {
        float m = 0.999f, s = 0.5f;
        float x0 = s, x1 = s, x2 = s, x3 = s, x4 = s, x5 = s, x6 = s, x7 = s, x8 = s, x9 = s, x10 = s, x11 = s;
        for (int step = 0; step < steps; step++)
        {
            x0 = (x0 * m) + s;
            x1 = (x1 * m) + s;
            x2 = (x2 * m) + s;
            x3 = (x3 * m) + s;
            x4 = (x4 * m) + s;
            x5 = (x5 * m) + s;
            x6 = (x6 * m) + s;
            x7 = (x7 * m) + s;
            x8 = (x8 * m) + s;
            x9 = (x9 * m) + s;
            x10 = (x10 * m) + s;
            x11 = (x11 * m) + s;
        }

        return x0 + x1 + x2 + x3 + x4 + x5 + x6 + x7 + x8 + x9 + x10 + x11;
    }
}
