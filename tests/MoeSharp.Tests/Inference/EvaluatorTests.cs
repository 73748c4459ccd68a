using System.Text;
using MoeSharp.Execution;
using MoeSharp.Inference;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Tokenization;

namespace MoeSharp.Tests.Inference;

public sealed class EvaluatorTests : IDisposable
{
    private const int Context = 16;

    private readonly WorkerPool _workers = new(2);
    private readonly Tokenizer _tokenizer = BpeTrainer.Train([Encoding.UTF8.GetBytes("abab")], new BpeTrainerOptions { VocabSize = 258 }); // bytes and two specials
    private readonly LanguageModel _model;

    public EvaluatorTests()
    {
        _model = new LanguageModel(DecodingSessionTests.TinyConfig with { VocabSize = _tokenizer.VocabSize, MaxPositionEmbeddings = Context });
        WeightInit.Initialize(_model, 9, WeightInitScheme.Normal, _workers);
    }

    [Fact]
    public void A_short_document_scores_every_byte_and_the_end()
    {
        Evaluation evaluation = Evaluate(new EvaluationOptions(), "hello");
        double[] losses = TokenLosses(Ids("hello", withEnd: true));
        Assert.Equal(6, evaluation.Tokens);
        Assert.Equal(5, evaluation.Bytes);
        Assert.Equal(losses.Average(), evaluation.Loss, 1e-6);
        Assert.Equal(losses.Sum() / Math.Log(2) / 5, evaluation.BitsPerByte, 1e-6);
        Assert.Equal(Math.Exp(evaluation.Loss), evaluation.Perplexity, 1e-9);
    }

    [Fact]
    public void The_end_of_a_text_can_be_left_out()
    {
        Evaluation evaluation = Evaluate(new EvaluationOptions { ScoresEndOfText = false }, "hello");
        Assert.Equal(5, evaluation.Tokens);
        Assert.Equal(TokenLosses(Ids("hello", withEnd: false)).Average(), evaluation.Loss, 1e-6);
    }

    [Theory]
    [InlineData(16, 16)]
    [InlineData(16, 8)]
    [InlineData(16, 1)]
    [InlineData(7, 3)]
    [InlineData(1, 1)]
    public void A_long_document_scores_each_token_once_with_the_window_before_it(int window, int stride)
    {
        string text = "It was the best of times, it was the worst of times.";
        int[] ids = Ids(text, withEnd: true);
        Evaluation evaluation = Evaluate(new EvaluationOptions { ContextLength = window, Stride = stride }, text);

        // Plainly: windows of inputs at 0, stride, 2 stride, ...; each scores what no earlier window has.
        List<double> losses = [];
        for (int begin = 0; losses.Count < ids.Length - 1; begin += stride)
        {
            int end = Math.Min(begin + window, ids.Length - 1);
            losses.AddRange(TokenLosses(ids[begin..(end + 1)])[(losses.Count - begin)..]);
        }

        Assert.Equal(ids.Length - 1, evaluation.Tokens);
        Assert.Equal(losses.Average(), evaluation.Loss, 1e-6);
    }

    [Fact]
    public void Passes_of_any_size_give_the_same_numbers()
    {
        string[] texts = [.. Enumerable.Range(1, 12).Select(i => new string((char)('a' + i), i * 3))];
        Evaluation expected = Evaluate(new EvaluationOptions(), texts);
        Evaluation actual = Evaluate(new EvaluationOptions { RowsPerPass = 20 }, texts);
        Assert.Equal(expected.Loss, actual.Loss, 1e-9);
        Assert.Equal(expected.StandardError, actual.StandardError, 1e-9);
    }

    [Fact]
    public void The_standard_error_is_that_of_documents_as_clusters()
    {
        string[] texts = [.. Enumerable.Range(1, 11).Select(i => new string((char)('a' + i), i))];
        Evaluation evaluation = Evaluate(new EvaluationOptions(), texts);
        double[][] losses = [.. texts.Select(text => TokenLosses(Ids(text, withEnd: true)))];
        double mean = losses.Sum(document => document.Sum()) / evaluation.Tokens;
        double squares = losses.Sum(document => Math.Pow(document.Sum(loss => loss - mean), 2));
        Assert.Equal(ErrorUnit.Document, evaluation.ErrorUnit);
        Assert.Equal(Math.Sqrt(squares * 11 / 10) / evaluation.Tokens, evaluation.StandardError, 1e-7);
    }

    [Fact]
    public void Few_documents_take_windows_and_one_window_has_no_error()
    {
        Assert.Equal(ErrorUnit.Window, Evaluate(new EvaluationOptions { ContextLength = 4 }, "abcdefgh").ErrorUnit);
        Assert.True(Evaluate(new EvaluationOptions { ContextLength = 4 }, "abcdefgh").StandardError > 0);
        Assert.True(double.IsNaN(Evaluate(new EvaluationOptions(), "abc").StandardError));
    }

    [Fact]
    public void Nothing_to_score_is_an_error()
    {
        Assert.Throws<ConfigurationException>(() => Evaluate(new EvaluationOptions { ScoresEndOfText = false }, ""));
    }

    [Theory]
    [InlineData(17, null)]
    [InlineData(0, null)]
    [InlineData(8, 9)]
    [InlineData(8, 0)]
    public void Windows_that_make_no_sense_are_an_error(int context, int? stride)
    {
        Assert.Throws<ConfigurationException>(() => Evaluate(new EvaluationOptions { ContextLength = context, Stride = stride }, "abc"));
    }

    [Fact]
    public void A_model_whose_loss_is_not_a_number_is_an_error()
    {
        _model.Parameters[0].Value[..].Fill(float.NaN);
        Assert.Throws<ConfigurationException>(() => Evaluate(new EvaluationOptions(), "abc"));
    }

    public void Dispose()
    {
        _model.Dispose();
        _workers.Dispose();
    }

    private Evaluation Evaluate(EvaluationOptions options, params string[] texts)
    {
        using Evaluator evaluator = new(_model, _tokenizer, options, _workers);
        foreach (string text in texts)
        {
            evaluator.Add(Encoding.UTF8.GetBytes(text), TestContext.Current.CancellationToken);
        }

        return evaluator.Finish(TestContext.Current.CancellationToken);
    }

    private int[] Ids(string text, bool withEnd)
    {
        List<int> ids = [_tokenizer.BosTokenId!.Value]; // trained vocabularies have both
        _tokenizer.Encode(Encoding.UTF8.GetBytes(text), ids);
        if (withEnd)
        {
            ids.Add(_tokenizer.EosTokenId!.Value);
        }

        return [.. ids];
    }

    /// <summary>Loss of every token but the first, in one pass, softmax in double precision.</summary>
    private double[] TokenLosses(int[] ids)
    {
        using ForwardContext context = new(_workers);
        int vocab = _model.Config.VocabSize;
        float[] logits = new float[ids.Length * vocab];
        _model.Logits(TokenBatch.FromSequences([ids]), ids.Length, logits, context);
        return [.. Enumerable.Range(0, ids.Length - 1).Select(row =>
        {
            float[] values = logits[(row * vocab)..((row + 1) * vocab)];
            double largest = values.Max();
            return Math.Log(values.Sum(value => Math.Exp(value - largest))) + largest - values[ids[row + 1]];
        })];
    }
}
