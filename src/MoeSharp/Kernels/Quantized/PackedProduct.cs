using System.Diagnostics;

namespace MoeSharp.Kernels.Quantized;

/// <summary>Rows that one group of weights multiplies.</summary>
/// <param name="Group">Matrix of the stack.</param>
/// <param name="RowBegin">First row of y.</param>
/// <param name="RowEnd">End of the rows.</param>
/// <param name="OffsetX">First column of x.</param>
/// <param name="OffsetY">First column of y.</param>
/// <param name="Stretch">Which of the stretches of a row of x it takes.</param>
/// <param name="ItemEnd">End of its items among those of all segments; set by the product.</param>
internal readonly record struct RowSegment(int Group, int RowBegin, int RowEnd, nint OffsetX, nint OffsetY, int Stretch, long ItemEnd);

/// <summary>One call: segments of rows against packed weights, cut into items that workers take in turns.</summary>
/// <remarks>
/// An item is two neighbouring strips (32 outputs) against up to <see cref="RowsPerItem"/> rows. Workers share the items out evenly
/// (<see cref="WorkShares"/>). Nothing depends on who takes what.
/// </remarks>
internal unsafe struct PackedProduct
{
    private const long CostWorthThreads = 64 * 1024; // multiply-adds, about 1 us of one core
    private const int RowsPerItem = 128;
    private const int RowsPerFloatItem = 512; // the weights are decoded once per item
    private const int FewRows = 8; // plain numbers are widened in registers, once per four rows
    private const int PairRows = 2 * StripLayout.Rows;
    private const long RunBytes = 512 * 1024; // of weights, some 30 us of reading by one of two cores: what others can no longer take
    private const long RunCost = 8 * 1024 * 1024; // multiply-adds, some 50 us

    public PackedMatrix Weights;
    public float* X;
    public nint StrideX;
    public int* Gather;
    public int NumStored;   // rows of x that are rounded
    public int StoredStep;  // stretches per row of x, each rounded for itself
    public nint StretchStep; // columns between stretches
    public float* Y;
    public nint StrideY;
    public ActivationPrecision Precision;
    public UnitInstructions Instructions;

    /// <summary>Computes everything.</summary>
    public void Run(WorkerPool workers, RowSegment* segments, int numSegments)
    {
        bool takesBytes = false;
        bool hasPairs = false;
        bool takesFloats = false;
        bool takesRest = false;
        int pairs = 0;
        foreach (StripPart part in Weights.Strips)
        {
            bool bytes = Precision != ActivationPrecision.Float32 && part.Layout.TakesBytes;
            takesBytes |= bytes;
            takesFloats |= !bytes;
            takesRest |= bytes && Precision == ActivationPrecision.Int8 && part.Layout.TakesRest;
            hasPairs |= bytes && part.Layout.TakesPairs(Instructions);
            pairs += (part.NumStrips + 1) / 2;
        }

        int rowsPerItem = takesFloats ? RowsPerFloatItem : RowsPerItem;
        long items = 0;
        long cost = 0;
        for (int s = 0; s < numSegments; s++)
        {
            int rows = segments[s].RowEnd - segments[s].RowBegin;
            items += (long)pairs * ((rows + rowsPerItem - 1) / rowsPerItem);
            cost += (long)rows * Weights.Rows * Weights.Columns;
            segments[s] = segments[s] with { ItemEnd = items };
        }

        if (items == 0)
        {
            return;
        }

        ByteRows bytesOfX = takesBytes ? RoundRows(workers, hasPairs, takesRest) : default;
        bool isAlone = workers.Workers == 1 || cost < CostWorthThreads || items == 1;
        int sharers = isAlone ? 1 : workers.Workers;
        long* shares = stackalloc long[WorkShares.Length(sharers)];
        long costPerItem = Math.Max(cost / items, 1);
        long bytesPerItem = Math.Max(Weights.GroupBytes / pairs, 1);
        Job job = new()
        {
            Pool = workers,
            Product = this,
            Bytes = bytesOfX,
            Segments = segments,
            NumSegments = numSegments,
            Pairs = pairs,
            RowsPerItem = rowsPerItem,
            Shares = new WorkShares(shares, sharers, items, Math.Max(1, Math.Min(RunBytes / bytesPerItem, RunCost / costPerItem))),
        };
        if (isAlone)
        {
            job.Run(0, 1);
        }
        else
        {
            workers.RunInTurns(ref job);
        }
    }

