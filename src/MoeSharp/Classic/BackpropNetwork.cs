namespace MoeSharp.Classic;

/// <summary>The network that mixtures are compared with: one hidden layer, trained along the gradient of the squared error ||d - o||^2.</summary>
public sealed class BackpropNetwork : IGradientModel
{
    private readonly int _inputSize;
    private readonly UnitKind _hiddenKind;
    private readonly UnitKind _outputKind;
    private readonly double[] _parameters; // hidden [hidden, input], then output [target, hidden + 1], the last column the constant term
    private readonly double[] _hidden; // [hidden + 1], the last one always 1
    private readonly double[] _hiddenGradient;
    private readonly double[] _output;

    /// <summary>Creates a network with random weights.</summary>
    /// <param name="inputSize">Numbers per input, the constant one included.</param>
    /// <param name="hiddenSize">Hidden units.</param>
    /// <param name="targetSize">Outputs.</param>
    /// <param name="hidden">What hidden units do.</param>
    /// <param name="output">What output units do.</param>
    /// <param name="deviation">Standard deviation of the first weights.</param>
    /// <param name="seed">Chooses the first weights.</param>
    public BackpropNetwork(int inputSize, int hiddenSize, int targetSize, UnitKind hidden, UnitKind output, double deviation, ulong seed)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(inputSize, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(hiddenSize, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(targetSize, 1);
        (_inputSize, _hiddenKind, _outputKind) = (inputSize, hidden, output);
        _parameters = new double[(hiddenSize * inputSize) + (targetSize * (hiddenSize + 1))];
        _hidden = new double[hiddenSize + 1];
        _hidden[hiddenSize] = 1;
        _hiddenGradient = new double[hiddenSize];
        _output = new double[targetSize];
        new SeededNumbers(seed, 0).FillNormal(_parameters, deviation);
    }

    /// <inheritdoc/>
    public Span<double> Parameters => _parameters;

    private int HiddenWeights => _hiddenGradient.Length * _inputSize;

    /// <inheritdoc/>
    public double AddGradient(CaseSet cases, int index, Span<double> gradient)
    {
        Forward(cases.Input(index));
        ReadOnlySpan<double> target = cases.Target(index);
        Span<double> outputGradient = _output;
        double error = 0;
        for (int i = 0; i < target.Length; i++)
        {
            double residual = target[i] - _output[i];
            error += residual * residual;
            outputGradient[i] = -2 * residual * UnitFunction.Slope(_outputKind, _output[i]);
        }

        SmallMatrix.AddOuter(gradient[HiddenWeights..], outputGradient, _hidden);
        _hiddenGradient.AsSpan().Clear();
        for (int i = 0; i < target.Length; i++)
        {
            ReadOnlySpan<double> weights = _parameters.AsSpan(HiddenWeights + (i * _hidden.Length), _hiddenGradient.Length);
            for (int unit = 0; unit < weights.Length; unit++)
            {
                _hiddenGradient[unit] += outputGradient[i] * weights[unit];
            }
        }

        for (int unit = 0; unit < _hiddenGradient.Length; unit++)
        {
            _hiddenGradient[unit] *= UnitFunction.Slope(_hiddenKind, _hidden[unit]);
        }

        SmallMatrix.AddOuter(gradient[..HiddenWeights], _hiddenGradient, cases.Input(index));
        return error;
    }

    /// <inheritdoc/>
    public void Predict(CaseSet cases, int index, Span<double> output)
    {
        Forward(cases.Input(index));
        _output.CopyTo(output);
    }

    private void Forward(ReadOnlySpan<double> input)
    {
        Span<double> hidden = _hidden.AsSpan(0, _hiddenGradient.Length);
        SmallMatrix.Multiply(_parameters.AsSpan(0, HiddenWeights), input, hidden);
        for (int unit = 0; unit < hidden.Length; unit++)
        {
            hidden[unit] = UnitFunction.Value(_hiddenKind, hidden[unit]);
        }

        SmallMatrix.Multiply(_parameters.AsSpan(HiddenWeights), _hidden, _output);
        for (int i = 0; i < _output.Length; i++)
        {
            _output[i] = UnitFunction.Value(_outputKind, _output[i]);
        }
    }
}
