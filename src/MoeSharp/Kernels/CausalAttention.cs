namespace MoeSharp.Kernels;

/// <summary>Head geometry of an attention call.</summary>
/// <param name="NumHeads">Query heads.</param>
/// <param name="NumKeyValueHeads">Key/value heads; divides NumHeads. Query head h reads head h / (NumHeads / NumKeyValueHeads).</param>
/// <param name="HeadDim">Width of a head.</param>
/// <param name="Scale">Factor on the scores, usually 1/sqrt(HeadDim).</param>
public readonly record struct AttentionHeads(int NumHeads, int NumKeyValueHeads, int HeadDim, float Scale);

/// <summary>One causal sequence: query rows and the key rows that they may see.</summary>
/// <remarks>Query i of the segment sees keys 0 to KeyCount - QueryCount + i: in training both counts are equal, with a cache there are more keys.</remarks>
/// <param name="QueryBegin">First query row.</param>
/// <param name="QueryCount">Number of query rows.</param>
/// <param name="KeyBegin">First key and value row.</param>
/// <param name="KeyCount">Number of key rows, at least QueryCount.</param>
public readonly record struct AttentionSegment(int QueryBegin, int QueryCount, int KeyBegin, int KeyCount);

/// <summary>Causal softmax attention, computed block by block so that the score matrix is never stored.</summary>
/// <remarks>
/// softmax(scale Q K^T) V with a running maximum and sum (FlashAttention, arXiv 2205.14135, algorithm 1). A query row's result
/// depends on its keys alone, bit for bit: not on the other rows of the call, the segment it starts in, or the workers.
/// Rows have their own stride, so that q, k and v may be columns of one fused matrix.
/// </remarks>
public static unsafe class CausalAttention
{
    // Rows packed at once in the forward pass: queries and outputs of 512 rows of 64 are 256 KiB, a quarter of a usual second-level cache.
    private const int MostForwardRows = 512;

    // Several tasks per worker even out the triangle; fewer repack the same keys less often.
    private const int TasksPerWorker = 4;

    private const int IntsPerTask = 6;

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
    /// <param name="output">= attended values, [rows, NumHeads * HeadDim], dense.</param>
    /// <param name="logSumExp">= natural log of the softmax denominator, [rows, NumHeads].</param>
    /// <exception cref="ShapeException">A segment leaves a span, or the head counts do not divide.</exception>
    public static void Forward(WorkerPool workers, AttentionHeads heads, ReadOnlySpan<AttentionSegment> segments, ReadOnlySpan<float> q, int qStride, ReadOnlySpan<float> k, int kStride, ReadOnlySpan<float> v, int vStride, Span<float> output, Span<float> logSumExp)
    {
        const string Operation = "CausalAttention.Forward";
        Extent extent = Measure(heads, segments, Operation);
        extent.CheckInputs(heads, q.Length, qStride, k.Length, kStride, v.Length, vStride, Operation);
        extent.CheckRows(heads, output.Length, logSumExp.Length, Operation, nameof(output));

        int queries = ForwardQueries(workers, heads, extent);
        long chunks = Chunks(segments, queries);
        long numTasks = checked(chunks * heads.NumKeyValueHeads);
        long rows = (long)Math.Min(queries, extent.LongestSegment) * (heads.NumHeads / heads.NumKeyValueHeads);
        long offset = TaskFloats(numTasks);
        long scratch = AttentionForward.ScratchFloats(heads.HeadDim, rows);
        AttentionTask* tasks = (AttentionTask*)workers.Scratch(0, offset + scratch);
        FillRowTasks(heads, segments, queries, tasks);
        fixed (AttentionSegment* segmentsStart = segments)
        fixed (float* qs = q, ks = k, vs = v, outputs = output, sums = logSumExp)
        {
            AttentionForward job = new()
            {
                Workers = workers,
                Heads = heads,
                Tasks = tasks,
                NumTasks = (int)numTasks,
                Segments = segmentsStart,
                Q = qs,
                QStride = qStride,
                K = ks,
                KStride = kStride,
                V = vs,
                VStride = vStride,
                Output = outputs,
                LogSumExp = sums,
                ScratchOffset = offset,
                ScratchLength = scratch,
            };
            workers.RunInTurns(ref job);
        }
    }

    /// <summary>Gradients of q, k and v (=, not +=); needs the forward's inputs, output and log-sum-exp. Segments must have KeyCount = QueryCount.</summary>
    /// <exception cref="ShapeException">A segment leaves a span or has more keys than queries, or the head counts do not divide.</exception>
    public static void Backward(WorkerPool workers, AttentionHeads heads, ReadOnlySpan<AttentionSegment> segments, ReadOnlySpan<float> q, int qStride, ReadOnlySpan<float> k, int kStride, ReadOnlySpan<float> v, int vStride, ReadOnlySpan<float> output, ReadOnlySpan<float> logSumExp, ReadOnlySpan<float> dOutput, Span<float> dq, int dqStride, Span<float> dk, int dkStride, Span<float> dv, int dvStride)
    {
        const string Operation = "CausalAttention.Backward";
        Extent extent = Measure(heads, segments, Operation);
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

    // Enough tasks for all workers, but not so many that packing the same keys again shows.
    private static int ForwardQueries(WorkerPool workers, AttentionHeads heads, Extent extent)
    {
        const int Fewest = 64;
        int most = Math.Max(Fewest, MostForwardRows / (heads.NumHeads / heads.NumKeyValueHeads));
        long wanted = workers.Workers == 1 ? 1 : (long)TasksPerWorker * workers.Workers;
        long share = extent.Queries * heads.NumKeyValueHeads / wanted;
        return (int)Math.Clamp(share / Fewest * Fewest, Fewest, most);
    }

    private static long TaskFloats(long numTasks) => ((numTasks * IntsPerTask) + 15) / 16 * 16;

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
                    *tasks++ = new AttentionTask { Segment = s, KeyValueHead = head, RowBegin = begin * group, RowEnd = end * group, BlockEnd = blocks };
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
                    };
                }
            }
        }
    }

    private static Extent Measure(AttentionHeads heads, ReadOnlySpan<AttentionSegment> segments, string operation)
    {
        if (heads.NumKeyValueHeads < 1 || heads.HeadDim < 1 || heads.NumHeads % heads.NumKeyValueHeads != 0)
        {
            ShapeException.Throw(operation, nameof(heads), "[NumHeads a multiple of NumKeyValueHeads, HeadDim at least 1]", heads.ToString());
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
            CheckStrided(q, QueryRows, qStride, (long)heads.NumHeads * heads.HeadDim, operation, "q", "qStride");
            CheckStrided(k, KeyRows, kStride, (long)heads.NumKeyValueHeads * heads.HeadDim, operation, "k", "kStride");
            CheckStrided(v, KeyRows, vStride, (long)heads.NumKeyValueHeads * heads.HeadDim, operation, "v", "vStride");
        }

        public readonly void CheckRows(AttentionHeads heads, int output, int logSumExp, string operation, string argument)
        {
            Require.Length(output, QueryRows * heads.NumHeads * heads.HeadDim, operation, argument);
            Require.Length(logSumExp, QueryRows * heads.NumHeads, operation, "logSumExp");
        }

        private static void CheckStrided(int length, long rows, int stride, long width, string operation, string argument, string strideArgument)
        {
            Require.Length(stride, width, operation, strideArgument);
            Require.Length(length, rows == 0 ? 0 : ((rows - 1) * stride) + width, operation, argument);
        }
    }
}
