using MoeSharp.Kernels;

namespace MoeSharp.Tensors;

/// <summary>A float32, row-major value of one forward pass, with its gradient while training.</summary>
/// <remarks>
/// Memory comes from a <see cref="TensorPool"/>. The data goes back to it when the scope that rented it has closed and no tape node
/// still needs it; the gradient goes back when the operation that produced the tensor has used it.
/// </remarks>
public sealed class Tensor
{
    private PooledBlock? _data;
    private PooledBlock? _gradient;
    private int _saves;
    private bool _isOutOfScope;

    internal Tensor()
    {
    }

    /// <summary>Dimensions.</summary>
    public Shape Shape { get; private set; }

    /// <summary>Elements of one row: the last dimension.</summary>
    public int Columns => Shape[Shape.Rank - 1];

    /// <summary>Rows: the product of all other dimensions.</summary>
    public int Rows => checked((int)(Shape.Length / Columns));

    /// <summary>The values. When <see cref="DataIndex"/> is set these are the rows it selects from.</summary>
    public Span<float> Data => (_data ?? throw new InvalidOperationException($"the data of a tensor {Shape} was already released")).Span;

    /// <summary>Whether a gradient has been written.</summary>
    public bool HasGradient => _gradient is not null;

    /// <summary>The gradient. When <see cref="GradientIndex"/> is set these are the rows it selects from.</summary>
    public Span<float> Gradient => (_gradient ?? throw new InvalidOperationException($"a tensor {Shape} received no gradient")).Span;

    /// <summary>Row r of this tensor is row <c>DataIndex[r]</c> of <see cref="Data"/>; null means row r itself. Spares the copy of a gather.</summary>
    internal int[]? DataIndex { get; private set; }

    /// <summary>Row r of the gradient is row <c>GradientIndex[r]</c> of <see cref="Gradient"/>; null means row r itself.</summary>
    internal int[]? GradientIndex { get; private set; }

    internal TensorPool? Pool { get; private set; }

    internal void Open(TensorPool pool, Shape shape, PooledBlock data, int[]? dataIndex)
    {
        (Pool, Shape, _data, DataIndex) = (pool, shape, data, dataIndex);
        (_gradient, GradientIndex, _saves, _isOutOfScope) = (null, null, 0, false);
    }

    internal PooledBlock ShareData() => (_data ?? throw new InvalidOperationException($"the data of a tensor {Shape} was already released")).Share();

    /// <summary>Keeps the data until <see cref="Unsave"/>: a tape node needs it in its backward.</summary>
    internal void Save() => _saves++;

    internal void Unsave()
    {
        _saves--;
        ReleaseIfUnused();
    }

    internal void LeaveScope()
    {
        _isOutOfScope = true;
        ReleaseIfUnused();
    }

    /// <summary>Gives the gradient's memory to its first or next writer.</summary>
    /// <param name="accumulate">Whether the writer must add to what is there; otherwise the content is undefined.</param>
    internal Span<float> WriteGradient(out bool accumulate)
    {
        TensorPool pool = Pool!;
        accumulate = _gradient is not null;
        if (_gradient is null)
        {
            _gradient = pool.RentBlock(Shape.Length);
        }
        else if (GradientIndex is not null)
        {
            throw new InvalidOperationException($"a gathered gradient of a tensor {Shape} cannot be added to");
        }
        else if (_gradient.IsShared)
        {
            PooledBlock own = pool.RentBlock(Shape.Length);
            _gradient.Span.CopyTo(own.Span);
            _gradient.Release();
            _gradient = own;
        }

        return _gradient.Span;
    }

    /// <summary>Takes over another tensor's gradient as its own first gradient, without a copy; the memory is copied when either adds to it.</summary>
    /// <param name="source">Tensor whose gradient is shared.</param>
    /// <param name="index">Row r of this gradient is row <c>index[r]</c> of the source's, or null.</param>
    internal void ShareGradientOf(Tensor source, int[]? index)
    {
        if (_gradient is not null)
        {
            throw new InvalidOperationException($"a tensor {Shape} already has a gradient");
        }

        _gradient = source._gradient!.Share();
        GradientIndex = index;
    }

    internal void ReleaseGradient()
    {
        _gradient?.Release();
        _gradient = null;
    }

    internal void Close()
    {
        _data?.Release();
        _data = null;
        ReleaseGradient();
        DataIndex = null;
    }

    private void ReleaseIfUnused()
    {
        if (_saves == 0 && _isOutOfScope)
        {
            _data?.Release();
            _data = null;
        }
    }
}

/// <summary>A piece of pooled memory that several tensors may share.</summary>
internal sealed class PooledBlock
{
    private TensorPool? _pool;
    private int _holders;
    private int _length;

    public NativeBuffer Buffer { get; private set; } = null!;

    public bool IsShared => _holders > 1;

    public Span<float> Span => Buffer.Slice(0, _length);

    public void Open(TensorPool pool, NativeBuffer buffer, int length) => (_pool, Buffer, _length, _holders) = (pool, buffer, length, 1);

    public PooledBlock Share()
    {
        _holders++;
        return this;
    }

    public void Release()
    {
        if (--_holders == 0)
        {
            _pool!.Return(this);
        }
    }
}
