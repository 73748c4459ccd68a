using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace MoeSharp.Kernels;

/// <summary>Work that every worker of a pool enters once.</summary>
public interface IWorkerJob
{
    /// <summary>Runs one worker's share.</summary>
    /// <param name="worker">Index of the worker, 0 to <paramref name="workers"/> - 1.</param>
    /// <param name="workers">Number of workers taking part.</param>
    void Run(int worker, int workers);
}

/// <summary>Work over a range of rows, cut into chunks that any worker may take.</summary>
public interface IRowJob
{
    /// <summary>Computes rows <paramref name="begin"/> (inclusive) to <paramref name="end"/> (exclusive).</summary>
    void Run(int begin, int end);
}

/// <summary>The one door to threads: persistent workers that start and join within a microsecond.</summary>
/// <remarks>
/// Work is split over rows, never inside a reduction, so a result does not depend on the number of workers.
/// The calling thread is worker 0. Jobs must not throw and must not start other jobs on the same pool.
/// A pool belongs to one calling thread at a time. Idle workers spin briefly, then yield, then sleep. Work that is taken in turns
/// (<see cref="ForRows"/>, <see cref="RunInTurns"/>) does not wait for a worker that the system has not let run yet: on a machine
/// with more threads than processors the others finish without it.
/// </remarks>
public sealed unsafe class WorkerPool : IDisposable
{
    private const int SpinsBeforeYield = 20_000;
    private const int YieldsBeforeSleep = 200;
    private const int Line = 16; // ints in a 64-byte cache line

    private readonly Thread[] _threads;
    private readonly object _sleep = new(); // a monitor, not a semaphore: a semaphore's count can be taken by a worker that just ran, and the sleeper it was meant for never wakes
    private readonly int* _state; // [0] epoch, [Line] done, [2 Line] next chunk, [3 Line] sleepers
    private readonly int* _claimed; // [worker Line] last epoch that the worker entered, or that the caller closed to it
    private readonly NativeBuffer[] _scratch;
    private NativeBuffer _sharedScratch = new(1024);
    private delegate*<void*, int, int, void> _entry;
    private void* _job;
    private volatile bool _stopping;

    /// <summary>Starts a pool.</summary>
    /// <param name="workers">Number of workers including the caller; at least 1.</param>
    public WorkerPool(int workers)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(workers, 1);
        Workers = workers;
        int stateLength = (4 + workers) * Line;
        _state = (int*)NativeMemory.AlignedAlloc((nuint)stateLength * sizeof(int), 64);
        new Span<int>(_state, stateLength).Clear();
        _claimed = _state + (4 * Line);
        _scratch = new NativeBuffer[workers];
        for (int worker = 0; worker < workers; worker++)
        {
            _scratch[worker] = new NativeBuffer(1024);
        }

