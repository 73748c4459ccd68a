using MoeSharp.Execution;
using MoeSharp.Kernels;

namespace MoeSharp.Moe;

/// <summary>Means over tokens of what a layer's router and shared experts do: how sure the router is, how much of the output is shared.</summary>
/// <remarks>
/// It reads what the pass has computed anyway, of large passes every eighth row: whole rows of outputs that have left the cache cost more than all counting.
/// Which of the eight changes from pass to pass, so that texts of regular lines are not seen at the same places only. A steady use allocates nothing.
/// </remarks>
public sealed class LayerGauge
{
    private const int LargestStride = 8; // rows from one that is looked at to the next
    private const int FewestRows = 256; // of a pass that are looked at, if it has as many: a mean over them is known to about a per cent

    private float[] _dots = [];
    private float[] _squares = [];
    private int _passes;
    private double _entropy;
    private long _entropyRows;
    private double _margin;
    private long _marginRows;
    private double _shared;
    private long _sharedRows;

    /// <summary>Mean entropy of a token's routing probabilities over the logarithm of the number of experts: 1 for an indifferent router; not a number for a router without scores.</summary>
    public double RouterEntropy => _entropyRows == 0 ? double.NaN : _entropy / _entropyRows;

    /// <summary>Mean distance between a token's two largest probabilities; not a number for a router without scores.</summary>
    public double TopMargin => _marginRows == 0 ? double.NaN : _margin / _marginRows;

    /// <summary>Mean of |shared output| over |shared output| + |routed output|; not a number without shared experts.</summary>
    public double SharedShare => _sharedRows == 0 ? double.NaN : _shared / _sharedRows;

    /// <summary>Adds a pass.</summary>
    /// <param name="view">What the layer did.</param>
    /// <param name="marks">By row; rows with a negative one do not count.</param>
    /// <param name="workers">Workers.</param>
    public void Add(in MoeView view, ReadOnlySpan<int> marks, WorkerPool workers)
    {
        int stride = Math.Clamp(marks.Length / FewestRows, 1, LargestStride);
        RowSample sample = new(marks.Length, _passes++ % stride, stride);
        if (view.Probs.Length > 0)
        {
            AddEntropy(view, marks, sample, workers);
            AddMargin(view, marks, sample);
        }

        if (view.Shared.Length > 0)
        {
            AddShared(view, marks, sample, workers);
        }
    }

    /// <summary>Starts again.</summary>
    public void Clear() => (_entropy, _entropyRows, _margin, _marginRows, _shared, _sharedRows, _passes) = (0, 0, 0, 0, 0, 0, 0);

    // H = -sum p ln p. With a softmax ln p = z - lse, so H = lse - p . z without a logarithm.
    private void AddEntropy(in MoeView view, ReadOnlySpan<int> marks, in RowSample sample, WorkerPool workers)
    {
        bool isSoftmax = view.LogSumExp.Length > 0;
        if (isSoftmax)
        {
            Grow(ref _dots, sample.Count);
            RowScale.Dots(workers, sample, view.NumExperts, view.Probs, view.Logits, _dots);
        }

        (double sum, long rows) = (0, 0);
        for (int index = 0; index < sample.Count; index++)
        {
            int row = sample.First + (index * sample.Stride);
            if (marks[row] >= 0)
            {
                sum += isSoftmax ? view.LogSumExp[row] - _dots[index] : Entropy(view.Probs.Slice(row * view.NumExperts, view.NumExperts));
                rows++;
            }
        }

        _entropy += sum / Math.Log(Math.Max(2, view.NumExperts));
        _entropyRows += rows;
    }

    private void AddMargin(in MoeView view, ReadOnlySpan<int> marks, in RowSample sample)
    {
        for (int row = sample.First; row < marks.Length; row += sample.Stride)
        {
            if (marks[row] < 0)
            {
                continue;
            }

            (float first, float second) = (0f, 0f);
            foreach (float p in view.Probs.Slice(row * view.NumExperts, view.NumExperts))
            {
                second = Math.Max(second, Math.Min(first, p));
                first = Math.Max(first, p);
            }

            _margin += first - second;
            _marginRows++;
        }
    }

    private void AddShared(in MoeView view, ReadOnlySpan<int> marks, in RowSample sample, WorkerPool workers)
    {
        int hidden = view.Shared.Length / marks.Length;
        Grow(ref _dots, sample.Count);
        Grow(ref _squares, sample.Count);
        RowScale.Dots(workers, sample, hidden, view.Shared, view.Shared, _dots);
        RowScale.Dots(workers, sample, hidden, view.Routed, view.Routed, _squares);
        for (int index = 0; index < sample.Count; index++)
        {
            float shared = MathF.Sqrt(_dots[index]);
            float both = shared + MathF.Sqrt(_squares[index]);
            if (marks[sample.First + (index * sample.Stride)] >= 0 && both > 0)
            {
                _shared += shared / both;
                _sharedRows++;
            }
        }
    }

    private static double Entropy(ReadOnlySpan<float> probabilities)
    {
        float entropy = 0;
        foreach (float p in probabilities)
        {
            entropy -= p <= 0 ? 0 : p * MathF.Log(p);
        }

        return entropy;
    }

    private static void Grow(ref float[] array, int length) => array = array.Length < length ? new float[length] : array;
}