    private readonly ByteRows RoundRows(WorkerPool workers, bool hasPairs, bool takesRest)
    {
        int units = Weights.Columns / ByteRows.UnitColumns;
        int unitBytes = ByteRows.BytesOfUnit(hasPairs);
        nint stride = ((nint)units * unitBytes + 63) / 64 * 64;
        long numRows = (long)NumStored * StoredStep;
        ByteRows rows = new() { Stride = stride, Units = units, UnitBytes = unitBytes, Step = StoredStep, Gather = Gather };
        rows.Values = (byte*)workers.SharedScratch(checked(numRows * stride * (takesRest ? 2 : 1)) / sizeof(float));
        rows.RestOffset = takesRest ? (nint)numRows * stride : 0;
        RoundJob job = new() { Rows = rows, X = X, StrideX = StrideX, Stretches = StoredStep, StretchStep = StretchStep };
        workers.ForRows(checked((int)numRows), Math.Max(1, RoundGrain / Weights.Columns), ref job);
        return rows;
    }

    private const int RoundGrain = 16 * 1024; // floats, some 4 us

    private struct RoundJob : IRowJob
    {
        public ByteRows Rows;
        public float* X;
        public nint StrideX;
        public int Stretches;
        public nint StretchStep;

        public readonly void Run(int begin, int end)
        {
            for (int stored = begin; stored < end; stored++)
            {
                byte* row = Rows.Values + (stored * Rows.Stride);
                Rows.Round(X + ((stored / Stretches) * StrideX) + ((stored % Stretches) * StretchStep), row, Rows.RestOffset == 0 ? null : row + Rows.RestOffset);
            }
        }
    }

    private struct Job : IWorkerJob
    {
        public WorkerPool Pool;
        public PackedProduct Product;
        public ByteRows Bytes;
        public RowSegment* Segments;
        public int NumSegments;
        public int Pairs;
        public int RowsPerItem;
        public WorkShares Shares;

        public readonly void Run(int worker, int workers)
        {
            int segment = 0;
            while (Shares.TryTake(worker, out long item, out long end))
            {
                while (segment > 0 && Segments[segment - 1].ItemEnd > item)
                {
                    segment--; // another's share
                }

                while (item < end)
                {
                    while (Segments[segment].ItemEnd <= item)
                    {
                        segment++;
                    }

                    long first = segment == 0 ? 0 : Segments[segment - 1].ItemEnd;
                    item += Compute(worker, segment, item - first, Math.Min(end, Segments[segment].ItemEnd) - item);
                }
            }
        }

        // Computes an item, or as many as one call of a kernel can: memory rests between calls. Returns how many.
        private readonly int Compute(int worker, int index, long item, long most)
        {
            RowSegment segment = Segments[index];
            int rows = segment.RowEnd - segment.RowBegin;
            int chunks = (rows + RowsPerItem - 1) / RowsPerItem;
            int pair = (int)(item / chunks);
            int chunk = (int)(item % chunks);
            int rowBegin = segment.RowBegin + (chunk * RowsPerItem);
            int rowEnd = Math.Min(rowBegin + RowsPerItem, segment.RowEnd);
            foreach (StripPart part in Product.Weights.Strips)
            {
                int partPairs = (part.NumStrips + 1) / 2;
                if (pair >= partPairs)
                {
                    pair -= partPairs;
                    continue;
                }

                int firstRow = pair * PairRows;
                int columns = Math.Min(PairRows, part.NumRows - firstRow);
                if (Product.Precision != ActivationPrecision.Float32 && part.Layout.TakesBytes)
                {
                    bool takesRest = Product.Precision == ActivationPrecision.Int8 && part.Layout.TakesRest;
                    int count = chunks > 1 || takesRest ? 1 : (int)Math.Min(most, partPairs - pair);
                    MultiplyBytes(worker, takesRest, index, part, firstRow, Math.Min(count * PairRows, part.NumRows - firstRow), rowBegin, rowEnd);
                    return count;
                }

                if (part.Layout.IsInterleaved && rowEnd - rowBegin <= FewRows && Product.Instructions != UnitInstructions.Portable)
                {
                    Product.MultiplyFew(segment, part, firstRow, columns, rowBegin, rowEnd);
                }
                else
                {
                    Product.MultiplyFloats(Pool.Scratch(worker, MatMulProduct.ScratchFloats + ((long)PairRows * Product.Weights.Columns)), segment, part, firstRow, columns, rowBegin, rowEnd);
                }

                return 1;
            }

            throw new UnreachableException("an item lies in no part");
        }

