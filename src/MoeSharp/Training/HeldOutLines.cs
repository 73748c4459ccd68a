using MoeSharp.Data;
using MoeSharp.Data.Synthetic;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;

namespace MoeSharp.Training;

/// <summary>Held-out lines of a language with the true distribution of every symbol that can be predicted. Immutable.</summary>
public sealed class HeldOutTruth
{
    private const long MostNumbers = 1L << 26; // of the true distributions: 512 MB (arbitrary)

    private readonly int[] _lines; // [lines, line_tokens]
    private readonly double[] _truth; // [lines, targets, symbols]

    private HeldOutTruth(KnownLanguage language, int[] lines, double[] truth)
    {
        (Language, _lines, _truth) = (language, lines, truth);
        Entropy = EntropyOf(NumLines);
    }

    /// <summary>The language.</summary>
    public KnownLanguage Language { get; }

    /// <summary>Lines.</summary>
    public int NumLines => _lines.Length / Language.LineTokens;

    /// <summary>Mean entropy of the true distributions, nats: the loss of a model that knows everything.</summary>
    public double Entropy { get; }

    /// <summary>Draws lines.</summary>
    /// <param name="language">Language.</param>
    /// <param name="numLines">How many.</param>
    /// <param name="seed">Which.</param>
    /// <exception cref="ConfigurationException">Their distributions are too many numbers.</exception>
    public static HeldOutTruth Draw(KnownLanguage language, int numLines, ulong seed)
    {
        double numbers = (double)numLines * language.TargetsPerLine * language.NumSymbols;
        if (numbers > MostNumbers)
        {
            throw new ConfigurationException($"corpus {language.Name}: the true distributions of {numLines} held-out lines are {numbers:0} numbers; at most {MostNumbers} are kept. Take fewer lines (validation_lines, --tokens), or a smaller line_symbols or symbols.");
        }

        int[] lines = new int[checked(numLines * language.LineTokens)];
        int perLine = language.TargetsPerLine * language.NumSymbols;
        double[] truth = new double[checked(numLines * perLine)];
        for (int index = 0; index < numLines; index++)
        {
            Span<int> line = lines.AsSpan(index * language.LineTokens, language.LineTokens);
            SplitMix64 random = new(seed, (ulong)index);
            language.Draw(ref random, line);
            language.Truth(line, truth.AsSpan(index * perLine, perLine));
        }

        return new HeldOutTruth(language, lines, truth);
    }

    /// <summary>Mean entropy of the first lines' distributions, nats.</summary>
    public double EntropyOf(int numLines)
    {
        int numTargets = numLines * Language.TargetsPerLine;
        double sum = 0;
        foreach (double probability in _truth.AsSpan(0, numTargets * Language.NumSymbols))
        {
            sum -= probability > 0 ? probability * Math.Log(probability) : 0;
        }

        return sum / numTargets;
    }

    /// <summary>Tokens of a line.</summary>
    public ReadOnlySpan<int> Line(int index) => _lines.AsSpan(index * Language.LineTokens, Language.LineTokens);

    /// <summary>True distribution of one of a line's targets, [symbols].</summary>
    public ReadOnlySpan<double> Of(int line, int target) => _truth.AsSpan(((line * Language.TargetsPerLine) + target) * Language.NumSymbols, Language.NumSymbols);
}

/// <summary>Measures a model against the truth, so that no noise of drawn targets is in the result.</summary>
/// <remarks>
/// regret = mean over targets of sum_s p(s) log(p(s) / q(s)), with q the model's softmax over the tokens that can be next. The loss is regret plus
/// entropy.
/// </remarks>
/// <param name="truth">Lines with their truth.</param>
/// <param name="model">Model; not owned.</param>
/// <param name="linesPerPass">Most lines that go through the model at once; at least 1.</param>
/// <param name="context">Context that is free between steps.</param>
public sealed class HeldOutLines(HeldOutTruth truth, LanguageModel model, int linesPerPass, ForwardContext context) : IHeldOut
{
    private const long MostLogits = 1L << 26; // 256 MB; a longer batch is measured in parts (arbitrary)

    private readonly TokenBatch _batch = new();
    private readonly LoadTable _load = new();
    private readonly int _linesPerPass = Fitting(truth, model, linesPerPass);
    private readonly float[] _logits = new float[checked(Fitting(truth, model, linesPerPass) * (truth.Language.LineTokens - 1) * model.Config.VocabSize)];

    /// <inheritdoc/>
    public ValidationResult Measure(int maxTokens, long step, long tokens)
    {
        KnownLanguage language = truth.Language;
        int numLines = maxTokens == 0 ? truth.NumLines : Math.Clamp(maxTokens / language.TargetsPerLine, 1, truth.NumLines);
        double regret = 0;
        long hits = 0;
        _load.Clear();
        for (int first = 0; first < numLines; first += _linesPerPass)
        {
            int count = Math.Min(_linesPerPass, numLines - first);
            _batch.Resize(count * (language.LineTokens - 1), language.LineTokens - 1);
            for (int index = 0; index < count; index++)
            {
                LineBatches.AddLine(language, truth.Line(first + index), _batch, index);
            }

            model.Logits(_batch, _batch.Count, _logits, context);
            _load.Add(context.Routing);
            for (int index = 0; index < count; index++)
            {
                AddLine(first + index, index, ref regret, ref hits);
            }
        }

        double targets = (double)numLines * language.TargetsPerLine;
        double loss = (regret / targets) + truth.EntropyOf(numLines);
        return new ValidationResult(step, tokens, loss, loss / Math.Log(2), (long)targets)
        {
            Regret = regret / targets,
            Recall = hits / targets,
            Load = LoadSummary.Of(_load, model.Config.Moe?.TopK ?? 1),
        };
    }

    private void AddLine(int line, int index, ref double regret, ref long hits)
    {
        KnownLanguage language = truth.Language;
        int vocab = model.Config.VocabSize;
        int firstRow = (index * (language.LineTokens - 1)) + language.FirstTarget - 1;
        for (int target = 0; target < language.TargetsPerLine; target++)
        {
            ReadOnlySpan<float> logits = _logits.AsSpan((firstRow + target) * vocab, vocab);
            ReadOnlySpan<double> p = truth.Of(line, target);
            double logSum = LogSumExp(logits);
            for (int symbol = 0; symbol < p.Length; symbol++)
            {
                regret += p[symbol] > 0 ? p[symbol] * (Math.Log(p[symbol]) - logits[symbol] + logSum) : 0;
            }

            hits += Largest(p) == Largest(logits) ? 1 : 0;
        }
    }

    private static int Fitting(HeldOutTruth truth, LanguageModel model, int linesPerPass) =>
        (int)Math.Clamp(MostLogits / ((truth.Language.LineTokens - 1L) * model.Config.VocabSize), 1, linesPerPass);

    private static double LogSumExp(ReadOnlySpan<float> logits)
    {
        float max = float.NegativeInfinity;
        foreach (float logit in logits)
        {
            max = Math.Max(max, logit);
        }

        double sum = 0;
        foreach (float logit in logits)
        {
            sum += Math.Exp((double)logit - max);
        }

        return max + Math.Log(sum);
    }

    private static int Largest<T>(ReadOnlySpan<T> values)
        where T : IComparable<T>
    {
        int largest = 0;
        for (int index = 1; index < values.Length; index++)
        {
            largest = values[index].CompareTo(values[largest]) > 0 ? index : largest;
        }

        return largest;
    }
}
