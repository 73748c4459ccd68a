namespace MoeSharp.Kernels;

/// <summary>Causal softmax attention, computed block by block so that the score matrix is never stored.</summary>
/// <remarks>
/// softmax(scale Q K^T) V with a running maximum and sum (FlashAttention, arXiv 2205.14135, algorithm 1). A query row's result
/// depends on its keys alone, bit for bit: not on the other rows of the call, the segment it starts in, or the workers.
/// Rows have their own stride, so that q, k and v may be columns of one fused matrix, and values columns of the keys.
/// </remarks>
public static unsafe class CausalAttention
{
    // Several tasks per worker even out the triangle.
    private const int TasksPerWorker = 4;

    /// <summary>Writes the attended values and the log-sum-exp of every row's scaled scores.</summary>
    /// <param name="workers">Worker pool.</param>
    /// <param name="heads">Head geometry.</param>
    /// <param name="segments">Sequences; their query rows must not overlap.</param>
    /// <param name="q">Queries, row r head h at r * qStride + h * HeadDim.</param>
    /// <param name="qStride">Floats between query rows.</param>
    /// <param name="k">Keys.</param>
    /// <param name="kStride">Floats between key rows.</param>
    /// <param name="v">Values.</param>
    /// <param name="vStride">Floats between value rows.</param>
    /// <param name="sinks">One more logit per query head that takes its share of the softmax and gives no value, [NumHeads]; empty for none.</param>
    /// <param name="output">= attended values, [rows, NumHeads * ValueDim], dense.</param>
    /// <param name="logSumExp">= natural log of the softmax denominator, [rows, NumHeads].</param>
    /// <exception cref="ShapeException">A segment leaves a span, or the head counts do not divide.</exception>
    public static void Forward(WorkerPool workers, AttentionHeads heads, ReadOnlySpan<AttentionSegment> segments, ReadOnlySpan<float> q, int qStride, ReadOnlySpan<float> k, int kStride, ReadOnlySpan<float> v, int vStride, ReadOnlySpan<float> sinks, Span<float> output, Span<float> logSumExp)
    {
        const string Operation = "CausalAttention.Forward";
        Extent extent = Measure(heads, segments, Operation);
        extent.CheckInputs(heads, q.Length, qStride, k.Length, kStride, v.Length, vStride, Operation);
        extent.CheckRows(heads, output.Length, logSumExp.Length, Operation, nameof(output));
        fixed (float* qs = q, ks = k, vs = v, sinkLogits = sinks, outputs = output, sums = logSumExp)
        {
            AttentionForward job = new()
            {
                Workers = workers,
                Heads = heads,
                Q = qs,
                QStride = qStride,
                K = ks,
                KStride = kStride,
                V = vs,
                VStride = vStride,
                Sinks = CheckSinks(heads, sinks.Length, Operation) ? sinkLogits : null,
                Output = outputs,
                LogSumExp = sums,
            };
            RunForward(ref job, segments);
        }
    }

    /// <summary>As the other form, with keys and values in pages; the same bits.</summary>
    /// <param name="workers">Worker pool.</param>
    /// <param name="heads">Head geometry.</param>
    /// <param name="segments">Sequences; their keys begin at 0.</param>
    /// <param name="q">Queries.</param>
    /// <param name="qStride">Floats between query rows.</param>
    /// <param name="paged">The layer's place in a page.</param>
    /// <param name="tables">Pages of each segment; they reach to its last key.</param>
    /// <param name="sinks">One more logit per query head, [NumHeads]; empty for none.</param>
    /// <param name="output">= attended values, [rows, NumHeads * ValueDim], dense.</param>
    /// <param name="logSumExp">= natural log of the softmax denominator, [rows, NumHeads].</param>
    /// <exception cref="ShapeException">A segment leaves a span or its pages, or the pages are made for other heads.</exception>
    public static void Forward(WorkerPool workers, AttentionHeads heads, ReadOnlySpan<AttentionSegment> segments, ReadOnlySpan<float> q, int qStride, PagedHeads paged, PageTable[] tables, ReadOnlySpan<float> sinks, Span<float> output, Span<float> logSumExp)
    {
        const string Operation = "CausalAttention.Forward";
        Extent extent = Measure(heads, segments, Operation);
        PagedRows.CheckPages(segments, tables, Operation);
        if ((paged.NumHeads, paged.HeadDim, paged.ValueDim) != (heads.NumKeyValueHeads, heads.HeadDim, heads.ValueDim))
        {
            ShapeException.Throw(Operation, nameof(paged), $"[{heads.NumKeyValueHeads} heads of {heads.HeadDim} and {heads.ValueDim}]", paged.ToString());
        }

        extent.CheckQueries(heads, q.Length, qStride, Operation);
        extent.CheckRows(heads, output.Length, logSumExp.Length, Operation, nameof(output));
        fixed (float* qs = q, sinkLogits = sinks, outputs = output, sums = logSumExp)
        {
            AttentionForward job = new()
            {
                Workers = workers,
                Heads = heads,
                Q = qs,
                QStride = qStride,
                Tables = tables,
                Paged = paged,
                Sinks = CheckSinks(heads, sinks.Length, Operation) ? sinkLogits : null,
                Output = outputs,
                LogSumExp = sums,
            };
            RunForward(ref job, segments);
        }
    }

