namespace MoeSharp.Ops;

/// <summary>Cosines and sines of the rotary embedding for positions from 0.</summary>
public sealed class RotaryTable
{
    private readonly Func<int, int, double> _angle;
    private readonly double _magnitude;
    private float[] _cos = [];
    private float[] _sin = [];
    private int _positions;

    /// <summary>Makes an empty table; it grows to the positions that are asked for.</summary>
    /// <param name="rotaryDim">Lanes that are turned; even.</param>
    /// <param name="isInterleaved">Whether neighbouring lanes form a pair.</param>
    /// <param name="angle">Angle of a position and a pair, in radians.</param>
    /// <param name="magnitude">Factor on cosines and sines.</param>
    public RotaryTable(int rotaryDim, bool isInterleaved, Func<int, int, double> angle, double magnitude) =>
        (RotaryDim, IsInterleaved, _angle, _magnitude) = (rotaryDim, isInterleaved, angle, magnitude);

    /// <summary>Lanes that are turned.</summary>
    public int RotaryDim { get; }

    /// <summary>Whether lanes 2i and 2i + 1 form a pair instead of i and i + RotaryDim/2.</summary>
    public bool IsInterleaved { get; }

    /// <summary>Cosines, [positions, rotary_dim/2].</summary>
    public ReadOnlySpan<float> Cos => _cos;

    /// <summary>Sines, same shape.</summary>
    public ReadOnlySpan<float> Sin => _sin;

    /// <summary>Makes sure that positions up to <paramref name="positions"/> - 1 are in the table.</summary>
    public void Reserve(int positions)
    {
        if (positions <= _positions)
        {
            return;
        }

        int half = RotaryDim / 2;
        _positions = Math.Max(positions, 2 * _positions);
        (_cos, _sin) = (new float[_positions * half], new float[_positions * half]);
        for (int position = 0; position < _positions; position++)
        {
            for (int pair = 0; pair < half; pair++)
            {
                (double sin, double cos) = Math.SinCos(_angle(position, pair));
                _cos[(position * half) + pair] = (float)(cos * _magnitude);
                _sin[(position * half) + pair] = (float)(sin * _magnitude);
            }
        }
    }
}