        private readonly void MultiplyBytes(int worker, bool takesRest, int index, in StripPart part, int firstRow, int columns, int rowBegin, int rowEnd)
        {
            RowSegment segment = Segments[index];
            int rows = rowEnd - rowBegin;
            bool isLastOfGroup = firstRow + columns == part.NumRows && Product.Weights.Strips.Length == 1;
            StripProduct strips = new()
            {
                Strips = Product.Weights.Strip(segment.Group, part, firstRow),
                StripBytes = part.StripBytes,
                NumStrips = (columns + StripLayout.Rows - 1) / StripLayout.Rows,
                Next = isLastOfGroup && index + 1 < NumSegments ? Product.Weights.Strip(Segments[index + 1].Group, part, 0) : null,
                Rows = Bytes,
                Y = Product.Y + (rowBegin * Product.StrideY) + segment.OffsetY + part.FirstRow + firstRow,
                StrideY = Product.StrideY,
                Columns = columns,
            };
            (strips.Rows.First, strips.Rows.Count, strips.Rows.Shift) = (rowBegin, rows, segment.Stretch);
            if (takesRest)
            {
                float* both = Pool.Scratch(worker, 2 * RowsPerFloatItem * PairRows);
                float* y = strips.Y;
                strips.Y = both;
                strips.StrideY = PairRows;
                (strips.Rows.RestShift, strips.Rows.Count) = (1, 2 * rows);
                part.Layout.Multiply(Product.Instructions, strips);
                Join(both, rows, columns, y, Product.StrideY);
            }
            else
            {
                part.Layout.Multiply(Product.Instructions, strips);
            }
        }
    }

    // y = rows of rounded activations plus those of what rounding left over, which stand between them.
    private static void Join(float* both, int rows, int columns, float* y, nint strideY)
    {
        for (int row = 0; row < rows; row++, both += 2 * PairRows, y += strideY)
        {
            for (int column = 0; column < columns; column++)
            {
                y[column] = both[column] + both[PairRows + column];
            }
        }
    }

    private readonly void MultiplyFew(in RowSegment segment, in StripPart part, int firstRow, int columns, int rowBegin, int rowEnd)
    {
        FloatRows rows = new() { Values = X + segment.OffsetX, Stride = StrideX, Gather = Gather, First = rowBegin, Count = rowEnd - rowBegin, Columns = Weights.Columns };
        float* y = Y + (rowBegin * StrideY) + segment.OffsetY + part.FirstRow + firstRow;
        int numStrips = (columns + StripLayout.Rows - 1) / StripLayout.Rows;
        part.Layout.MultiplyFew(Instructions, Weights.Strip(segment.Group, part, firstRow), part.StripBytes, numStrips, rows, y, StrideY, columns);
    }

    // The decoded rows are the factor B of an ordinary product, whose bits do not depend on how it is cut.
    private readonly void MultiplyFloats(float* scratch, in RowSegment segment, in StripPart part, int firstRow, int columns, int rowBegin, int rowEnd)
    {
        int depth = Weights.Columns;
        float* decoded = scratch + MatMulProduct.ScratchFloats;
        bool isInterleaved = part.Layout.IsInterleaved;
        for (int row = 0; row < columns; row += isInterleaved ? StripLayout.Rows : 1)
        {
            byte* strip = Weights.Strip(segment.Group, part, firstRow + row);
            if (isInterleaved)
            {
                part.Layout.Widen(strip, depth, decoded + row, PairRows);
            }
            else
            {
                part.Layout.Decode(strip, (firstRow + row) % StripLayout.Rows, depth, decoded + ((nint)row * depth));
            }
        }

        MatMulProduct product = new()
        {
            A = new MatMulOperand { Values = X + segment.OffsetX, Stride = StrideX, Gather = Gather, IsDepthMajor = false },
            B = new MatMulOperand { Values = decoded, Stride = isInterleaved ? PairRows : depth, IsDepthMajor = isInterleaved },
            C = Y,
            StrideC = StrideY,
        };
        MatMulTask task = new()
        {
            RowBegin = rowBegin,
            RowEnd = rowEnd,
            ColumnBegin = 0,
            ColumnEnd = columns,
            DepthBegin = 0,
            DepthEnd = depth,
            OffsetB = 0,
            OffsetC = segment.OffsetY + part.FirstRow + firstRow,
        };
        product.Compute(task, scratch);
    }
}
