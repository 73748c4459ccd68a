using System.Runtime.CompilerServices;

namespace MoeSharp.Kernels;

/// <summary>A rectangle of one product's output, computed by one worker over the whole depth.</summary>
internal readonly struct MatMulTask
{
    /// <summary>First row of A and of C.</summary>
    public required int RowBegin { get; init; }

    /// <summary>End of the rows.</summary>
    public required int RowEnd { get; init; }

    /// <summary>First column of B and of C.</summary>
    public required int ColumnBegin { get; init; }

    /// <summary>End of the columns.</summary>
    public required int ColumnEnd { get; init; }

    /// <summary>First summed index.</summary>
    public required int DepthBegin { get; init; }

    /// <summary>End of the summed index.</summary>
    public required int DepthEnd { get; init; }

    /// <summary>Where the group's B starts, in floats.</summary>
    public required long OffsetB { get; init; }

    /// <summary>Where the group's C starts, in floats.</summary>
    public required long OffsetC { get; init; }

    /// <summary>Multiply-adds.</summary>
    public long Cost => (long)(RowEnd - RowBegin) * (ColumnEnd - ColumnBegin) * (DepthEnd - DepthBegin);
}

/// <summary>A product, or a group of products that share their matrices: what tasks are parts of.</summary>
internal unsafe struct MatMulProduct
{
    /// <summary>Left factor.</summary>
    public MatMulOperand A;

    /// <summary>Right factor.</summary>
    public MatMulOperand B;

    /// <summary>Output.</summary>
    public float* C;

    /// <summary>Distance between rows of C.</summary>
    public nint StrideC;

    /// <summary>Adds to C instead of replacing it.</summary>
    public bool Accumulate;

    /// <summary>Scratch floats that <see cref="Compute"/> needs.</summary>
    public const long ScratchFloats = EdgeFloats + ChunkFloats + MaxColumns * DepthBlock;

    /// <summary>Most columns of a task.</summary>
    public const int MaxColumns = 1024;

    // The sum over k is cut into equal blocks of at most this depth; each block has its own accumulator and blocks are added in
    // ascending order. The cut depends on k alone. 512: panels of A (28 KiB) and B (64 KiB) stay in the second-level cache.
    private const int DepthBlock = 512;
    private const int ChunkFloats = 128 * 1024; // packed rows of A, 512 KiB: half of a 1 MiB second-level cache
    private const int EdgeFloats = 512; // one tile, 14 x 32

    // Few rows do not pay for a copy of B: where B is stored along the columns, tiles read it in place.
    private const int RowsToReadInPlace = 48;

    /// <summary>Depth of the blocks that a sum of so many terms, at least one, is cut into; the last may be shorter.</summary>
    public static int BlockOf(int depth)
    {
        int numBlocks = (depth + DepthBlock - 1) / DepthBlock;
        return ((depth + numBlocks - 1) / numBlocks + 15) / 16 * 16;
    }

    /// <summary>Computes a task's rectangle of C.</summary>
    /// <param name="task">The rectangle.</param>
    /// <param name="scratch">Memory of at least <see cref="ScratchFloats"/> floats that belongs to the calling worker.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public readonly void Compute(in MatMulTask task, float* scratch)
    {
        int depth = task.DepthEnd - task.DepthBegin;
        if (depth == 0)
        {
            ClearWithoutTerms(task);
            return;
        }

        int block = BlockOf(depth);
        int numRows = task.RowEnd - task.RowBegin;
        for (int begin = 0; begin < depth; begin += block)
        {
            int size = Math.Min(block, depth - begin);
            int maxChunk = Math.Max(ChunkFloats / size, MatMulTile.MaxRows) / MatMulTile.MaxRows * MatMulTile.MaxRows;
            int numChunks = (numRows + maxChunk - 1) / maxChunk;
            int row = 0;
            for (int chunk = 0; chunk < numChunks; chunk++)
            {
                int end = (int)((long)numRows * (chunk + 1) / numChunks);
                ComputeChunk(task, task.RowBegin + row, end - row, task.DepthBegin + begin, size, chunk == 0, numChunks > 1, Accumulate || begin > 0, scratch);
                row = end;
            }
        }
    }

