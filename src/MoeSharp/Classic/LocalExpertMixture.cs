namespace MoeSharp.Classic;

/// <summary>What a mixture of local experts consists of.</summary>
public sealed record LocalExpertOptions
{
    /// <summary>Number of experts.</summary>
    public required int NumExperts { get; init; }

    /// <summary>Numbers per input of an expert, the constant one included.</summary>
    public required int InputSize { get; init; }

    /// <summary>Numbers per input of the gate, the constant one included.</summary>
    public required int GateInputSize { get; init; }

    /// <summary>Numbers per output.</summary>
    public required int TargetSize { get; init; }

    /// <summary>What is made small.</summary>
    public ExpertError Error { get; init; } = ExpertError.Mixture;

    /// <summary>What an expert does with its weighted sums.</summary>
    public UnitKind Output { get; init; } = UnitKind.Linear;

    /// <summary>Standard deviation of the experts' first weights.</summary>
    public double InitialDeviation { get; init; } = 0.1;

    /// <summary>Checks the numbers.</summary>
    /// <exception cref="ConfigurationException">One or more are out of range; the message names all of them.</exception>
    public void Validate()
    {
        List<string> wrong = [];
        foreach ((string name, int value) in new[] { ("experts", NumExperts), ("input size", InputSize), ("gate input size", GateInputSize), ("target size", TargetSize) })
        {
            if (value < 1)
            {
                wrong.Add($"{name} {value} must be at least 1");
            }
        }

        if (!(InitialDeviation >= 0) || !double.IsFinite(InitialDeviation))
        {
            wrong.Add("the deviation of the first weights must be 0 or more");
        }

        if (wrong.Count > 0)
        {
            throw new ConfigurationException($"mixture of local experts: {string.Join("; ", wrong)}");
        }
    }
}

/// <summary>An adaptive mixture of local experts: single-layer experts and a single-layer softmax gate, trained together along the gradient.</summary>
/// <remarks>
/// Jacobs, Jordan, Nowlan, Hinton 1991. The gate starts with weights of zero: every expert has the same share of every case, and the experts' random
/// weights alone break the symmetry.
/// </remarks>
public sealed class LocalExpertMixture : IGradientModel
{
    private readonly LocalExpertOptions _options;
    private readonly double[] _parameters; // gate [experts, gate input], then experts [experts, target, input]
    private readonly double[] _logits;
    private readonly double[] _outputs;
    private readonly double[] _logitGradient;
    private readonly double[] _outputGradient;

    /// <summary>Creates a mixture with random experts.</summary>
    /// <param name="options">Sizes and kinds.</param>
    /// <param name="seed">Chooses the experts' first weights.</param>
    /// <exception cref="ConfigurationException">An option is out of range.</exception>
    public LocalExpertMixture(LocalExpertOptions options, ulong seed)
    {
        options.Validate();
        _options = options;
        int outputs = options.NumExperts * options.TargetSize;
        GateSize = options.NumExperts * options.GateInputSize;
        _parameters = new double[GateSize + (outputs * options.InputSize)];
        _logits = new double[options.NumExperts];
        _logitGradient = new double[options.NumExperts];
        _outputs = new double[outputs];
        _outputGradient = new double[outputs];
        new SeededNumbers(seed, 0).FillNormal(_parameters.AsSpan(GateSize), options.InitialDeviation);
    }

    /// <summary>Number of experts.</summary>
    public int NumExperts => _options.NumExperts;

    /// <summary>Weights of the gate: the first of <see cref="Parameters"/>, [experts, gate input size].</summary>
    public int GateSize { get; }

    /// <inheritdoc/>
    public Span<double> Parameters => _parameters;

    /// <summary>Weights of one expert, [target size, input size].</summary>
    public ReadOnlySpan<double> Expert(int expert)
    {
        int size = _options.TargetSize * _options.InputSize;
        return _parameters.AsSpan(GateSize + (expert * size), size);
    }

    /// <inheritdoc/>
    public double AddGradient(CaseSet cases, int index, Span<double> gradient)
    {
        Forward(cases, index);
        double error = ExpertErrors.Evaluate(_options.Error, _outputs, _logits, cases.Target(index), _outputGradient, _logitGradient);
        SmallMatrix.AddOuter(gradient[..GateSize], _logitGradient, cases.GateInput(index));
        for (int output = 0; output < _outputs.Length; output++)
        {
            _outputGradient[output] *= UnitFunction.Slope(_options.Output, _outputs[output]);
        }

        SmallMatrix.AddOuter(gradient[GateSize..], _outputGradient, cases.Input(index));
        return error;
    }

    /// <inheritdoc/>
    public void Predict(CaseSet cases, int index, Span<double> output)
    {
        Forward(cases, index);
        LogWeights.Normalize(_logits);
        output.Clear();
        for (int expert = 0; expert < NumExperts; expert++)
        {
            for (int i = 0; i < output.Length; i++)
            {
                output[i] += _logits[expert] * _outputs[(expert * output.Length) + i];
            }
        }
    }

    /// <summary>The gate's shares for one case.</summary>
    /// <param name="cases">Cases.</param>
    /// <param name="index">Which of them.</param>
    /// <param name="shares">= p: [experts].</param>
    public void Route(CaseSet cases, int index, Span<double> shares)
    {
        SmallMatrix.Multiply(_parameters.AsSpan(0, GateSize), cases.GateInput(index), shares);
        LogWeights.Normalize(shares);
    }

    /// <summary>The probability of each expert given the target, too.</summary>
    /// <param name="cases">Cases.</param>
    /// <param name="index">Which of them.</param>
    /// <param name="posteriors">= h: [experts].</param>
    public void Posteriors(CaseSet cases, int index, Span<double> posteriors)
    {
        Forward(cases, index);
        ExpertErrors.Posteriors(_outputs, _logits, cases.Target(index), posteriors);
    }

    private void Forward(CaseSet cases, int index)
    {
        SmallMatrix.Multiply(_parameters.AsSpan(0, GateSize), cases.GateInput(index), _logits);
        SmallMatrix.Multiply(_parameters.AsSpan(GateSize), cases.Input(index), _outputs);
        for (int output = 0; output < _outputs.Length; output++)
        {
            _outputs[output] = UnitFunction.Value(_options.Output, _outputs[output]);
        }
    }
}
