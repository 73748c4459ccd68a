using System.Globalization;
using System.Text;

namespace MoeSharp.Data;

/// <summary>Encodes passages in order and hands each to the shard of its split.</summary>
internal sealed class SplitEncoding(ITextEncoder encoder, string folder, SplitPlan plan, int maximumDomains) : IDisposable
{
    private readonly ShardWriter _train = new(folder, "train", encoder.VocabSize);
    private readonly ShardWriter _validation = new(folder, "validation", encoder.VocabSize);
    private readonly ByteCounts _trainCounts = new();
    private readonly ByteCounts _validationCounts = new();
    private readonly Dictionary<string, int> _domains = new(StringComparer.Ordinal) { [""] = 0 };
    private readonly List<int> _tokens = [];
    private readonly List<string> _warnings = [];
    private int _document;
    private long _documentBytes;
    private bool _isCut;

    /// <summary>Bytes of text encoded.</summary>
    public long DoneBytes { get; private set; }

    /// <summary>Encodes a passage.</summary>
    public void Add(TextPassage passage)
    {
        if (_document >= plan.NumDocuments)
        {
            throw Changed();
        }

        if (plan.CutByte == 0)
        {
            Encode(passage.Utf8.Span, plan.IsValidation(_document), passage.BeginsDocument, passage.EndsDocument, passage.Domain);
        }
        else
        {
            AddOfSingle(passage);
        }

        DoneBytes += passage.Utf8.Length;
        _documentBytes += passage.Utf8.Length;
        if (passage.EndsDocument)
        {
            _document++;
            _documentBytes = 0;
        }
    }

    /// <summary>Writes both shards and describes them.</summary>
    /// <exception cref="ConfigurationException">A split has nothing to predict.</exception>
    public DatasetManifest Finish(string recipe, long builtTicks, IReadOnlyList<BuiltSource> sources, IReadOnlyList<string> warnings, DatasetOptions options)
    {
        if (_document != plan.NumDocuments || DoneBytes != plan.NumBytes)
        {
            throw Changed();
        }

        RequireTargets(_train, "training");
        RequireTargets(_validation, "validation");
        WarnOfSplit(options);
        NGramBaselines baselines = NGramBaselines.Measure(_trainCounts, _validationCounts);
        return new DatasetManifest
        {
            Version = DatasetManifest.CurrentVersion,
            Recipe = recipe,
            BuiltTicks = builtTicks,
            Sources = sources,
            Domains = [.. _domains.OrderBy(pair => pair.Value).Select(pair => pair.Key)],
            Train = _train.Finish(folder, "train"),
            Validation = _validation.Finish(folder, "validation"),
            UnigramBitsPerByte = baselines.UnigramBitsPerByte,
            BigramBitsPerByte = baselines.BigramBitsPerByte,
            Warnings = [.. warnings, .. _warnings],
        };
    }

    /// <summary>Deletes what was not finished.</summary>
    public void Dispose()
    {
        _train.Dispose();
        _validation.Dispose();
    }

    private static ConfigurationException Changed() => new("the data changed while it was being read; run again when nothing writes to it");

    /// <summary>A single document is cut in two, so that its end is for validation.</summary>
    private void AddOfSingle(TextPassage passage)
    {
        ReadOnlySpan<byte> text = passage.Utf8.Span;
        int cut = _isCut ? -1 : plan.CutWithin(passage, _documentBytes);
        if (cut < 0)
        {
            Encode(text, _isCut, passage.BeginsDocument, passage.EndsDocument, passage.Domain);
            return;
        }

        if (cut > 0 || passage.BeginsDocument)
        {
            Encode(text[..cut], isValidation: false, passage.BeginsDocument, endsDocument: false, passage.Domain);
        }

        Encode(text[cut..], isValidation: true, beginsDocument: true, passage.EndsDocument, passage.Domain);
        _isCut = true;
        _warnings.Add("the data is a single document, so its end is used for validation; give more documents, or a separator line, for a split by document");
    }

    private void Encode(ReadOnlySpan<byte> text, bool isValidation, bool beginsDocument, bool endsDocument, string domain)
    {
        _tokens.Clear();
        if (beginsDocument && (encoder.TaskToken(domain) ?? encoder.BeginToken) is { } begin)
        {
            _tokens.Add(begin);
        }

        encoder.Encode(text, _tokens);
        if (endsDocument && encoder.EndToken is { } end)
        {
            _tokens.Add(end);
        }

        if (_tokens.Count == 0 && beginsDocument)
        {
            throw text.IsEmpty
                ? TooSmall(isValidation ? "validation" : "training")
                : new ConfigurationException($"the tokenizer gives no token for '{Encoding.UTF8.GetString(text[..Math.Min(text.Length, 40)])}'; use a tokenizer that covers the text");
        }

        ShardWriter shard = isValidation ? _validation : _train;
        shard.Add(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_tokens), text.Length, NumberOf(domain), beginsDocument, endsDocument);
        (isValidation ? _validationCounts : _trainCounts).Add(text, beginsDocument, endsDocument);
    }

    private int NumberOf(string domain)
    {
        if (_domains.TryGetValue(domain, out int number))
        {
            return number;
        }

        if (_domains.Count >= maximumDomains)
        {
            string warning = $"the data names more than {maximumDomains - 1} domains; the others are counted as none";
            if (!_warnings.Contains(warning))
            {
                _warnings.Add(warning);
            }

            return 0;
        }

        return _domains[domain] = _domains.Count;
    }

    private void RequireTargets(ShardWriter shard, string name)
    {
        if (shard.NumTokens <= shard.NumDocuments)
        {
            throw TooSmall(name);
        }
    }

    private ConfigurationException TooSmall(string name) =>
        new($"the data is too small: {plan.NumBytes} bytes leave nothing to predict for {name}; give at least a few kilobytes of text");

    private void WarnOfSplit(DatasetOptions options)
    {
        const double Tolerance = 2; // arbitrary: below it nobody needs to look
        double share = (double)_validation.NumBytes / plan.NumBytes;
        if (plan.CutByte == 0 && (share > Tolerance * options.ValidationFraction || share < options.ValidationFraction / Tolerance))
        {
            _warnings.Add(string.Create(
                CultureInfo.InvariantCulture,
                $"documents differ much in size: {share:P1} of the text is for validation where {options.ValidationFraction:P1} was asked for ({_validation.NumDocuments} of {plan.NumDocuments} documents)"));
        }
    }
}
