using System.Globalization;

namespace MoeSharp.Classic;

/// <summary>Training or test cases: inputs and what is to come out. The models take inputs as they are; a constant term is an input that is always one.</summary>
public sealed class CaseSet
{
    private const long MostSquares = 4_000_000; // numbers (32 MB) that are kept; beyond, products are formed anew each time

    private readonly double[] _inputs;
    private readonly double[] _gateInputs;
    private readonly double[] _targets;
    private readonly Lazy<double[]> _squares;
    private readonly Lazy<double[]> _gateSquares;

    /// <summary>Cases in which gates and experts see the same input.</summary>
    /// <param name="inputs">[cases, inputSize], row by row.</param>
    /// <param name="inputSize">Numbers per input.</param>
    /// <param name="targets">[cases, targetSize].</param>
    /// <param name="targetSize">Numbers per target.</param>
    /// <exception cref="ConfigurationException">The sizes do not fit together, there is no case, or a number is not finite.</exception>
    public CaseSet(double[] inputs, int inputSize, double[] targets, int targetSize)
        : this(inputs, inputSize, inputs, inputSize, targets, targetSize)
    {
    }

    /// <summary>Cases in which the gates see another input than the experts.</summary>
    /// <param name="inputs">What the experts see: [cases, inputSize].</param>
    /// <param name="inputSize">Numbers per input of an expert.</param>
    /// <param name="gateInputs">What the gates see: [cases, gateInputSize].</param>
    /// <param name="gateInputSize">Numbers per input of a gate.</param>
    /// <param name="targets">[cases, targetSize].</param>
    /// <param name="targetSize">Numbers per target.</param>
    /// <exception cref="ConfigurationException">The sizes do not fit together, there is no case, or a number is not finite.</exception>
    public CaseSet(double[] inputs, int inputSize, double[] gateInputs, int gateInputSize, double[] targets, int targetSize)
    {
        Count = Rows("inputs", inputs, inputSize);
        if (Rows("gate inputs", gateInputs, gateInputSize) is int gateRows && gateRows != Count)
        {
            throw new ConfigurationException($"there are {Count} inputs but {gateRows} gate inputs; every case needs one of each");
        }

        if (Rows("targets", targets, targetSize) is int targetRows && targetRows != Count)
        {
            throw new ConfigurationException($"there are {Count} inputs but {targetRows} targets; every case needs one of each");
        }

        (_inputs, InputSize) = (inputs, inputSize);
        (_gateInputs, GateInputSize) = (gateInputs, gateInputSize);
        (_targets, TargetSize) = (targets, targetSize);
        _squares = new Lazy<double[]>(() => Squares(_inputs, InputSize));
        _gateSquares = HasOwnGateInputs ? new Lazy<double[]>(() => Squares(_gateInputs, GateInputSize)) : _squares;
    }

    /// <summary>Number of cases.</summary>
    public int Count { get; }

    /// <summary>Numbers per input of an expert.</summary>
    public int InputSize { get; }

    /// <summary>Numbers per input of a gate.</summary>
    public int GateInputSize { get; }

    /// <summary>Numbers per target.</summary>
    public int TargetSize { get; }

    /// <summary>Whether the gates see something else than the experts.</summary>
    public bool HasOwnGateInputs => !ReferenceEquals(_inputs, _gateInputs);

    /// <summary>What the experts see of a case.</summary>
    public ReadOnlySpan<double> Input(int index) => _inputs.AsSpan(index * InputSize, InputSize);

    /// <summary>What the gates see of a case.</summary>
    public ReadOnlySpan<double> GateInput(int index) => _gateInputs.AsSpan(index * GateInputSize, GateInputSize);

    /// <summary>What is to come out for a case.</summary>
    public ReadOnlySpan<double> Target(int index) => _targets.AsSpan(index * TargetSize, TargetSize);

    /// <summary>Products of the elements of an input with each other, packed; kept once formed.</summary>
    /// <param name="index">Case.</param>
    /// <param name="isGateInput">Whether of what the gates see.</param>
    /// <param name="scratch">Receives them when the cases are too many to keep them.</param>
    internal ReadOnlySpan<double> Square(int index, bool isGateInput, Span<double> scratch)
    {
        double[] kept = (isGateInput ? _gateSquares : _squares).Value;
        if (kept.Length > 0)
        {
            return kept.AsSpan(index * scratch.Length, scratch.Length);
        }

        SmallMatrix.Square(isGateInput ? GateInput(index) : Input(index), scratch);
        return scratch;
    }

    /// <summary>Puts a one before every row, so that linear units have a constant term.</summary>
    /// <param name="rows">[cases, size].</param>
    /// <param name="size">Numbers per row.</param>
    /// <returns>[cases, size + 1].</returns>
    public static double[] WithLeadingOne(ReadOnlySpan<double> rows, int size)
    {
        int count = rows.Length / size;
        double[] result = new double[count * (size + 1)];
        for (int row = 0; row < count; row++)
        {
            result[row * (size + 1)] = 1;
            rows.Slice(row * size, size).CopyTo(result.AsSpan((row * (size + 1)) + 1));
        }

        return result;
    }

    private double[] Squares(double[] inputs, int size)
    {
        int packed = SmallMatrix.PackedSize(size);
        if ((long)Count * packed > MostSquares)
        {
            return [];
        }

        double[] squares = new double[Count * packed];
        for (int index = 0; index < Count; index++)
        {
            SmallMatrix.Square(inputs.AsSpan(index * size, size), squares.AsSpan(index * packed, packed));
        }

        return squares;
    }

    private static int Rows(string name, double[] values, int size)
    {
        if (size < 1 || values.Length == 0 || values.Length % size != 0)
        {
            throw new ConfigurationException($"{values.Length} numbers are not rows of {size} {name}; give one complete row per case, and at least one case");
        }

        int wrong = Array.FindIndex(values, value => !double.IsFinite(value));
        return wrong < 0
            ? values.Length / size
            : throw new ConfigurationException(string.Create(CultureInfo.InvariantCulture, $"{name} of case {wrong / size}, number {wrong % size}, is {values[wrong]}; only finite numbers can be fitted"));
    }
}