    /// <summary>Gradients of q, k and v (=, not +=); needs the forward's inputs, output and log-sum-exp. Segments must have KeyCount = QueryCount.</summary>
    /// <exception cref="ShapeException">A segment leaves a span or has more keys than queries, or the head counts do not divide.</exception>
    public static void Backward(WorkerPool workers, AttentionHeads heads, ReadOnlySpan<AttentionSegment> segments, ReadOnlySpan<float> q, int qStride, ReadOnlySpan<float> k, int kStride, ReadOnlySpan<float> v, int vStride, ReadOnlySpan<float> output, ReadOnlySpan<float> logSumExp, ReadOnlySpan<float> dOutput, Span<float> dq, int dqStride, Span<float> dk, int dkStride, Span<float> dv, int dvStride)
    {
        const string Operation = "CausalAttention.Backward";
        Extent extent = Measure(heads, segments, Operation);
        if (!heads.IsPlain)
        {
            ShapeException.Throw(Operation, nameof(heads), "[ValueDim equal to HeadDim, no window, no cap]", heads.ToString());
        }

        foreach (AttentionSegment segment in segments)
        {
            Require.Length(segment.QueryCount, segment.KeyCount, Operation, "segments.QueryCount");
        }

        extent.CheckInputs(heads, q.Length, qStride, k.Length, kStride, v.Length, vStride, Operation);
        extent.CheckInputs(heads, dq.Length, dqStride, dk.Length, dkStride, dv.Length, dvStride, Operation);
        extent.CheckRows(heads, output.Length, logSumExp.Length, Operation, nameof(output));
        extent.CheckRows(heads, dOutput.Length, logSumExp.Length, Operation, nameof(dOutput));
        fixed (AttentionSegment* segmentsStart = segments)
        fixed (float* qs = q, ks = k, vs = v, outputs = output, sums = logSumExp, dOutputs = dOutput, dqs = dq, dks = dk, dvs = dv)
        {
            AttentionBackward job = new()
            {
                Workers = workers,
                Heads = heads,
                Segments = segmentsStart,
                Q = qs,
                QStride = qStride,
                K = ks,
                KStride = kStride,
                V = vs,
                VStride = vStride,
                Output = outputs,
                LogSumExp = sums,
                DOutput = dOutputs,
                Dq = dqs,
                DqStride = dqStride,
                Dk = dks,
                DkStride = dkStride,
                Dv = dvs,
                DvStride = dvStride,
            };
            if (IsOnePassFaster(workers.Workers, heads.NumKeyValueHeads, segments))
            {
                RunBackward(ref job, segments, extent, AttentionGradients.All, int.MaxValue);
                return;
            }

            int blocks = Math.Max(1, (extent.LongestSegment + AttentionPacking.Block - 1) / AttentionPacking.Block / (TasksPerWorker * workers.Workers));
            RunBackward(ref job, segments, extent, AttentionGradients.KeysAndValues, blocks * AttentionPacking.Block);
            RunBackward(ref job, segments, extent, AttentionGradients.Queries, blocks * AttentionPacking.Block);
        }
    }

