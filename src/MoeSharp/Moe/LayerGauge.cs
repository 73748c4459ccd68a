using MoeSharp.Execution;
using MoeSharp.Kernels;

namespace MoeSharp.Moe;

/// <summary>Means over tokens of what a layer's router and shared experts do: how sure the router is, how much of the output is shared.</summary>
/// <remarks>It reads what the pass has computed anyway. A steady use allocates nothing.</remarks>
public sealed class LayerGauge
{
    private const int Stride = 8; // rows between those that are looked at where every expert of a row must be: logarithms and margins cost

    private float[] _dots = [];
    private float[] _squares = [];
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
        if (view.Probs.Length > 0)
        {
            AddEntropy(view, marks, workers);
            AddMargin(view, marks);
        }

        if (view.Shared.Length > 0)
        {
            AddShared(view, marks, workers);
        }
    }

    /// <summary>Starts again.</summary>
    public void Clear() => (_entropy, _entropyRows, _margin, _marginRows, _shared, _sharedRows) = (0, 0, 0, 0, 0, 0);

    // H = -sum p ln p. With a softmax ln p = z - lse, so H = lse - p . z without a logarithm.
    private void AddEntropy(in MoeView view, ReadOnlySpan<int> marks, WorkerPool workers)
    {
        int rows = marks.Length;
        bool isSoftmax = view.LogSumExp.Length > 0;
        double largest = Math.Log(Math.Max(2, view.NumExperts));
        if (isSoftmax)
        {
            Grow(ref _dots, rows);
            RowScale.FactorGradient(workers, rows, view.NumExperts, view.Probs, view.Logits, _dots);
        }

        for (int row = 0; row < rows; row += isSoftmax ? 1 : Stride)
        {
            if (marks[row] >= 0)
            {
                _entropy += (isSoftmax ? view.LogSumExp[row] - _dots[row] : Entropy(view.Probs.Slice(row * view.NumExperts, view.NumExperts))) / largest;
                _entropyRows++;
            }
        }
    }

    private void AddMargin(in MoeView view, ReadOnlySpan<int> marks)
    {
        for (int row = 0; row < marks.Length; row += Stride)
        {
            if (marks[row] < 0)
            {
                continue;
            }

            (float first, float second) = (0f, 0f);
            foreach (float p in view.Probs.Slice(row * view.NumExperts, view.NumExperts))
            {
                if (p > first)
                {
                    (first, second) = (p, first);
                }
                else if (p > second)
                {
                    second = p;
                }
            }

            _margin += first - second;
            _marginRows++;
        }
    }

    private void AddShared(in MoeView view, ReadOnlySpan<int> marks, WorkerPool workers)
    {
        int rows = marks.Length;
        int hidden = view.Shared.Length / rows;
        Grow(ref _dots, rows);
        Grow(ref _squares, rows);
        RowScale.FactorGradient(workers, rows, hidden, view.Shared, view.Shared, _dots);
        RowScale.FactorGradient(workers, rows, hidden, view.Routed, view.Routed, _squares);
        for (int row = 0; row < rows; row++)
        {
            float shared = MathF.Sqrt(_dots[row]);
            float both = shared + MathF.Sqrt(_squares[row]);
            if (marks[row] >= 0 && both > 0)
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