        _threads = new Thread[workers - 1];
        for (int index = 0; index < _threads.Length; index++)
        {
            int worker = index + 1;
            _threads[index] = new Thread(() => Serve(worker)) { IsBackground = true, Name = $"MoeSharp worker {worker}" };
            _threads[index].Start();
        }
    }

    /// <summary>Number of workers, the calling thread included.</summary>
    public int Workers { get; }

    /// <summary>Lets every worker enter the job once and returns when all have left it.</summary>
    public void Run<TJob>(ref TJob job)
        where TJob : struct, IWorkerJob
    {
        if (Workers == 1)
        {
            job.Run(0, 1);
            return;
        }

        fixed (byte* pointer = &Unsafe.As<TJob, byte>(ref job))
        {
            Start(pointer, &Enter<TJob>, needsAll: true);
        }
    }

    /// <summary>Lets workers enter a job whose parts they take in turn; returns when all that entered have left it.</summary>
    /// <remarks>The caller enters, the others only if they come before it is done: each must go on until no part is left, and none may wait for another.</remarks>
    public void RunInTurns<TJob>(ref TJob job)
        where TJob : struct, IWorkerJob
    {
        if (Workers == 1)
        {
            job.Run(0, 1);
            return;
        }

        fixed (byte* pointer = &Unsafe.As<TJob, byte>(ref job))
        {
            Start(pointer, &Enter<TJob>, needsAll: false);
        }
    }

    /// <summary>Cuts <paramref name="rows"/> into chunks of <paramref name="grain"/> rows that workers take in turn.</summary>
    public void ForRows<TJob>(int rows, int grain, ref TJob job)
        where TJob : struct, IRowJob
    {
        if (rows <= 0)
        {
            return;
        }

        if (Workers == 1 || rows <= grain)
        {
            job.Run(0, rows);
            return;
        }

        fixed (byte* pointer = &Unsafe.As<TJob, byte>(ref job))
        {
            RowRange<TJob> range = new() { Job = pointer, Rows = rows, Grain = Math.Max(grain, 1), Next = _state + (2 * Line) };
            Volatile.Write(ref _state[2 * Line], 0);
            RunInTurns(ref range);
        }
    }

    /// <summary>Gives a worker its own scratch memory, kept between calls; content is undefined.</summary>
    internal float* Scratch(int worker, long floats)
    {
        if (_scratch[worker].Length < floats)
        {
            _scratch[worker].Dispose();
            _scratch[worker] = new NativeBuffer(floats);
        }

        return _scratch[worker].Pointer;
    }

    /// <summary>Gives the caller of a job scratch memory that all workers may use in it, kept between calls; content is undefined.</summary>
    internal float* SharedScratch(long floats)
    {
        if (_sharedScratch.Length < floats)
        {
            _sharedScratch.Dispose();
            _sharedScratch = new NativeBuffer(floats);
        }

        return _sharedScratch.Pointer;
    }

    /// <summary>Stops the workers and frees their memory.</summary>
    public void Dispose()
    {
        if (_stopping)
        {
            return;
        }

        _stopping = true;
        Interlocked.Increment(ref _state[0]);
        WakeSleepers();
        foreach (Thread thread in _threads)
        {
            thread.Join();
        }

        foreach (NativeBuffer buffer in _scratch)
        {
            buffer.Dispose();
        }

        _sharedScratch.Dispose();
        NativeMemory.AlignedFree(_state);
    }

    private void Start(void* job, delegate*<void*, int, int, void> entry, bool needsAll)
    {
        _job = job;
        _entry = entry;
        Volatile.Write(ref _state[Line], 0);
        int epoch = Interlocked.Increment(ref _state[0]);
        if (Volatile.Read(ref _state[3 * Line]) > 0)
        {
            WakeSleepers();
        }

        entry(job, 0, Workers);
        int entered = needsAll ? Workers - 1 : CloseTo(epoch);
        int spins = 0;
        while (Volatile.Read(ref _state[Line]) != entered)
        {
            Pause(ref spins);
        }
    }

    /// <summary>Closes the epoch to workers that have not entered it; returns how many have.</summary>
    private int CloseTo(int epoch)
    {
        int entered = 0;
        for (int worker = 1; worker < Workers; worker++)
        {
            entered += TryClaim(worker, epoch) ? 0 : 1;
        }

        return entered;
    }

    // In every epoch each worker's word moves from the epoch before to this one, once: by the worker, who then enters, or by the
    // caller, who thereby closes the epoch to it. A worker that looks at an old epoch finds the word moved and stays out.
    private bool TryClaim(int worker, int epoch) =>
        Volatile.Read(ref _claimed[worker * Line]) != epoch && Interlocked.CompareExchange(ref _claimed[worker * Line], epoch, epoch - 1) == epoch - 1;

    private void Serve(int worker)
    {
        int seen = 0;
        while (true)
        {
            int spins = 0;
            int yields = 0;
            while (Volatile.Read(ref _state[0]) == seen)
            {
                if (spins < SpinsBeforeYield)
                {
                    spins++;
                    Thread.SpinWait(1);
                }
                else if (yields < YieldsBeforeSleep)
                {
                    yields++;
                    Thread.Yield();
                }
                else
                {
                    SleepWhile(seen);
                }
            }

            seen = Volatile.Read(ref _state[0]);
            if (_stopping)
            {
                return;
            }

            if (TryClaim(worker, seen))
            {
                _entry(_job, worker, Workers);
                Interlocked.Increment(ref _state[Line]);
            }
        }
    }

    /// <remarks>A sleeper is counted before it looks at the epoch and <see cref="Start"/> moves the epoch before it looks at the count, so one sees the other.</remarks>
    private void SleepWhile(int epoch)
    {
        lock (_sleep)
        {
            Interlocked.Increment(ref _state[3 * Line]);
            while (Volatile.Read(ref _state[0]) == epoch)
            {
                Monitor.Wait(_sleep);
            }

            Interlocked.Decrement(ref _state[3 * Line]);
        }
    }

    private void WakeSleepers()
    {
        lock (_sleep)
        {
            Monitor.PulseAll(_sleep);
        }
    }

    private static void Pause(ref int spins)
    {
        if (++spins < SpinsBeforeYield)
        {
            Thread.SpinWait(1);
        }
        else
        {
            Thread.Yield();
        }
    }

    private static void Enter<TJob>(void* job, int worker, int workers)
        where TJob : struct, IWorkerJob => Unsafe.AsRef<TJob>(job).Run(worker, workers);

    private struct RowRange<TJob> : IWorkerJob
        where TJob : struct, IRowJob
    {
        public void* Job;
        public int Rows;
        public int Grain;
        public int* Next;

        public readonly void Run(int worker, int workers)
        {
            while (true)
            {
                int chunk = Interlocked.Increment(ref *Next) - 1;
                long begin = (long)chunk * Grain;
                if (begin >= Rows)
                {
                    return;
                }

                Unsafe.AsRef<TJob>(Job).Run((int)begin, (int)Math.Min(begin + Grain, Rows));
            }
        }
    }
}