    // One chunk of rows against all columns of the task, over one block of the depth. The first chunk packs each panel of B just
    // before it needs it; later chunks find it packed. When there is one chunk only, all panels share one place.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void ComputeChunk(in MatMulTask task, int firstRow, int numRows, int depthBegin, int depth, bool packs, bool keeps, bool add, float* scratch)
    {
        float* edge = scratch;
        float* tiles = scratch + EdgeFloats;
        float* panel = tiles + ChunkFloats;
        MatMulOperand b = B;
        b.Values += task.OffsetB;
        MatMulPacking.PackTiles(tiles, A, firstRow, numRows, depthBegin, depth);
        bool inPlace = b.IsDepthMajor && b.Gather == null && (task.RowEnd - task.RowBegin <= RowsToReadInPlace || b.Stride == MatMulTile.WideColumns); // of that stride it is a panel already
        int column = task.ColumnBegin;
        if (MatMulRow.IsSupported && !B.IsDepthMajor && !A.IsDepthMajor && numRows <= MatMulRow.MaxRows)
        {
            column = ComputeRows(task, firstRow, numRows, depthBegin, depth, add);
        }

        while (column < task.ColumnEnd)
        {
            int left = task.ColumnEnd - column;
            bool isWide = left > MatMulTile.NarrowColumns;
            int width = isWide ? MatMulTile.WideColumns : MatMulTile.NarrowColumns;
            int columns = Math.Min(left, width);
            float* c = C + task.OffsetC + (firstRow * StrideC) + column;
            if (inPlace && columns == width)
            {
                ComputePanel(tiles, numRows, depth, b.Row(depthBegin) + column, b.Stride, isWide, columns, c, add, edge);
            }
            else
            {
                if (packs)
                {
                    MatMulPacking.PackPanel(panel, width, b, column, columns, task.ColumnEnd, depthBegin, depth);
                }

                ComputePanel(tiles, numRows, depth, panel, width, isWide, columns, c, add, edge);
                panel += keeps ? (nint)width * depth : 0;
            }

            column += columns;
        }
    }

    // Few rows against a B stored [columns, depth]; returns the first column left for the other way.
    private readonly int ComputeRows(in MatMulTask task, int firstRow, int numRows, int depthBegin, int depth, bool add)
    {
        float* c = C + task.OffsetC + (firstRow * StrideC);
        float* b = B.Values + task.OffsetB + depthBegin;
        int column = task.ColumnBegin;
        for (; column + MatMulRow.Columns <= task.ColumnEnd; column += MatMulRow.Columns)
        {
            for (int row = 0; row < numRows; row++)
            {
                MatMulRow.Compute(depth, A.Row(firstRow + row) + depthBegin, b + (column * B.Stride), B.Stride, c + (row * StrideC) + column, add);
            }
        }

        return column;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void ComputePanel(float* tiles, int numRows, int depth, float* panel, nint strideB, bool isWide, int columns, float* c, bool add, float* edge)
    {
        int width = isWide ? MatMulTile.WideColumns : MatMulTile.NarrowColumns;
        int numTiles = MatMulPacking.NumTiles(numRows);
        for (int tile = 0; tile < numTiles; tile++)
        {
            int rows = MatMulPacking.TileRows(numRows, numTiles, tile);
            if (columns == width)
            {
                MatMulTile.Compute(rows, isWide, depth, tiles, panel, strideB, c, StrideC, add);
            }
            else
            {
                MatMulTile.Compute(rows, isWide, depth, tiles, panel, strideB, edge, width, false);
                CopyEdge(edge, width, rows, columns, c, add);
            }

            tiles += (nint)rows * depth;
            c += rows * StrideC;
        }
    }

    private readonly void CopyEdge(float* edge, int width, int rows, int columns, float* c, bool add)
    {
        for (int row = 0; row < rows; row++, edge += width, c += StrideC)
        {
            if (!add)
            {
                new ReadOnlySpan<float>(edge, columns).CopyTo(new Span<float>(c, columns));
                continue;
            }

            for (int column = 0; column < columns; column++)
            {
                c[column] += edge[column];
            }
        }
    }

    private readonly void ClearWithoutTerms(in MatMulTask task)
    {
        if (Accumulate)
        {
            return;
        }

        for (int row = task.RowBegin; row < task.RowEnd; row++)
        {
            new Span<float>(C + task.OffsetC + (row * StrideC) + task.ColumnBegin, task.ColumnEnd - task.ColumnBegin).Clear();
        }
    }
}
