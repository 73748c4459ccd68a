using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Tokenization;

namespace MoeSharp.Inference;

/// <summary>How texts are scored.</summary>
public sealed record EvaluationOptions
{
    /// <summary>Tokens of the window that slides over a long document; null takes the model's context.</summary>
    public int? ContextLength { get; init; }

    /// <summary>Tokens that the window moves on; each token is scored once, with at least ContextLength - Stride tokens before it. Null moves by half a window.</summary>
    public int? Stride { get; init; }

    /// <summary>Whether the token that ends a text is scored too, as it is in training.</summary>
    public bool ScoresEndOfText { get; init; } = true;

    /// <summary>Token before each text, such as one that announces its task; null for the one that begins a text.</summary>
    public int? BeginToken { get; init; }

    /// <summary>Rows that go through the model at once; bounds the memory of a pass.</summary>
    public int RowsPerPass { get; init; } = 2048;
}

/// <summary>What the standard error takes as independent.</summary>
public enum ErrorUnit
{
    /// <summary>Documents.</summary>
    Document,

    /// <summary>Windows within the documents, when there are too few documents to tell their spread.</summary>
    Window,
}

/// <summary>How well a model predicts texts.</summary>
/// <param name="Loss">Nats per scored token.</param>
/// <param name="StandardError">Standard error of <paramref name="Loss"/>; not a number when there is one unit only.</param>
/// <param name="ErrorUnit">What the error takes as independent.</param>
/// <param name="BitsPerByte">Bits per byte of text.</param>
/// <param name="Tokens">Tokens scored.</param>
/// <param name="Bytes">Bytes of the text that they spell.</param>
/// <param name="Documents">Documents with at least one scored token.</param>
public sealed record Evaluation(double Loss, double StandardError, ErrorUnit ErrorUnit, double BitsPerByte, long Tokens, long Bytes, int Documents)
{
    /// <summary>e to the loss.</summary>
    public double Perplexity => Math.Exp(Loss);
}

/// <summary>Scores texts with a model: every token of every document once.</summary>
/// <remarks>
/// A document is preceded by the token that begins a text, where the vocabulary has one; otherwise its first token is context only and its bytes
/// do not count. Standard error of the mean per token with documents as clusters: with residuals r_d = sum over its tokens of (loss - mean),
/// sqrt(D / (D - 1) sum r_d^2) / tokens. With fewer than <see cref="FewestDocuments"/> documents, windows are the clusters.
/// </remarks>
public sealed class Evaluator : IDisposable
{
    /// <summary>Fewer documents than this say too little about the spread between documents.</summary>
    public const int FewestDocuments = 10;

    private readonly LanguageModel _model;
    private readonly Tokenizer _tokenizer;
    private readonly EvaluationOptions _options;
    private readonly ForwardContext _context;
    private readonly TokenBatch _batch = new();
    private readonly List<Window> _windows = []; // waiting for a pass
    private readonly List<Cluster> _documents = [];
    private readonly List<Cluster> _scoredWindows = [];
    private readonly int _contextLength;
    private readonly int _stride;
    private int _waitingRows;
    private long _bytes;
    private float[] _losses = [];

    /// <summary>Prepares an evaluation.</summary>
    /// <param name="model">Model; not owned.</param>
    /// <param name="tokenizer">Its tokenizer.</param>
    /// <param name="options">Windows.</param>
    /// <param name="workers">Workers; not owned.</param>
    /// <exception cref="ConfigurationException">Window or stride make no sense for the model.</exception>
    public Evaluator(LanguageModel model, Tokenizer tokenizer, EvaluationOptions options, WorkerPool workers)
    {
        (_model, _tokenizer, _options) = (model, tokenizer, options);
        int longest = model.Config.MaxPositionEmbeddings;
        _contextLength = options.ContextLength ?? longest;
        _stride = options.Stride ?? Math.Max(1, _contextLength / 2);
        if (_contextLength < 1 || _contextLength > longest)
        {
            throw new ConfigurationException($"context {_contextLength} must be from 1 to the model's {longest}");
        }

        if (_stride < 1 || _stride > _contextLength)
        {
            throw new ConfigurationException($"stride {_stride} must be from 1 to the context of {_contextLength}");
        }

        GenerationLimits.CheckVocabulary(model.Config, tokenizer);

        _context = new ForwardContext(workers);
    }

    /// <summary>Tokens of the window.</summary>
    public int ContextLength => _contextLength;

    /// <summary>Tokens that the window moves on.</summary>
    public int Stride => _stride;

