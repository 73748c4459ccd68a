using MoeSharp.Execution;

namespace MoeSharp.Analysis.Study;

/// <summary>A document whose every choice is kept, for a page that shows them token by token.</summary>
/// <param name="Document">Index of the document.</param>
/// <param name="NumTokens">Tokens kept, from its beginning.</param>
/// <param name="TopK">Slots per token.</param>
/// <param name="ExpertIds">Chosen experts, [layers][tokens * top_k].</param>
/// <param name="RoutingWeights">Their weights, [layers][tokens * top_k].</param>
public sealed record TokenSample(int Document, int NumTokens, int TopK, int[][] ExpertIds, float[][] RoutingWeights);

/// <summary>Keeps the choices of the first tokens of a few documents, one of each domain first.</summary>
public sealed class TokenSamples
{
    private const int MostDocuments = 8;
    private const int MostTokens = 160; // of a document: a screenful
    private const int MostEntries = 250_000; // tokens x layers x slots of all: about 2 MB in a page

    private readonly StudyText _text;
    private readonly int _layers;
    private readonly int[] _documents;
    private readonly Dictionary<int, TokenSample> _samples = [];
    private IReadOnlyList<StudyWindow> _windows = [];
    private int _entries;

    internal TokenSamples(StudyText text, int layers)
    {
        (_text, _layers) = (text, layers);
        _documents = [.. Enumerable.Range(0, text.Documents.Count)
            .GroupBy(text.DomainOf)
            .SelectMany(domain => domain.Select((document, place) => (Document: document, Place: place)))
            .OrderBy(item => item.Place).ThenBy(item => item.Document)
            .Select(item => item.Document)
            .Take(Math.Min(MostDocuments, Math.Max(3, text.Domains.Length)))];
    }

    /// <summary>What was kept, in order of the documents chosen.</summary>
    public IReadOnlyList<TokenSample> All => [.. _documents.Where(_samples.ContainsKey).Select(document => _samples[document])];

    internal void BeginPass(IReadOnlyList<StudyWindow> windows) => _windows = windows;

    internal void Add(in MoeView view, int layer)
    {
        int row = 0;
        foreach (StudyWindow window in _windows)
        {
            if (window.Begin == 0 && _documents.Contains(window.Document))
            {
                Add(view, layer, window, row);
            }

            row += window.Rows;
        }
    }

    private void Add(in MoeView view, int layer, StudyWindow window, int row)
    {
        if (!_samples.TryGetValue(window.Document, out TokenSample? sample))
        {
            int tokens = Math.Min(window.Rows, MostTokens);
            if (_entries > 0 && _entries + (tokens * _layers * view.TopK) > MostEntries)
            {
                return;
            }

            _entries += tokens * _layers * view.TopK;
            sample = new TokenSample(window.Document, tokens, view.TopK, new int[_layers][], new float[_layers][]);
            _samples.Add(window.Document, sample);
        }

        if (sample.TopK != view.TopK)
        {
            throw new InvalidOperationException($"layer {view.Layer} has {view.TopK} slots per token, the layers before it {sample.TopK}");
        }

        sample.ExpertIds[layer] = view.ExpertIds.Slice(row * view.TopK, sample.NumTokens * view.TopK).ToArray();
        sample.RoutingWeights[layer] = view.RoutingWeights.Slice(row * view.TopK, sample.NumTokens * view.TopK).ToArray();
    }
}
