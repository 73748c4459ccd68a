using MoeSharp.Kernels;

namespace MoeSharp.Tests.Kernels;

/// <summary>Items shared out among workers: each once, whoever comes.</summary>
public sealed unsafe class WorkSharesTests
{
    [Theory]
    [InlineData(1, 1)]
    [InlineData(1, 17)]
    [InlineData(2, 1)]
    [InlineData(2, 1000)]
    [InlineData(3, 2)]
    [InlineData(5, 4097)]
    public void Every_item_is_taken_once(int workers, int items)
    {
        long* memory = stackalloc long[WorkShares.Length(workers)];
        WorkShares shares = new(memory, workers, items, 16);
        int[] taken = new int[items];
        using WorkerPool pool = new(workers);
        TakeAll job = new() { Shares = shares, Taken = taken };
        pool.RunInTurns(ref job);
        Assert.All(taken, count => Assert.Equal(1, count));
    }

    [Fact]
    public void A_worker_that_never_comes_loses_its_share()
    {
        long* memory = stackalloc long[WorkShares.Length(3)];
        WorkShares shares = new(memory, 3, 100, 1000);
        int[] taken = new int[100];
        new TakeAll { Shares = shares, Taken = taken }.Run(1, 3);
        Assert.All(taken, count => Assert.Equal(1, count));
    }

    [Fact]
    public void A_worker_begins_with_its_own_share_and_goes_on_behind_what_it_took()
    {
        long* memory = stackalloc long[WorkShares.Length(2)];
        WorkShares shares = new(memory, 2, 64, 4);
        Assert.True(shares.TryTake(1, out long begin, out long end));
        Assert.Equal((32L, 36L), (begin, end));
        Assert.True(shares.TryTake(1, out begin, out end));
        Assert.Equal((36L, 40L), (begin, end));
        Assert.True(shares.TryTake(0, out begin, out end));
        Assert.Equal((0L, 4L), (begin, end));
    }

    private struct TakeAll : IWorkerJob
    {
        public WorkShares Shares;
        public int[] Taken;

        public readonly void Run(int worker, int workers)
        {
            while (Shares.TryTake(worker, out long begin, out long end))
            {
                for (long item = begin; item < end; item++)
                {
                    Interlocked.Increment(ref Taken[item]);
                }
            }
        }
    }
}