    /// <summary>Scores a document; its passes may run later, together with those of the next ones.</summary>
    /// <param name="utf8">Text.</param>
    /// <param name="cancellation">Checked before each pass.</param>
    public void Add(ReadOnlySpan<byte> utf8, CancellationToken cancellation = default)
    {
        List<int> ids = [];
        long bytes = utf8.Length;
        int? beginToken = _options.BeginToken ?? _tokenizer.BosTokenId;
        if (beginToken is { } begin)
        {
            ids.Add(begin);
        }

        _tokenizer.Encode(utf8, ids);
        if (beginToken is null && ids.Count > 0)
        {
            bytes -= _tokenizer.TokenBytes(ids[0]).Length;
        }

        if (_options.ScoresEndOfText && _tokenizer.EosTokenId is { } end)
        {
            ids.Add(end);
        }

        if (ids.Count > 1)
        {
            _bytes += bytes;
            _documents.Add(default);
            Cut([.. ids], cancellation);
        }
    }

    /// <summary>Runs what still waits and sums up.</summary>
    /// <param name="cancellation">Checked before each pass.</param>
    /// <exception cref="ConfigurationException">There was nothing to score, or the model's loss is not finite.</exception>
    public Evaluation Finish(CancellationToken cancellation = default)
    {
        RunWaiting(cancellation);
        Cluster sum = Sum(_documents);
        if (sum.Tokens == 0)
        {
            throw new ConfigurationException("the texts hold no token to predict. Give texts with at least two tokens.");
        }

        double loss = sum.Loss / sum.Tokens;
        if (!double.IsFinite(loss))
        {
            throw new ConfigurationException($"the loss is {loss}: the model's weights are damaged, or its training diverged. Use another checkpoint.");
        }

        ErrorUnit unit = _documents.Count >= FewestDocuments ? ErrorUnit.Document : ErrorUnit.Window;
        double error = StandardError(unit == ErrorUnit.Document ? _documents : _scoredWindows, loss, sum.Tokens);
        double bitsPerByte = _bytes == 0 ? double.NaN : sum.Loss / Math.Log(2) / _bytes;
        return new Evaluation(loss, error, unit, bitsPerByte, sum.Tokens, _bytes, _documents.Count);
    }

    /// <inheritdoc/>
    public void Dispose() => _context.Dispose();

    private void Cut(int[] ids, CancellationToken cancellation)
    {
        int inputs = ids.Length - 1; // the last token is predicted, not read
        int scored = 0;
        for (int begin = 0; scored < inputs; begin += _stride)
        {
            int end = Math.Min(begin + _contextLength, inputs);
            if (_waitingRows + end - begin > _options.RowsPerPass)
            {
                RunWaiting(cancellation);
            }

            _windows.Add(new Window(ids, _documents.Count - 1, begin, end, scored));
            _waitingRows += end - begin;
            scored = end;
        }
    }

    private void RunWaiting(CancellationToken cancellation)
    {
        if (_windows.Count == 0)
        {
            return;
        }

        cancellation.ThrowIfCancellationRequested();
        _batch.Resize(_waitingRows, _waitingRows);
        int row = 0;
        foreach (Window window in _windows)
        {
            _batch.AddSegment(new AttentionSegment(row, window.Rows, row, window.Rows), 0, window.Ids[0]);
            window.Ids.AsSpan(window.Begin, window.Rows).CopyTo(_batch.TokenIds[row..]);
            int context = window.FirstScored - window.Begin;
            window.Ids.AsSpan(window.FirstScored + 1, window.End - window.FirstScored).CopyTo(_batch.Targets[(row + context)..]);
            row += window.Rows;
        }

        if (_losses.Length < row)
        {
            _losses = new float[row];
        }

        _model.Loss(_batch, _losses.AsSpan(0, row), _context);
        Collect();
        _windows.Clear();
        _waitingRows = 0;
    }

    private void Collect()
    {
        int row = 0;
        foreach (Window window in _windows)
        {
            double loss = 0;
            foreach (float value in _losses.AsSpan(row, window.Rows)) // 0 for rows that are context only
            {
                loss += value;
            }

            Cluster cluster = new(loss, window.End - window.FirstScored);
            _scoredWindows.Add(cluster);
            _documents[window.Document] += cluster;
            row += window.Rows;
        }
    }

    private static double StandardError(List<Cluster> clusters, double mean, long tokens)
    {
        if (clusters.Count < 2)
        {
            return double.NaN;
        }

        double squares = 0;
        foreach (Cluster cluster in clusters)
        {
            double residual = cluster.Loss - (mean * cluster.Tokens);
            squares += residual * residual;
        }

        return Math.Sqrt(squares * clusters.Count / (clusters.Count - 1)) / tokens;
    }

    private static Cluster Sum(List<Cluster> clusters)
    {
        Cluster sum = default;
        foreach (Cluster cluster in clusters)
        {
            sum += cluster;
        }

        return sum;
    }

    /// <summary>Inputs Begin to End - 1 of a document; targets from FirstScored on count.</summary>
    private readonly record struct Window(int[] Ids, int Document, int Begin, int End, int FirstScored)
    {
        public int Rows => End - Begin;
    }

    private readonly record struct Cluster(double Loss, long Tokens)
    {
        public static Cluster operator +(Cluster left, Cluster right) => new(left.Loss + right.Loss, left.Tokens + right.Tokens);
    }
}
