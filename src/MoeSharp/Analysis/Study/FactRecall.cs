using MoeSharp.Data;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Tokenization;

namespace MoeSharp.Analysis.Study;

/// <summary>A question whose answer a model should know: tokens, of which the last ones are the answer.</summary>
/// <param name="Group">Kind of fact, for example <c>ship: captain</c>.</param>
/// <param name="Ids">Prompt and answer.</param>
/// <param name="AnswerLength">Tokens of the answer, at the end.</param>
/// <param name="Text">Prompt and answer as text, for people.</param>
public sealed record FactQuestion(string Group, int[] Ids, int AnswerLength, string Text)
{
    /// <summary>Asks for facts of the embedded corpus.</summary>
    /// <param name="facts">The facts that the model was trained on.</param>
    /// <param name="tokenizer">Its tokenizer.</param>
    /// <param name="most">Most questions: a fixed sample of the whole table; half in each language.</param>
    public static IReadOnlyList<FactQuestion> From(FactTable facts, Tokenizer tokenizer, int most)
    {
        List<FactQuestion> questions = [];
        IEnumerable<int> mixed = Enumerable.Range(0, facts.Facts.Count).OrderBy(index => SplitMix64.Mix((ulong)index)).Take(Math.Max(1, most / 2));
        foreach (Fact fact in mixed.Order().Select(index => facts.Facts[index]))
        {
            questions.Add(Of(fact, Language.English, " ", tokenizer));
            questions.Add(Of(fact, Language.Chinese, "", tokenizer));
        }

        return questions;
    }

    private static FactQuestion Of(Fact fact, Language language, string between, Tokenizer tokenizer)
    {
        string prompt = fact.Prompt(language);
        string answer = between + fact.Value(language);
        List<int> ids = tokenizer.BosTokenId is { } begin ? [begin] : [];
        List<int> whole = [.. ids];
        ids.AddRange(tokenizer.Encode(prompt, addSpecialTokens: false));
        whole.AddRange(tokenizer.Encode(prompt + answer, addSpecialTokens: false));
        int same = 0;
        while (same < ids.Count && same < whole.Count - 1 && ids[same] == whole[same])
        {
            same++; // where the vocabulary joins prompt and answer, the joint token belongs to the answer
        }

        return new FactQuestion($"{fact.Subject.Kind}: {fact.Attribute.Replace('_', ' ')}", [.. whole], whole.Count - same, $"{prompt}{answer}");
    }
}

/// <summary>What a model knows of some facts.</summary>
/// <param name="Recalled">By question: whether every token of the answer is the model's first choice.</param>
/// <param name="Losses">By question: nats of the whole answer.</param>
public sealed record FactScores(IReadOnlyList<bool> Recalled, IReadOnlyList<double> Losses)
{
    /// <summary>Share of the questions that are answered.</summary>
    public double Recall => Recalled.Count(recalled => recalled) / (double)Recalled.Count;

    /// <summary>Nats per answer.</summary>
    public double Loss => Losses.Average();
}

/// <summary>What happens to the facts when one expert, or all routed or shared experts of a layer, are switched off.</summary>
/// <param name="Place">The expert.</param>
/// <param name="Scores">What the model still knows.</param>
/// <param name="Increase">Nats per answer more than with all experts, paired over the questions.</param>
public sealed record ExpertLoss(ExpertPlace Place, FactScores Scores, Estimate Increase);

/// <summary>Asks a model for facts, with and without experts.</summary>
public sealed class FactRecall : IDisposable
{
    private const long MostLogits = 16L << 20; // 64 MB
    private const int MostRows = 4096;

    private readonly LanguageModel _model;
    private readonly ForwardContext _context;
    private readonly TokenBatch _batch = new();
    private readonly CancellationToken _cancellation;
    private float[] _logits = [];

    /// <summary>Prepares the questions.</summary>
    /// <param name="model">Model; not owned.</param>
    /// <param name="questions">Questions.</param>
    /// <param name="workers">Workers; not owned.</param>
    /// <param name="cancellation">Checked before each pass.</param>
    public FactRecall(LanguageModel model, IReadOnlyList<FactQuestion> questions, WorkerPool workers, CancellationToken cancellation)
    {
        (_model, Questions, _cancellation) = (model, questions, cancellation);
        _context = new ForwardContext(workers);
    }

