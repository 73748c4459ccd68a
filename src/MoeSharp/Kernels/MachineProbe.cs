using System.Diagnostics;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace MoeSharp.Kernels;

/// <summary>Measures what the machine gives at most, so that a benchmark can be read as a share of it.</summary>
/// <remarks>Absolute figures drift with heat and neighbours: measure in the same run, and alternate with what is compared.</remarks>
public static unsafe class MachineProbe
{
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
        return 2.0 * FmaSteps * InstructionChains.Count * InstructionChains.FloatLanes * workers.Workers / seconds / 1e9;
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
        return 2.0 * FmaSteps * InstructionChains.Count * InstructionChains.ByteLanes * workers.Workers / seconds / 1e9;
    }

    private struct ByteJob : IWorkerJob
    {
        public float* Sums; // [workers], kept so that the loops have a result

        public readonly void Run(int worker, int workers) => Sums[worker] = InstructionChains.RunBytes(FmaSteps);
    }

    private struct FmaJob : IWorkerJob
    {
        public float* Sums; // [workers], kept so that the loops have a result

        public readonly void Run(int worker, int workers) => Sums[worker] = InstructionChains.RunFloats(FmaSteps);
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
}
