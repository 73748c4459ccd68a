using System.Globalization;
using MoeSharp.Data;

namespace MoeSharp.Training.Comparison;

/// <summary>Opens what the models of a comparison learn; every corpus once, for all runs.</summary>
/// <param name="folder">Where tokens of texts are kept.</param>
/// <param name="userText">Files, folders or globs of the user's text, for corpora of kind text.</param>
/// <param name="report">Told what is being done.</param>
/// <param name="cancellation">Stops the preparation of a text.</param>
public sealed class ComparisonSources(string folder, IReadOnlyList<string> userText, Action<string> report, CancellationToken cancellation) : IDisposable
{
    private readonly Dictionary<string, ITrainingSource> _sources = [];

    /// <summary>Opens a corpus, or gives it again.</summary>
    /// <exception cref="ConfigurationException">The user's text is not given, or is none.</exception>
    public ITrainingSource Open(ComparisonCorpus corpus)
    {
        if (_sources.TryGetValue(corpus.Name, out ITrainingSource? opened))
        {
            return opened;
        }

        ITrainingSource source = corpus.Language is { } language
            ? new TrainingLanguage(language, corpus.Settings, corpus.ValidationLines)
            : OpenText(corpus);
        _sources.Add(corpus.Name, source);
        return source;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (IDisposable source in _sources.Values.OfType<IDisposable>())
        {
            source.Dispose();
        }
    }

    private TrainingText OpenText(ComparisonCorpus corpus)
    {
        if (corpus.IsUsersText && userText.Count == 0)
        {
            throw new ConfigurationException($"corpus {corpus.Name} is your own text. Say which with --data FILES.");
        }

        IDocumentSource documents = corpus.IsUsersText
            ? TextSources.Expand(userText, new TextSourceOptions())
            : new DocumentList(SyntheticCorpus.Generate(corpus.Seed, corpus.EmbeddedBytes), string.Create(CultureInfo.InvariantCulture, $"embedded corpus, seed {corpus.Seed}"));
        return TrainingText.Prepare(documents, null, new DatasetConfig { VocabSize = corpus.VocabSize }, folder, report, cancellation);
    }
}
