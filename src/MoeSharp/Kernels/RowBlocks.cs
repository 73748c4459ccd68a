using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels;

/// <summary>How a sum over rows is cut: into blocks that depend on the number of rows alone, added up in block order.</summary>
/// <remarks>
/// Workers may take the blocks in any order; each writes its own partial row, so the result does not depend on who did what.
/// Partial sums also keep the rounding error of long columns small.
/// </remarks>
internal readonly struct RowBlocks
{
    private const int MostBlocks = 64;
    private const int FewestRows = 16;

    /// <summary>Cuts <paramref name="rows"/> rows.</summary>
    public RowBlocks(int rows)
    {
        Size = Math.Max(FewestRows, (rows + MostBlocks - 1) / MostBlocks);
        Count = (rows + Size - 1) / Size;
    }

    /// <summary>Rows per block.</summary>
    public int Size { get; }

    /// <summary>Number of blocks.</summary>
    public int Count { get; }

    /// <summary>target[c] += partial[0, c] + partial[1, c] + ..., in this order.</summary>
    public unsafe void AddTo(WorkerPool workers, int cols, float* partial, float* target)
    {
        LaneRows.ForChunks(workers, cols, ColumnsPerChunk, new AddJob { Blocks = Count, Cols = cols, Partial = partial, Target = target });
    }

    private const int ColumnsPerChunk = 1024;

    private unsafe struct AddJob : ILaneRows
    {
        public int Blocks;
        public int Cols;
        public float* Partial;
        public float* Target;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run<L, V>(int begin, int end)
            where L : struct, ILanes<V>
            where V : unmanaged
        {
            int c = begin;
            for (; c <= end - L.Count; c += L.Count)
            {
                V sum = L.Zero;
                for (int block = 0; block < Blocks; block++)
                {
                    sum = L.Add(sum, L.Load(Partial + ((long)block * Cols) + c));
                }

                L.Store(Target + c, L.Add(L.Load(Target + c), sum));
            }

            for (; c < end; c++)
            {
                float sum = 0;
                for (int block = 0; block < Blocks; block++)
                {
                    sum += Partial[((long)block * Cols) + c];
                }

                Target[c] += sum;
            }
        }
    }
}