    private static void RunForward(ref AttentionForward job, ReadOnlySpan<AttentionSegment> segments)
    {
        AttentionForwardPlan plan = new(job.Heads, segments, job.Workers.Workers);
        job.ScratchOffset = plan.Floats;
        job.ScratchLength = AttentionForward.ScratchFloats(job.Heads, plan.MostRowsOfTask);
        float* memory = job.Workers.Scratch(0, job.ScratchOffset + job.ScratchLength);
        job.Tasks = (AttentionTask*)memory;
        job.Splits = (AttentionSplit*)(memory + plan.TaskFloats);
        job.States = memory + plan.TaskFloats + plan.SplitFloats;
        job.NumTasks = plan.NumTasks;
        plan.Fill(job.Tasks, job.Splits);
        fixed (AttentionSegment* segmentsStart = segments)
        {
            job.Segments = segmentsStart;
            job.Workers.RunInTurns(ref job);
        }
    }

    private static bool CheckSinks(AttentionHeads heads, int sinks, string operation)
    {
        if (sinks != 0)
        {
            Require.Length(sinks, heads.NumHeads, operation, nameof(sinks));
        }

        return sinks != 0;
    }

    private static void RunBackward(ref AttentionBackward job, ReadOnlySpan<AttentionSegment> segments, Extent extent, AttentionGradients gradients, int chunk)
    {
        AttentionHeads heads = job.Heads;
        long numTasks = checked(Chunks(segments, chunk) * heads.NumKeyValueHeads);
        int longest = gradients == AttentionGradients.Queries ? Math.Min(chunk, extent.LongestSegment) : extent.LongestSegment;
        job.ScratchOffset = TaskFloats(numTasks);
        job.ScratchLength = AttentionBackward.ScratchFloats(heads.HeadDim, (long)longest * (heads.NumHeads / heads.NumKeyValueHeads));
        job.Tasks = (AttentionTask*)job.Workers.Scratch(0, job.ScratchOffset + job.ScratchLength);
        job.NumTasks = (int)numTasks;
        job.NextTask = 0;
        job.Gradients = gradients;
        if (gradients == AttentionGradients.KeysAndValues)
        {
            FillKeyTasks(heads, segments, chunk, job.Tasks);
        }
        else
        {
            FillRowTasks(heads, segments, chunk, job.Tasks);
        }

        job.Workers.RunInTurns(ref job);
    }

    // One pass costs five products per tile but only has a task per segment and key/value head; two passes cost seven and split freely.
    private static bool IsOnePassFaster(int workers, int keyValueHeads, ReadOnlySpan<AttentionSegment> segments)
    {
        const double OnePass = 5;
        const double TwoPasses = 7;
        double total = 0;
        double largest = 0;
        foreach (AttentionSegment segment in segments)
        {
            double work = (double)segment.QueryCount * segment.QueryCount;
            total += work * keyValueHeads;
            largest = Math.Max(largest, work);
        }

        // Equal tasks in whole rounds, and no round shorter than the largest task.
        double rounds = largest == 0 ? 0 : Math.Ceiling(total / largest / workers) * largest;
        return OnePass * rounds <= TwoPasses * total / workers;
    }

    private static long TaskFloats(long numTasks) => ((numTasks * sizeof(AttentionTask)) + 63) / 64 * 16;

    private static long Chunks(ReadOnlySpan<AttentionSegment> segments, int chunk)
    {
        long chunks = 0;
        foreach (AttentionSegment segment in segments)
        {
            chunks += ((long)segment.QueryCount + chunk - 1) / chunk;
        }

        return chunks;
    }

    // Later queries see more keys: the longest tasks come first.
    private static void FillRowTasks(AttentionHeads heads, ReadOnlySpan<AttentionSegment> segments, int queries, AttentionTask* tasks)
    {
        int group = heads.NumHeads / heads.NumKeyValueHeads;
        for (int s = 0; s < segments.Length; s++)
        {
            AttentionSegment segment = segments[s];
            for (int chunk = (int)(((long)segment.QueryCount + queries - 1) / queries) - 1; chunk >= 0; chunk--)
            {
                int begin = chunk * queries;
                int end = (int)Math.Min((long)begin + queries, segment.QueryCount);
                int blocks = (segment.KeyCount - segment.QueryCount + end + AttentionPacking.Block - 1) / AttentionPacking.Block;
                for (int head = 0; head < heads.NumKeyValueHeads; head++)
                {
                    *tasks++ = new AttentionTask { Segment = s, KeyValueHead = head, RowBegin = begin * group, RowEnd = end * group, BlockEnd = blocks, Split = -1 };
                }
            }
        }
    }

