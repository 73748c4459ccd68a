using System.Buffers;

namespace MoeSharp.Kernels;

/// <summary>Cuts products into tasks and lets the workers take them, the largest first.</summary>
/// <remarks>
/// Only rows and columns of the output are cut, never the summed index, and each task packs for itself: there is no barrier, so a
/// worker that the system interrupts delays one task only, and results do not depend on the cut.
/// </remarks>
internal unsafe ref struct MatMulSchedule
{
    private const long CostWorthThreads = 128 * 1024; // multiply-adds, about 2 us of one core: below, waking others costs more
    private const long MinTaskCost = 1024 * 1024;
    private const int TasksPerWorker = 4; // enough to even out workers that are interrupted; more only pack more
    private const int MinRows = 56;

    private readonly WorkerPool _workers;
    private readonly long _taskCost;
    private MatMulTask[] _tasks;
    private int _count;

    /// <summary>Begins a schedule.</summary>
    /// <param name="workers">The workers.</param>
    /// <param name="totalCost">Multiply-adds of all products together.</param>
    public MatMulSchedule(WorkerPool workers, long totalCost)
    {
        _workers = workers;
        bool alone = workers.Workers == 1 || totalCost < CostWorthThreads;
        long wanted = alone ? 1 : Math.Max(workers.Workers, Math.Min((long)workers.Workers * TasksPerWorker, totalCost / MinTaskCost));
        _taskCost = Math.Max(totalCost / wanted, 1);
        _tasks = ArrayPool<MatMulTask>.Shared.Rent(64);
    }

    /// <summary>Adds one product, cut into as many tasks as its share of the whole asks for.</summary>
    /// <param name="rowBegin">First row of A and C.</param>
    /// <param name="rowEnd">End of the rows.</param>
    /// <param name="numColumns">Columns of C.</param>
    /// <param name="depthBegin">First summed index.</param>
    /// <param name="depthEnd">End of the summed index.</param>
    /// <param name="offsetB">Where this product's B starts.</param>
    /// <param name="offsetC">Where this product's C starts.</param>
    public void Add(int rowBegin, int rowEnd, int numColumns, int depthBegin, int depthEnd, long offsetB, long offsetC)
    {
        int numRows = rowEnd - rowBegin;
        if (numRows == 0 || numColumns == 0)
        {
            return;
        }

        long pieces = Math.Max(((long)numRows * numColumns * (depthEnd - depthBegin) + _taskCost - 1) / _taskCost, 1);
        (int rowPieces, int columnPieces) = Cut(numRows, numColumns, pieces);
        int numPanels = (numColumns + MatMulTile.WideColumns - 1) / MatMulTile.WideColumns;
        for (int columnPiece = 0; columnPiece < columnPieces; columnPiece++)
        {
            for (int rowPiece = 0; rowPiece < rowPieces; rowPiece++)
            {
                Append(new MatMulTask
                {
                    RowBegin = rowBegin + (int)((long)numRows * rowPiece / rowPieces),
                    RowEnd = rowBegin + (int)((long)numRows * (rowPiece + 1) / rowPieces),
                    ColumnBegin = (int)((long)numPanels * columnPiece / columnPieces) * MatMulTile.WideColumns,
                    ColumnEnd = Math.Min((int)((long)numPanels * (columnPiece + 1) / columnPieces) * MatMulTile.WideColumns, numColumns),
                    DepthBegin = depthBegin,
                    DepthEnd = depthEnd,
                    OffsetB = offsetB,
                    OffsetC = offsetC,
                });
            }
        }
    }

    /// <summary>Computes everything added and ends the schedule.</summary>
    public readonly void Run(in MatMulProduct product)
    {
        _tasks.AsSpan(0, _count).Sort(static (x, y) => y.Cost.CompareTo(x.Cost));
        int next = 0;
        fixed (MatMulTask* tasks = _tasks)
        {
            Job job = new() { Workers = _workers, Product = product, Tasks = tasks, Count = _count, Next = &next };
            if (_count == 1)
            {
                job.Run(0, 1);
            }
            else if (_count > 1)
            {
                _workers.RunInTurns(ref job);
            }
        }

        ArrayPool<MatMulTask>.Shared.Return(_tasks);
    }

    // A task packs its rows and its columns, so of all ways to cut into so many pieces the one with the smallest sum of packed
    // rows and columns is taken.
    private static (int Rows, int Columns) Cut(int numRows, int numColumns, long pieces)
    {
        int maxRowPieces = Math.Max(numRows / MinRows, 1);
        int maxColumnPieces = (numColumns + MatMulTile.WideColumns - 1) / MatMulTile.WideColumns;
        int columnPieces = (numColumns + MatMulProduct.MaxColumns - 1) / MatMulProduct.MaxColumns;
        (int Rows, int Columns) best = default;
        long bestPrice = long.MaxValue;
        for (; ; columnPieces = Math.Min(2 * columnPieces, maxColumnPieces))
        {
            int rowPieces = (int)Math.Clamp((pieces + columnPieces - 1) / columnPieces, 1, maxRowPieces);
            long missing = Math.Max(pieces - ((long)rowPieces * columnPieces), 0);
            long price = ((long)columnPieces * numRows) + ((long)rowPieces * numColumns) + (missing * (numRows + numColumns));
            if (price < bestPrice)
            {
                bestPrice = price;
                best = (rowPieces, columnPieces);
            }

            if (columnPieces >= maxColumnPieces || columnPieces >= pieces)
            {
                return best;
            }
        }
    }

    private void Append(in MatMulTask task)
    {
        if (_count == _tasks.Length)
        {
            MatMulTask[] larger = ArrayPool<MatMulTask>.Shared.Rent(2 * _count);
            _tasks.AsSpan(0, _count).CopyTo(larger);
            ArrayPool<MatMulTask>.Shared.Return(_tasks);
            _tasks = larger;
        }

        _tasks[_count++] = task;
    }

    private struct Job : IWorkerJob
    {
        public WorkerPool Workers;
        public MatMulProduct Product;
        public MatMulTask* Tasks;
        public int Count;
        public int* Next;

        public readonly void Run(int worker, int workers)
        {
            float* scratch = Workers.Scratch(worker, MatMulProduct.ScratchFloats);
            while (true)
            {
                int task = Interlocked.Increment(ref *Next) - 1;
                if (task >= Count)
                {
                    return;
                }

                Product.Compute(Tasks[task], scratch);
            }
        }
    }
}
