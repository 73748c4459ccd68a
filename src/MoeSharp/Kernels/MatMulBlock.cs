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

    // Factors whose rows lie close together are read where they lie, none is copied: 28 multiply-adds hide the way to second-level cache. Rows further apart
    // than this share too few sets of the first-level cache (measured with 1900 rows of 64 and 2048 of 128 and 256).
    private const int StrideOfRowsInPlace = 256; // floats between rows of A stored [rows, depth]
    private const int StrideOfDepthInPlace = 128; // floats between depths of A stored [depth, rows], which every panel of B reads again
    private const int ColumnsOfDepthInPlace = 128;
    private const int StrideOfPanelsInPlace = 64; // floats between depths of B

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
        MatMulTileInput input = Left(tiles, firstRow, numRows, depthBegin, depth, task.ColumnEnd - task.ColumnBegin);
        bool inPlace = ReadsInPlace(b, task.RowEnd - task.RowBegin, input.Source);
        int column = task.ColumnBegin;
        if (MatMulRow.IsSupported && !B.IsDepthMajor && !A.IsDepthMajor && numRows <= MatMulRow.MaxRows)
        {
            column = ComputeRows(task, firstRow, numRows, depthBegin, depth, add);
        }

        if (input.Source == MatMulTileSource.Rows)
        {
            ComputeTiles(task, input, inPlace, column, firstRow, numRows, depthBegin, packs, panel, edge, add);
            return;
        }

        while (column < task.ColumnEnd)
        {
            int left = task.ColumnEnd - column;
            bool isWide = left > MatMulTile.NarrowColumns;
            int width = isWide ? MatMulTile.WideColumns : MatMulTile.NarrowColumns;
            int columns = Math.Min(left, width);
            float* c = C + task.OffsetC + (firstRow * StrideC) + column;
            MatMulTileInput tile = input;
            if (inPlace && columns == width)
            {
                SetInPlace(ref tile, b, column, depthBegin);
            }
            else
            {
                if (packs)
                {
                    MatMulPacking.PackPanel(panel, width, b, column, columns, task.ColumnEnd, depthBegin, depth);
                }

                tile.B = panel;
                tile.StrideB = width;
                panel += keeps ? (nint)width * depth : 0;
            }

            ComputePanel(tile, numRows, isWide, columns, c, add, edge);
            column += columns;
        }
    }

    // Tile by tile, so that rows of A are fetched once; all panels of B lie ready.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void ComputeTiles(in MatMulTask task, MatMulTileInput input, bool inPlace, int firstColumn, int firstRow, int numRows, int depthBegin, bool packs, float* panels, float* edge, bool add)
    {
        MatMulOperand b = B;
        b.Values += task.OffsetB;
        int depth = (int)input.Depth;
        float* panel = panels;
        for (int column = firstColumn; packs && column < task.ColumnEnd; column += MatMulTile.WideColumns)
        {
            int left = task.ColumnEnd - column;
            int width = left > MatMulTile.NarrowColumns ? MatMulTile.WideColumns : MatMulTile.NarrowColumns;
            if (!inPlace || left < width)
            {
                MatMulPacking.PackPanel(panel, width, b, column, Math.Min(left, width), task.ColumnEnd, depthBegin, depth);
                panel += (nint)width * depth;
            }
        }

        float** addresses = stackalloc float*[MatMulTile.MaxRows];
        input.Rows = addresses;
        int numTiles = MatMulPacking.NumTiles(numRows);
        int end = firstRow + numRows;
        for (int tile = 0; tile < numTiles; tile++)
        {
            int rows = MatMulPacking.TileRows(numRows, numTiles, tile);
            for (int row = 0; row < rows; row++)
            {
                addresses[row] = A.Row(firstRow + row) + depthBegin;
            }

            for (int row = firstRow + rows; row < Math.Min(end, firstRow + (2 * rows)); row++)
            {
                MatMulPacking.Fetch(A.Row(row) + depthBegin, depth);
            }

            float* c = C + task.OffsetC + (firstRow * StrideC);
            panel = panels;
            for (int column = firstColumn; column < task.ColumnEnd; column += MatMulTile.WideColumns)
            {
                int left = task.ColumnEnd - column;
                bool isWide = left > MatMulTile.NarrowColumns;
                int width = isWide ? MatMulTile.WideColumns : MatMulTile.NarrowColumns;
                if (inPlace && left >= width)
                {
                    SetInPlace(ref input, b, column, depthBegin);
                }
                else
                {
                    input.B = panel;
                    input.StrideB = width;
                    panel += (nint)width * depth;
                }

                if (left >= width)
                {
                    MatMulTile.Compute(rows, isWide, input, c + column, StrideC, add);
                }
                else
                {
                    MatMulTile.Compute(rows, isWide, input, edge, width, false);
                    CopyEdge(edge, width, rows, left, c + column, add);
                }
            }

            firstRow += rows;
        }
    }

    // Rows of A as the tiles take them: where they lie, or packed.
    private readonly MatMulTileInput Left(float* tiles, int firstRow, int numRows, int depthBegin, int depth, int columns)
    {
        MatMulTileInput input = new() { Depth = depth, StrideA = A.Stride };
        if (!MatMulTile.ReadsInPlace || (A.IsDepthMajor ? A.Stride > StrideOfDepthInPlace || columns > ColumnsOfDepthInPlace : A.Stride > StrideOfRowsInPlace))
        {
            MatMulPacking.PackTiles(tiles, A, firstRow, numRows, depthBegin, depth);
            input.A = tiles;
        }
        else if (!A.IsDepthMajor)
        {
            input.Source = MatMulTileSource.Rows;
        }
        else if (A.Gather == null)
        {
            input.Source = MatMulTileSource.Depth;
            input.A = A.Row(depthBegin) + firstRow;
        }
        else
        {
            input.Source = MatMulTileSource.GatheredDepthOfA;
            input.A = A.Values + firstRow;
            input.GatherA = A.Gather + depthBegin;
        }

        return input;
    }

    private static bool ReadsInPlace(in MatMulOperand b, int numRows, MatMulTileSource source)
    {
        if (!b.IsDepthMajor || (b.Gather != null && source != MatMulTileSource.Depth))
        {
            return false;
        }

        bool isSmall = MatMulTile.ReadsInPlace && b.Stride <= StrideOfPanelsInPlace;
        return isSmall || (b.Gather == null && (numRows <= RowsToReadInPlace || b.Stride == MatMulTile.WideColumns)); // of that stride it is a panel already
    }

    private static void SetInPlace(ref MatMulTileInput tile, in MatMulOperand b, int column, int depthBegin)
    {
        tile.StrideB = b.Stride;
        if (b.Gather == null)
        {
            tile.B = b.Row(depthBegin) + column;
        }
        else
        {
            tile.Source = MatMulTileSource.GatheredDepthOfB;
            tile.B = b.Values + column;
            tile.GatherB = b.Gather + depthBegin;
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
    private readonly void ComputePanel(MatMulTileInput tile, int numRows, bool isWide, int columns, float* c, bool add, float* edge)
    {
        int width = isWide ? MatMulTile.WideColumns : MatMulTile.NarrowColumns;
        int numTiles = MatMulPacking.NumTiles(numRows);
        for (int index = 0; index < numTiles; index++)
        {
            int rows = MatMulPacking.TileRows(numRows, numTiles, index);
            if (columns == width)
            {
                MatMulTile.Compute(rows, isWide, tile, c, StrideC, add);
            }
            else
            {
                MatMulTile.Compute(rows, isWide, tile, edge, width, false);
                CopyEdge(edge, width, rows, columns, c, add);
            }

            tile.A += tile.Source == MatMulTileSource.Packed ? rows * tile.Depth : rows;
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
