using MoeSharp.Kernels;

namespace MoeSharp.Data.Synthetic;

/// <summary>A generated language whose next-symbol distribution is known exactly, so that a model's distance from the truth has no noise of targets in it.</summary>
/// <remarks>
/// A line is a few tags, each drawn uniformly from its own values, and then symbols: the first uniform, every later one from a distribution that the tags
/// and the symbol before it decide. Tags and first symbol cannot be predicted and are no targets. Token ids: symbols first, then the values of each tag in turn.
/// A language is immutable and may be used by many threads.
/// </remarks>
public abstract class KnownLanguage
{
    private const long LargestTable = 1L << 24; // numbers in a language's tables: 128 MiB
    private const double LargestScale = 4; // keeps exponentials of sums of logits finite

    private readonly int _numTags;
    private readonly int _numValues;

    /// <summary>Sets the form of a line.</summary>
    /// <param name="name">Name of the language.</param>
    /// <param name="numTags">Tags before the symbols.</param>
    /// <param name="numValues">Values of each tag.</param>
    /// <param name="numSymbols">Different symbols.</param>
    /// <param name="lineSymbols">Symbols of a line.</param>
    /// <exception cref="ConfigurationException">A number is out of range.</exception>
    protected KnownLanguage(string name, int numTags, int numValues, int numSymbols, int lineSymbols)
    {
        Require(numTags is >= 1 and <= 64, name, $"a line has {numTags} tags; use 1 to 64");
        Require(numValues is >= 1 and <= 4096, name, $"a tag has {numValues} values; use 1 to 4096");
        Require(numSymbols is >= 2 and <= 4096, name, $"there are {numSymbols} symbols; use 2 to 4096");
        Require(lineSymbols is >= 2 and <= 4096, name, $"a line has {lineSymbols} symbols; use 2 to 4096");
        (Name, _numTags, _numValues, NumSymbols) = (name, numTags, numValues, numSymbols);
        LineTokens = numTags + lineSymbols;
    }

    /// <summary>Name of the language, for example <c>pair</c>.</summary>
    public string Name { get; }

    /// <summary>Symbols; their ids are 0 to this - 1.</summary>
    public int NumSymbols { get; }

    /// <summary>Symbols and tags.</summary>
    public int VocabSize => NumSymbols + (_numTags * _numValues);

    /// <summary>Tokens of a line.</summary>
    public int LineTokens { get; }

    /// <summary>Place of the first token that can be predicted; all after it can be, too.</summary>
    public int FirstTarget => _numTags + 1;

    /// <summary>Predictable tokens of a line.</summary>
    public int TargetsPerLine => LineTokens - FirstTarget;

    /// <summary>Draws a line.</summary>
    /// <param name="random">Generator.</param>
    /// <param name="line">= token ids, <see cref="LineTokens"/> of them.</param>
    public void Draw(ref SplitMix64 random, Span<int> line)
    {
        for (int tag = 0; tag < _numTags; tag++)
        {
            line[tag] = NumSymbols + (tag * _numValues) + random.Below(_numValues);
        }

        line[_numTags] = random.Below(NumSymbols);
        Span<int> values = stackalloc int[_numTags];
        ReadTags(line, values);
        Span<double> weights = stackalloc double[NumSymbols];
        for (int at = FirstTarget; at < LineTokens; at++)
        {
            Weigh(values, line[at - 1], weights);
            line[at] = Pick(weights, Uniform(ref random));
        }
    }

    /// <summary>The true distributions of a line's predictable tokens.</summary>
    /// <param name="line">A line.</param>
    /// <param name="probabilities">= [targets, symbols], rows that sum to 1.</param>
    public void Truth(ReadOnlySpan<int> line, Span<double> probabilities)
    {
        Span<int> values = stackalloc int[_numTags];
        ReadTags(line, values);
        for (int at = FirstTarget; at < LineTokens; at++)
        {
            Span<double> row = probabilities.Slice((at - FirstTarget) * NumSymbols, NumSymbols);
            Weigh(values, line[at - 1], row);
            double sum = Sum(row);
            foreach (ref double weight in row)
            {
                weight /= sum;
            }
        }
    }

    /// <summary>What the next symbol's probabilities are proportional to.</summary>
    /// <param name="tags">Value of each tag, from 0.</param>
    /// <param name="current">The symbol before.</param>
    /// <param name="weights">= [symbols], not all 0.</param>
    protected abstract void Weigh(ReadOnlySpan<int> tags, int current, Span<double> weights);

    /// <summary>A table of exponentials of normally distributed logits.</summary>
    /// <param name="name">Name of the language, for messages.</param>
    /// <param name="seed">Seed of the language's tables.</param>
    /// <param name="table">Which of its tables.</param>
    /// <param name="length">Entries.</param>
    /// <param name="scale">Standard deviation of the logits.</param>
    /// <exception cref="ConfigurationException">The table is too large, or the scale out of range.</exception>
    protected static double[] Exponentials(string name, ulong seed, ulong table, long length, double scale)
    {
        Require(length <= LargestTable, name, $"its tables have {length} numbers; use fewer values, factors or symbols (at most {LargestTable})");
        Require(scale is >= 0 and <= LargestScale, name, $"a scale of {scale} is out of range; use 0 to {LargestScale}");
        double[] values = new double[length];
        SplitMix64 random = new(seed, table);
        foreach (ref double value in values.AsSpan())
        {
            double radius = Math.Sqrt(-2 * Math.Log(1 - Uniform(ref random)));
            value = Math.Exp(scale * radius * Math.Cos(2 * Math.PI * Uniform(ref random)));
        }

        return values;
    }

    /// <summary>Demands that a setting is in range.</summary>
    protected static void Require(bool holds, string name, string problem)
    {
        if (!holds)
        {
            throw new ConfigurationException($"corpus {name}: {problem}.");
        }
    }

    private void ReadTags(ReadOnlySpan<int> line, Span<int> values)
    {
        for (int tag = 0; tag < _numTags; tag++)
        {
            values[tag] = line[tag] - NumSymbols - (tag * _numValues);
        }
    }

    private static int Pick(ReadOnlySpan<double> weights, double uniform)
    {
        double left = uniform * Sum(weights);
        int symbol = 0;
        while (symbol < weights.Length - 1 && left >= weights[symbol])
        {
            left -= weights[symbol++];
        }

        return symbol;
    }

    private static double Sum(ReadOnlySpan<double> values)
    {
        double sum = 0;
        foreach (double value in values)
        {
            sum += value;
        }

        return sum;
    }

    private static double Uniform(ref SplitMix64 random) => (random.Next() >> 11) * (1.0 / (1UL << 53)); // [0, 1)
}