    // Earlier keys are seen by more queries: the longest tasks come first.
    private static void FillKeyTasks(AttentionHeads heads, ReadOnlySpan<AttentionSegment> segments, int keys, AttentionTask* tasks)
    {
        int group = heads.NumHeads / heads.NumKeyValueHeads;
        for (int s = 0; s < segments.Length; s++)
        {
            AttentionSegment segment = segments[s];
            for (int begin = 0; begin < segment.KeyCount; begin += keys)
            {
                int end = (int)Math.Min((long)begin + keys, segment.KeyCount);
                for (int head = 0; head < heads.NumKeyValueHeads; head++)
                {
                    *tasks++ = new AttentionTask
                    {
                        Segment = s,
                        KeyValueHead = head,
                        RowBegin = begin * group,
                        RowEnd = segment.QueryCount * group,
                        BlockBegin = begin / AttentionPacking.Block,
                        BlockEnd = (end + AttentionPacking.Block - 1) / AttentionPacking.Block,
                        Split = -1,
                    };
                }
            }
        }
    }

    private static Extent Measure(AttentionHeads heads, ReadOnlySpan<AttentionSegment> segments, string operation)
    {
        if (heads.NumKeyValueHeads < 1 || heads.HeadDim < 1 || heads.ValueDim < 1 || heads.Window < 0 || heads.NumHeads % heads.NumKeyValueHeads != 0)
        {
            ShapeException.Throw(operation, nameof(heads), "[NumHeads a multiple of NumKeyValueHeads, HeadDim and ValueDim at least 1, Window not negative]", heads.ToString());
        }

        Extent extent = default;
        foreach (AttentionSegment segment in segments)
        {
            if (segment.QueryBegin < 0 || segment.QueryCount < 0 || segment.KeyBegin < 0 || segment.KeyCount < segment.QueryCount)
            {
                ShapeException.Throw(operation, nameof(segments), "[begins and counts not negative, KeyCount at least QueryCount]", segment.ToString());
            }

            extent.QueryRows = Math.Max(extent.QueryRows, (long)segment.QueryBegin + segment.QueryCount);
            extent.KeyRows = Math.Max(extent.KeyRows, (long)segment.KeyBegin + segment.KeyCount);
            extent.Queries += segment.QueryCount;
            extent.LongestSegment = Math.Max(extent.LongestSegment, segment.QueryCount);
        }

        return extent;
    }

    /// <summary>How far the segments reach.</summary>
    private struct Extent
    {
        public long QueryRows;
        public long KeyRows;
        public long Queries;
        public int LongestSegment;

        public readonly void CheckInputs(AttentionHeads heads, int q, int qStride, int k, int kStride, int v, int vStride, string operation)
        {
            CheckQueries(heads, q, qStride, operation);
            CheckStrided(k, KeyRows, kStride, (long)heads.NumKeyValueHeads * heads.HeadDim, operation, "k", "kStride");
            CheckStrided(v, KeyRows, vStride, (long)heads.NumKeyValueHeads * heads.ValueDim, operation, "v", "vStride");
        }

        public readonly void CheckQueries(AttentionHeads heads, int q, int qStride, string operation) =>
            CheckStrided(q, QueryRows, qStride, (long)heads.NumHeads * heads.HeadDim, operation, "q", "qStride");

        public readonly void CheckRows(AttentionHeads heads, int output, int logSumExp, string operation, string argument)
        {
            Require.Length(output, QueryRows * heads.NumHeads * heads.ValueDim, operation, argument);
            Require.Length(logSumExp, QueryRows * heads.NumHeads, operation, "logSumExp");
        }

        private static void CheckStrided(int length, long rows, int stride, long width, string operation, string argument, string strideArgument)
        {
            Require.Length(stride, width, operation, strideArgument);
            Require.Length(length, rows == 0 ? 0 : ((rows - 1) * stride) + width, operation, argument);
        }
    }
}
