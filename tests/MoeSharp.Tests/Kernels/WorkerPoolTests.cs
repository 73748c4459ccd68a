using MoeSharp.Kernels;

namespace MoeSharp.Tests.Kernels;

public sealed class WorkerPoolTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(5)]
    public void Every_row_is_visited_exactly_once(int workers)
    {
        using WorkerPool pool = new(workers);
        using NativeBuffer visits = new(1000);
        visits.Slice(0, 1000).Clear();
        unsafe
        {
            CountJob job = new() { Visits = visits.Pointer };
            for (int repeat = 0; repeat < 200; repeat++)
            {
                pool.ForRows(1000, 7, ref job);
            }
        }

        foreach (float count in visits.Slice(0, 1000))
        {
            Assert.Equal(200f, count);
        }
    }

    [Fact]
    public void Workers_wake_after_a_long_pause()
    {
        using WorkerPool pool = new(3);
        using NativeBuffer visits = new(64);
        visits.Slice(0, 64).Clear();
        unsafe
        {
            CountJob job = new() { Visits = visits.Pointer };
            pool.ForRows(64, 1, ref job);
            Thread.Sleep(100); // long enough for idle workers to go to sleep
            pool.ForRows(64, 1, ref job);
        }

        foreach (float count in visits.Slice(0, 64))
        {
            Assert.Equal(2f, count);
        }
    }

    [Fact]
    public void No_sleeper_is_forgotten_when_jobs_come_at_the_edge_of_sleep()
    {
        using WorkerPool pool = new(6);
        using NativeBuffer visits = new(6);
        visits.Slice(0, 6).Clear();
        unsafe
        {
            CountJob job = new() { Visits = visits.Pointer };
            for (int repeat = 0; repeat < 300; repeat++)
            {
                pool.ForRows(6, 1, ref job);
                Thread.SpinWait(1000 * (repeat % 40)); // some workers are awake, some asleep, some on the way
                if (repeat % 10 == 0)
                {
                    Thread.Sleep(1);
                }
            }
        }

        Assert.Equal([300f, 300f, 300f, 300f, 300f, 300f], visits.Slice(0, 6).ToArray());
    }

    [Theory]
    [InlineData(2)]
    [InlineData(9)] // more than the processors: some come too late for most of the jobs
    public void Late_workers_neither_repeat_nor_miss_work(int workers)
    {
        using WorkerPool pool = new(workers);
        using NativeBuffer visits = new(64 + 1);
        visits.Slice(0, 65).Clear();
        unsafe
        {
            CountJob rows = new() { Visits = visits.Pointer };
            EnterJob all = new() { Entries = (int*)(visits.Pointer + 64) };
            for (int repeat = 0; repeat < 3000; repeat++)
            {
                pool.ForRows(64, 1, ref rows);
                if (repeat % 100 == 0)
                {
                    pool.Run(ref all); // here nobody may be left out, and those left out before must not come now
                }
            }

            Assert.Equal(30 * workers, *all.Entries);
        }

        foreach (float count in visits.Slice(0, 64))
        {
            Assert.Equal(3000f, count);
        }
    }

    private unsafe struct EnterJob : IWorkerJob
    {
        public int* Entries;

        public readonly void Run(int worker, int workers) => Interlocked.Increment(ref *Entries);
    }

    private unsafe struct CountJob : IRowJob
    {
        public float* Visits;

        public readonly void Run(int begin, int end)
        {
            for (int row = begin; row < end; row++)
            {
                Visits[row]++;
            }
        }
    }
}
