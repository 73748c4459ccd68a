namespace MoeSharp.Tensors;

/// <summary>Integer arrays of a forward pass, used again in the next one.</summary>
public sealed class IndexPool
{
    private readonly List<int[]> _free = [];
    private readonly List<int[]> _rented = [];

    /// <summary>An array of at least <paramref name="length"/> elements with undefined content, valid until the pass ends.</summary>
    public int[] Rent(int length)
    {
        int best = -1;
        for (int index = 0; index < _free.Count; index++)
        {
            int size = _free[index].Length;
            if (size >= length && size <= (2 * length) + 64 && (best < 0 || size < _free[best].Length))
            {
                best = index;
            }
        }

        int[] array;
        if (best >= 0)
        {
            array = _free[best];
            _free.RemoveAt(best);
        }
        else
        {
            array = new int[length];
        }

        _rented.Add(array);
        return array;
    }

    internal void EndPass()
    {
        // What this pass did not use is dropped once the free list outgrows it, so sizes that come and go do not pile up.
        if (_free.Count > _rented.Count + 64)
        {
            _free.Clear();
        }

        _free.AddRange(_rented);
        _rented.Clear();
    }
}
