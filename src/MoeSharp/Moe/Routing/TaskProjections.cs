using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Moe.Routing;

/// <summary>Logits by task: all tokens of a task use the same experts (Kudugunta et al., arXiv 2110.03742).</summary>
/// <remarks>
/// logits = e W^T with a learned vector e per task. The task of a row is that of its sequence where the batch says so; otherwise it is told by the last task
/// token at or before the row in its text, and is task 0 before the first one: no row goes by what comes after it. Of a document that reaches over several
/// segments, a later one knows the token that the document begins with.
/// </remarks>
public sealed class TaskProjection : IRouterProjection
{
    private readonly IRouterProjection _projection;
    private readonly Parameter _embedding; // [tasks, hidden]
    private readonly Dictionary<int, int> _tasks = []; // by the token that announces each

    /// <summary>Puts task vectors before a projection, with zero weights.</summary>
    /// <param name="name">Name of the task vectors.</param>
    /// <param name="hiddenSize">Width of the residual stream.</param>
    /// <param name="numTasks">Tasks.</param>
    /// <param name="taskTokens">Token that announces each task; empty when batches say their tasks.</param>
    /// <param name="projection">Gives the logits.</param>
    /// <param name="parameters">Receives the task vectors.</param>
    public TaskProjection(string name, int hiddenSize, int numTasks, IReadOnlyList<int> taskTokens, IRouterProjection projection, ICollection<Parameter> parameters)
    {
        _projection = projection;
        for (int task = 0; task < taskTokens.Count; task++)
        {
            _tasks[taskTokens[task]] = task;
        }

        parameters.Add(_embedding = new Parameter(name, new Shape(numTasks, hiddenSize)));
    }

    /// <inheritdoc/>
    public int NumExperts => _projection.NumExperts;

    /// <inheritdoc/>
    public Tensor Forward(Tensor x, ForwardContext context)
    {
        Tensor logits = _projection.Forward(Op.Rows(_embedding, context), context); // [tasks, experts]
        int[] tasks = context.Indices.Rent(x.Rows);
        FindTasks(tasks.AsSpan(0, x.Rows), context);
        return Op.RepeatRows(logits, tasks, x.Rows, context); // [tokens, experts]
    }

    private void FindTasks(Span<int> tasks, ForwardContext context)
    {
        TokenBatch batch = context.Batch;
        if (batch.TaskIds.Length > 0)
        {
            TakeFromBatch(batch, tasks);
            return;
        }

        if (_tasks.Count == 0)
        {
            throw new ConfigurationException("this model's router goes by tasks, and nothing tells the task of a text. Set moesharp.task_tokens to the tokens that announce the tasks.");
        }

        tasks.Clear();
        for (int index = 0; index < batch.NumSegments; index++)
        {
            AttentionSegment segment = batch.Segments[index];
            ReadOnlySpan<int> before = context.Sequences is { } sequences ? sequences[index].Tokens : batch.FirstTokens.Slice(index, 1);
            int task = LastTask(before);
            for (int row = segment.QueryBegin; row < segment.QueryBegin + segment.QueryCount; row++)
            {
                tasks[row] = task = _tasks.TryGetValue(batch.TokenIds[row], out int announced) ? announced : task;
            }
        }
    }

    private int LastTask(ReadOnlySpan<int> tokens)
    {
        for (int index = tokens.Length - 1; index >= 0; index--)
        {
            if (_tasks.TryGetValue(tokens[index], out int task))
            {
                return task;
            }
        }

        return 0;
    }

    private void TakeFromBatch(TokenBatch batch, Span<int> tasks)
    {
        for (int sequence = 0; sequence < batch.NumSequences; sequence++)
        {
            int task = batch.TaskIds[sequence];
            if ((uint)task >= (uint)_embedding.Shape[0])
            {
                throw new ConfigurationException($"sequence {sequence} is of task {task}; the model has tasks 0 to {_embedding.Shape[0] - 1}.");
            }

            (int begin, int count) = batch.Sequence(sequence);
            tasks.Slice(begin, count).Fill(task);
        }
    }
}

/// <summary>Logits by sentence: all tokens of a sequence use the experts that the mean of its real tokens chooses (Kudugunta et al., arXiv 2110.03742).</summary>
/// <remarks>A token's experts depend on the tokens after it, so this is for encoders and for verification; a causal model with it is refused.</remarks>
/// <param name="projection">Gives the logits.</param>
public sealed class SentenceProjection(IRouterProjection projection) : IRouterProjection
{
    /// <inheritdoc/>
    public int NumExperts => projection.NumExperts;

    /// <inheritdoc/>
    public Tensor Forward(Tensor x, ForwardContext context)
    {
        Tensor logits = projection.Forward(Op.MeanOfSequences(x, context), context); // [sequences, experts]
        TokenBatch batch = context.Batch;
        int[] sequences = context.Indices.Rent(x.Rows);
        for (int sequence = 0; sequence < batch.NumSequences; sequence++)
        {
            (int begin, int count) = batch.Sequence(sequence);
            sequences.AsSpan(begin, count).Fill(sequence);
        }

        return Op.RepeatRows(logits, sequences, x.Rows, context); // [tokens, experts]
    }
}
