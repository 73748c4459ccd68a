using MoeSharp.Kernels;

namespace MoeSharp.Tensors;

/// <summary>Memory of forward passes: tensors are rented inside a scope and their blocks are used again, so that a steady step allocates nothing.</summary>
/// <remarks>
/// A block serves a request when it is at most a quarter larger. The pool holds at most what the largest recent pass needed:
/// blocks that two passes in a row left unused are returned to the system by <see cref="EndPass"/>.
/// </remarks>
public sealed class TensorPool : IDisposable
{
    private const int Granule = 1024; // floats; requests are rounded up to it so that near sizes share blocks
    private const int IdlePasses = 2;

    private readonly List<FreeBuffer> _free = []; // ascending length
    private readonly Stack<PooledBlock> _idleBlocks = new();
    private readonly Stack<Tensor> _idleTensors = new();
    private readonly List<Tensor> _open = []; // all tensors of the pass
    private readonly List<Tensor> _scoped = []; // tensors of open scopes, innermost last
    private long _pass;
    private long _inUse;
    private long _held;

    /// <summary>Most floats in use at once since the pool was made.</summary>
    public long PeakFloats { get; private set; }

    /// <summary>Floats of native memory held, in use or not.</summary>
    public long HeldFloats => _held;

    /// <summary>Rents a tensor whose content is undefined. It belongs to the innermost open scope.</summary>
    public Tensor Rent(Shape shape) => Register(shape, RentBlock(shape.Length), null);

    /// <summary>A tensor whose row r is row <c>index[r]</c> of <paramref name="source"/>, sharing its data.</summary>
    /// <param name="source">Matrix of [rows, columns].</param>
    /// <param name="index">Row selection; must stay unchanged until the pass ends.</param>
    /// <param name="rows">Number of rows selected.</param>
    public Tensor Gather(Tensor source, int[] index, int rows) => Register(new Shape(rows, source.Columns), source.ShareData(), index);

    /// <summary>A tensor of other dimensions with the same elements, sharing the data.</summary>
    /// <param name="source">Tensor without a row selection.</param>
    /// <param name="shape">Dimensions with as many elements.</param>
    public Tensor View(Tensor source, Shape shape) => Register(shape, source.ShareData(), null);

    /// <summary>Opens a scope: tensors rented until <see cref="CloseScope"/> are released then, unless kept or saved by the tape.</summary>
    /// <returns>Mark to close the scope with.</returns>
    public int OpenScope() => _scoped.Count;

    /// <summary>Closes the innermost scope.</summary>
    /// <param name="mark">What <see cref="OpenScope"/> returned.</param>
    /// <param name="kept">Tensor that is handed to the enclosing scope.</param>
    /// <returns><paramref name="kept"/>.</returns>
    public Tensor CloseScope(int mark, Tensor kept)
    {
        bool isOwn = false;
        for (int index = mark; index < _scoped.Count; index++)
        {
            if (ReferenceEquals(_scoped[index], kept))
            {
                isOwn = true;
            }
            else
            {
                _scoped[index].LeaveScope();
            }
        }

        _scoped.RemoveRange(mark, _scoped.Count - mark);
        if (isOwn)
        {
            _scoped.Add(kept);
        }

        return kept;
    }

    /// <summary>Ends a pass: every tensor becomes invalid and memory that recent passes did not use goes back to the system.</summary>
    public void EndPass()
    {
        foreach (Tensor tensor in _open)
        {
            tensor.Close();
            _idleTensors.Push(tensor);
        }

        _open.Clear();
        _scoped.Clear();
        _pass++;
        for (int index = _free.Count - 1; index >= 0; index--)
        {
            if (_pass - _free[index].LastPass > IdlePasses)
            {
                _held -= _free[index].Buffer.Length;
                _free[index].Buffer.Dispose();
                _free.RemoveAt(index);
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        EndPass();
        foreach (FreeBuffer free in _free)
        {
            free.Buffer.Dispose();
        }

        _free.Clear();
    }

    internal PooledBlock RentBlock(long length)
    {
        int exact = checked((int)length);
        long wanted = (length + Granule - 1) / Granule * Granule;
        NativeBuffer? buffer = null;
        for (int index = 0; index < _free.Count; index++)
        {
            long size = _free[index].Buffer.Length;
            if (size >= wanted)
            {
                if (size <= wanted + (wanted / 4))
                {
                    buffer = _free[index].Buffer;
                    _free.RemoveAt(index);
                }

                break;
            }
        }

        if (buffer is null)
        {
            buffer = new NativeBuffer(wanted);
            _held += wanted;
        }

        _inUse += buffer.Length;
        PeakFloats = Math.Max(PeakFloats, _inUse);
        PooledBlock block = _idleBlocks.Count > 0 ? _idleBlocks.Pop() : new PooledBlock();
        block.Open(this, buffer, exact);
        return block;
    }

    internal void Return(PooledBlock block)
    {
        _inUse -= block.Buffer.Length;
        int at = 0;
        while (at < _free.Count && _free[at].Buffer.Length < block.Buffer.Length)
        {
            at++;
        }

        _free.Insert(at, new FreeBuffer(block.Buffer, _pass));
        _idleBlocks.Push(block);
    }

    private Tensor Register(Shape shape, PooledBlock data, int[]? index)
    {
        Tensor tensor = _idleTensors.Count > 0 ? _idleTensors.Pop() : new Tensor();
        tensor.Open(this, shape, data, index);
        _open.Add(tensor);
        _scoped.Add(tensor);
        return tensor;
    }

    private readonly record struct FreeBuffer(NativeBuffer Buffer, long LastPass);
}