    /// <summary>The questions.</summary>
    public IReadOnlyList<FactQuestion> Questions { get; }

    /// <summary>Asks all questions.</summary>
    /// <param name="intervention">What is changed; null for the model as it is.</param>
    public FactScores Ask(RoutingIntervention? intervention)
    {
        _context.Intervention = intervention;
        bool[] recalled = new bool[Questions.Count];
        double[] losses = new double[Questions.Count];
        for (int begin = 0; begin < Questions.Count;)
        {
            _cancellation.ThrowIfCancellationRequested();
            int end = begin;
            (long rows, long answers) = (0, 0);
            while (end < Questions.Count && (end == begin || (rows + Questions[end].Ids.Length <= MostRows && (answers + Questions[end].AnswerLength) * _model.Config.VocabSize <= MostLogits)))
            {
                rows += Questions[end].Ids.Length - 1;
                answers += Questions[end].AnswerLength;
                end++;
            }

            Ask(begin, end, (int)rows, (int)answers, recalled, losses);
            begin = end;
        }

        return new FactScores(recalled, losses);
    }

    /// <summary>Asks all questions once for every routed expert, that expert being off.</summary>
    /// <param name="baseline">What the model knows with all experts.</param>
    /// <param name="experts">Experts to switch off, one at a time.</param>
    /// <param name="progress">Told the number of experts done.</param>
    public IReadOnlyList<ExpertLoss> WithoutEach(FactScores baseline, IReadOnlyList<ExpertPlace> experts, Action<int>? progress)
    {
        List<ExpertLoss> losses = [];
        foreach (ExpertPlace place in experts)
        {
            FactScores scores = Ask(new RoutingIntervention { SwitchedOff = [place] });
            losses.Add(new ExpertLoss(place, scores, Paired(scores.Losses, baseline.Losses)));
            progress?.Invoke(losses.Count);
        }

        return losses;
    }

    /// <summary>Mean and standard error of paired differences.</summary>
    public static Estimate Paired(IReadOnlyList<double> left, IReadOnlyList<double> right)
    {
        double[] differences = [.. left.Zip(right, (a, b) => a - b)];
        double mean = differences.Average();
        double error = differences.Length < 2 ? double.NaN : Math.Sqrt(differences.Sum(d => (d - mean) * (d - mean)) / (differences.Length - 1) / differences.Length);
        return new Estimate(mean, error);
    }

    /// <inheritdoc/>
    public void Dispose() => _context.Dispose();

    private void Ask(int begin, int end, int rows, int answers, bool[] recalled, double[] losses)
    {
        int vocab = _model.Config.VocabSize;
        int[] wanted = new int[answers];
        _batch.Resize(rows, rows);
        (int row, int answer) = (0, 0);
        for (int index = begin; index < end; index++)
        {
            int[] ids = Questions[index].Ids;
            _batch.AddSegment(new AttentionSegment(row, ids.Length - 1, row, ids.Length - 1), 0);
            ids.AsSpan(0, ids.Length - 1).CopyTo(_batch.TokenIds[row..]);
            row += ids.Length - 1;
            for (int place = Questions[index].AnswerLength; place > 0; place--)
            {
                wanted[answer++] = row - place;
            }
        }

        if (_logits.Length < answers * vocab)
        {
            _logits = new float[answers * vocab];
        }

        _model.LogitsOf(_batch, wanted, _logits.AsSpan(0, answers * vocab), _context);
        answer = 0;
        for (int index = begin; index < end; index++)
        {
            recalled[index] = true;
            foreach (int target in Questions[index].Ids.AsSpan(Questions[index].Ids.Length - Questions[index].AnswerLength))
            {
                ReadOnlySpan<float> logits = _logits.AsSpan(answer++ * vocab, vocab);
                (double loss, bool isFirst) = Score(logits, target);
                losses[index] += loss;
                recalled[index] &= isFirst;
            }
        }
    }

    private static (double Loss, bool IsFirst) Score(ReadOnlySpan<float> logits, int target)
    {
        float max = float.NegativeInfinity;
        int first = 0;
        for (int token = 0; token < logits.Length; token++)
        {
            if (logits[token] > max)
            {
                (max, first) = (logits[token], token);
            }
        }

        double sum = 0;
        foreach (float logit in logits)
        {
            sum += Math.Exp(logit - max);
        }

        return (max + Math.Log(sum) - logits[target], first == target);
    }
}
