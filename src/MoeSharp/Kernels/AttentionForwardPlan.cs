namespace MoeSharp.Kernels;

/// <summary>A stretch of query rows of one segment and key/value head against a stretch of key blocks; the unit that a worker takes.</summary>
/// <remarks>Rows number the pairs (query, head of the group) with the head running fastest, so that the heads of a group share packed keys.</remarks>
internal struct AttentionTask
{
    public int Segment;
    public int KeyValueHead;
    public int RowBegin;
    public int RowEnd;
    public int BlockBegin;
    public int BlockEnd;

    /// <summary>Which split of the keys the task belongs to, or -1 when it has all keys of its rows.</summary>
    public int Split;
}

/// <summary>Rows whose keys are shared out between tasks: each leaves the state of its partitions, the last one to finish merges them in order.</summary>
internal struct AttentionSplit
{
    public int RemainingTasks;
    public int FirstPartition;
    public int NumPartitions;

    /// <summary>Floats from the start of the states to those of this split.</summary>
    public long States;
}

/// <summary>Cuts a forward pass into tasks. Counted first, then filled into memory that the caller provides.</summary>
internal unsafe ref struct AttentionForwardPlan
{
    // Several tasks per worker even out the triangle; fewer repack the same keys less often.
    private const int TasksPerWorker = 4;

    // Packed queries and outputs of a task: half a mebibyte, half of a usual second-level cache.
    private const int MostRowFloats = 128 * 1024;
    private const int MostRows = 512;

    private const int FewestQueries = 64;
    private const int RowStrip = 8; // rows that the kernel takes together

    // States of a split: 128 heads of width 512 over 32k keys fit.
    private const long MostStateFloats = 5 * 1024 * 1024;

    private readonly AttentionHeads _heads;
    private readonly ReadOnlySpan<AttentionSegment> _segments;
    private readonly int _workers;
    private readonly int _queriesPerTask;
    private readonly double _fairShare; // of rows times blocks
    private readonly long _numRowTasks; // before keys and heads are shared out
    private AttentionTask* _tasks; // null while counting
    private AttentionSplit* _splits;

    public AttentionForwardPlan(AttentionHeads heads, ReadOnlySpan<AttentionSegment> segments, int workers)
    {
        _heads = heads;
        _segments = segments;
        _workers = workers;
        _queriesPerTask = QueriesPerTask();
        _numRowTasks = RowTasks();
        _fairShare = Work() / (TasksPerWorker * workers);
        Visit();
    }

    /// <summary>Query heads of a key/value head.</summary>
    public readonly int Group => _heads.NumHeads / _heads.NumKeyValueHeads;

    public int NumTasks { get; private set; }

    public int NumSplits { get; private set; }

    public long StateFloats { get; private set; }

    public int MostRowsOfTask { get; private set; }

    /// <summary>Floats of memory that the tasks, the splits and their states take, each on a cache line.</summary>
    public readonly long Floats => TaskFloats + SplitFloats + StateFloats;

    public readonly long TaskFloats => Lines(NumTasks * (long)sizeof(AttentionTask));

    public readonly long SplitFloats => Lines(NumSplits * (long)sizeof(AttentionSplit));

    /// <summary>Writes the tasks and splits; longest tasks of a segment first.</summary>
    public void Fill(AttentionTask* tasks, AttentionSplit* splits)
    {
        _tasks = tasks;
        _splits = splits;
        Visit();
    }

    private static long Lines(long bytes) => (bytes + 63) / 64 * 16;

    private void Visit()
    {
        (NumTasks, NumSplits, StateFloats, MostRowsOfTask) = (0, 0, 0, 0);
        for (int s = 0; s < _segments.Length; s++)
        {
            // Later queries see more keys: the longest tasks come first.
            int queries = _segments[s].QueryCount;
            for (int chunk = (int)(((long)queries + _queriesPerTask - 1) / _queriesPerTask) - 1; chunk >= 0; chunk--)
            {
                int begin = chunk * _queriesPerTask;
                int end = (int)Math.Min((long)begin + _queriesPerTask, queries);
                for (int head = 0; head < _heads.NumKeyValueHeads; head++)
                {
                    Add(s, head, begin, end);
                }
            }
        }
    }

    private void Add(int s, int head, int begin, int end)
    {
        AttentionSegment segment = _segments[s];
        int hidden = segment.KeyCount - segment.QueryCount; // keys before the segment's first query
        AttentionTask task = new()
        {
            Segment = s,
            KeyValueHead = head,
            RowBegin = begin * Group,
            RowEnd = end * Group,
            BlockBegin = _heads.Window == 0 ? 0 : Math.Max(0, hidden + begin + 1 - _heads.Window) / AttentionPacking.Block,
            BlockEnd = (hidden + end + AttentionPacking.Block - 1) / AttentionPacking.Block,
            Split = -1,
        };
        MostRowsOfTask = Math.Max(MostRowsOfTask, task.RowEnd - task.RowBegin);
        int pieces = Pieces(task, out int firstPartition, out int partitions);
        int rowPieces = RowPieces(task, pieces);
        (int rowBegin, int strips) = (task.RowBegin, (task.RowEnd - task.RowBegin + RowStrip - 1) / RowStrip);
        int rowEnd = task.RowEnd;
        for (int piece = 0; piece < rowPieces; piece++)
        {
            task.RowBegin = rowBegin + (strips * piece / rowPieces * RowStrip);
            task.RowEnd = Math.Min(rowEnd, rowBegin + (strips * (piece + 1) / rowPieces * RowStrip));
            AddRows(task, pieces, firstPartition, partitions);
        }
    }

    private void AddRows(AttentionTask task, int pieces, int firstPartition, int partitions)
    {
        if (pieces == 1)
        {
            Write(task);
            return;
        }

        task.Split = NumSplits;
        for (int piece = 0; piece < pieces; piece++)
        {
            AttentionTask part = task;
            part.BlockBegin = Math.Max(task.BlockBegin, (firstPartition + (partitions * piece / pieces)) * AttentionPacking.PartitionBlocks);
            part.BlockEnd = Math.Min(task.BlockEnd, (firstPartition + (partitions * (piece + 1) / pieces)) * AttentionPacking.PartitionBlocks);
            Write(part);
        }

        if (_splits != null)
        {
            _splits[NumSplits] = new AttentionSplit { RemainingTasks = pieces, FirstPartition = firstPartition, NumPartitions = partitions, States = StateFloats };
        }

        NumSplits++;
        StateFloats += partitions * AttentionRowState.Floats(_heads.ValueDim, task.RowEnd - task.RowBegin);
    }

    private void Write(in AttentionTask task)
    {
        if (_tasks != null)
        {
            _tasks[NumTasks] = task;
        }

        NumTasks++;
    }

    // A task that is more than its share, as that of one query over a long cache, is cut between partitions of the keys.
    private readonly int Pieces(in AttentionTask task, out int firstPartition, out int partitions)
    {
        firstPartition = task.BlockBegin / AttentionPacking.PartitionBlocks;
        partitions = ((task.BlockEnd + AttentionPacking.PartitionBlocks - 1) / AttentionPacking.PartitionBlocks) - firstPartition;
        double work = (double)(task.RowEnd - task.RowBegin) * (task.BlockEnd - task.BlockBegin);
        bool fits = partitions * AttentionRowState.Floats(_heads.ValueDim, task.RowEnd - task.RowBegin) <= MostStateFloats;
        return _workers == 1 || work <= _fairShare || !fits ? 1 : (int)Math.Min(partitions, Math.Ceiling(work / _fairShare));
    }

    // Where even that leaves workers without a task, as one query of latent attention over a short context, its heads are shared out.
    private readonly int RowPieces(in AttentionTask task, int pieces)
    {
        long tasks = _numRowTasks * pieces;
        int strips = (task.RowEnd - task.RowBegin) / RowStrip;
        bool isOneQuery = task.RowEnd - task.RowBegin == Group; // of several, each part would see other keys
        return tasks >= _workers || strips < 2 || !isOneQuery ? 1 : (int)Math.Min(strips, (_workers + tasks - 1) / tasks);
    }

    // Enough tasks for all workers, but not so many that packing the same keys again shows.
    private readonly int QueriesPerTask()
    {
        long queries = 0;
        foreach (AttentionSegment segment in _segments)
        {
            queries += segment.QueryCount;
        }

        int rows = Math.Min(MostRows, MostRowFloats / (_heads.HeadDim + _heads.ValueDim));
        int most = Math.Max(1, rows / Group);
        int fewest = Math.Min(FewestQueries, most);
        long wanted = _workers == 1 ? 1 : (long)TasksPerWorker * _workers;
        long share = queries * _heads.NumKeyValueHeads / wanted;
        return (int)Math.Clamp(share / fewest * fewest, fewest, most);
    }

    private readonly long RowTasks()
    {
        long tasks = 0;
        foreach (AttentionSegment segment in _segments)
        {
            tasks += (((long)segment.QueryCount + _queriesPerTask - 1) / _queriesPerTask) * _heads.NumKeyValueHeads;
        }

        return Math.Max(1, tasks);
    }

    private readonly double Work()
    {
        double work = 0;
        foreach (AttentionSegment segment in _segments)
        {
            double keys = segment.KeyCount - (segment.QueryCount / 2.0);
            work += segment.QueryCount * (double)_heads.NumHeads * (_heads.Window == 0 ? keys : Math.Min(keys, _heads.Window)) / AttentionPacking.Block;
        }

        return work;
    }
}
