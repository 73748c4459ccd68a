namespace MoeSharp.Checkpoints.Export;

/// <summary>How much each column of each weight matters: the mean square of the inputs that met it on calibration text.</summary>
public sealed class ColumnImportance
{
    private readonly Dictionary<string, Sums> _weights = new(StringComparer.Ordinal);

    /// <summary>Adds rows that meet a weight.</summary>
    /// <param name="weight">Parameter.</param>
    /// <param name="groups">Matrices in its stack.</param>
    /// <param name="group">The one that is met.</param>
    /// <param name="row">Input, [columns].</param>
    public void Add(string weight, int groups, int group, ReadOnlySpan<float> row)
    {
        if (!_weights.TryGetValue(weight, out Sums? sums))
        {
            _weights.Add(weight, sums = new Sums(new double[groups][], new long[groups]));
        }

        double[] squares = sums.Squares[group] ??= new double[row.Length];
        for (int column = 0; column < row.Length; column++)
        {
            squares[column] += (double)row[column] * row[column];
        }

        sums.Rows[group]++;
    }

    /// <summary>Mean squares for one matrix; empty when no input met it. An expert that no text reached is then quantised with equal weights, never thrown away.</summary>
    /// <param name="weight">Parameter.</param>
    /// <param name="group">Matrix of its stack.</param>
    /// <param name="columns">Width that is expected.</param>
    public float[] Find(string weight, int group, int columns) =>
        _weights.TryGetValue(weight, out Sums? sums) && group < sums.Squares.Length && sums.Squares[group] is { } squares && squares.Length == columns
            ? [.. squares.Select(square => (float)(square / sums.Rows[group]))]
            : [];

    /// <summary>Rows that met each matrix of a stack; empty when the weight was never met.</summary>
    public IReadOnlyList<long> RowsOf(string weight) => _weights.TryGetValue(weight, out Sums? sums) ? sums.Rows : [];

    /// <summary>Weights that were met.</summary>
    public IReadOnlyCollection<string> Weights => _weights.Keys;

    private sealed record Sums(double[]?[] Squares, long[] Rows);
}
