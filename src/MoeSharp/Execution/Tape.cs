using MoeSharp.Tensors;

namespace MoeSharp.Execution;

/// <summary>One operation of a forward pass, waiting for its backward.</summary>
/// <remarks>Subclasses hold the operation's operands, save the tensors whose data they will need, and are used again in the next pass.</remarks>
public abstract class TapeNode
{
    private readonly List<Tensor> _saved = [];

    internal Tensor? Output { get; set; }

    internal StepPart Part { get; set; }

    /// <summary>Adds this operation's share to the gradients of its operands.</summary>
    /// <param name="context">Context of the pass.</param>
    public abstract void Backward(ForwardContext context);

    /// <summary>Keeps a tensor's data until the backward has run.</summary>
    protected internal void Save(Tensor tensor)
    {
        tensor.Save();
        _saved.Add(tensor);
    }

    internal void Finish()
    {
        foreach (Tensor tensor in _saved)
        {
            tensor.Unsave();
        }

        _saved.Clear();
        Output?.ReleaseGradient();
        Output = null;
    }
}

/// <summary>The operations of a training pass in order; walking it backwards computes the gradients.</summary>
/// <remarks>Nodes stay at their place from pass to pass and are used again when the same kind of operation comes there, so a steady step allocates nothing.</remarks>
public sealed class Tape
{
    private readonly List<TapeNode> _nodes = [];

    /// <summary>Number of operations recorded.</summary>
    public int Count { get; private set; }

    /// <summary>Appends an operation.</summary>
    /// <param name="output">Tensor whose gradient the node consumes; null when it works in place on an operand's gradient.</param>
    /// <param name="part">Part of the step that its backward is charged to.</param>
    public TNode Record<TNode>(Tensor? output, StepPart part)
        where TNode : TapeNode, new()
    {
        if (Count == _nodes.Count)
        {
            _nodes.Add(new TNode());
        }

        if (_nodes[Count] is not TNode node)
        {
            node = new TNode();
            _nodes[Count] = node;
        }

        Count++;
        node.Output = output;
        node.Part = part;
        return node;
    }

    /// <summary>Runs every backward, last operation first, releasing memory on the way. The output of the last operation must have its gradient.</summary>
    public void Backward(ForwardContext context)
    {
        while (Count > 0)
        {
            TapeNode node = _nodes[--Count];
            context.Timer.Switch(node.Part);
            if (node.Output is null || node.Output.HasGradient)
            {
                node.Backward(context);
            }

            node.Finish();
        }

        context.Timer.Switch(StepPart.Other);
    }

    /// <summary>Forgets a pass that will not be walked back.</summary>
    public void Clear()
    {
        while (Count > 0)
        {
            _nodes[--Count].Finish();
        }
    }
}
