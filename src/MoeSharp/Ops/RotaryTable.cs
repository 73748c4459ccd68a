namespace MoeSharp.Ops;

/// <summary>Cosines and sines of the rotary embedding for positions from 0.</summary>
public sealed class RotaryTable
{
    private readonly double _theta;
    private float[] _cos = [];
    private float[] _sin = [];
    private int _positions;

    /// <summary>Makes an empty table; it grows to the positions that are asked for.</summary>
    /// <param name="headDim">Width of a head; even.</param>
    /// <param name="theta">Base of the frequencies: inv_freq_i = theta^(-2i/headDim).</param>
    public RotaryTable(int headDim, double theta) => (HeadDim, _theta) = (headDim, theta);

    /// <summary>Width of a head.</summary>
    public int HeadDim { get; }

    internal ReadOnlySpan<float> Cos => _cos;

    internal ReadOnlySpan<float> Sin => _sin;

    /// <summary>Makes sure that positions up to <paramref name="positions"/> - 1 are in the table.</summary>
    public void Reserve(int positions)
    {
        if (positions <= _positions)
        {
            return;
        }

        int half = HeadDim / 2;
        _positions = Math.Max(positions, 2 * _positions);
        (_cos, _sin) = (new float[_positions * half], new float[_positions * half]);
        for (int position = 0; position < _positions; position++)
        {
            for (int lane = 0; lane < half; lane++)
            {
                double angle = position * Math.Pow(_theta, -2.0 * lane / HeadDim);
                _cos[(position * half) + lane] = (float)Math.Cos(angle);
                _sin[(position * half) + lane] = (float)Math.Sin(angle);
            }
        }
    }
}
