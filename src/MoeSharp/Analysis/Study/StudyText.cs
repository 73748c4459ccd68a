using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Training;

namespace MoeSharp.Analysis.Study;

/// <summary>A document as a model reads it.</summary>
/// <param name="Inputs">Tokens read, in order.</param>
/// <param name="Targets">What each row should predict; -1 where it is not asked. As long as <paramref name="Inputs"/>.</param>
/// <param name="Domain">Kind of text; empty where unknown.</param>
/// <param name="Bytes">Bytes of text that the targets spell; 0 for token ids that spell nothing.</param>
public sealed record StudyDocument(int[] Inputs, int[] Targets, string Domain, long Bytes)
{
    /// <summary>A running text: each token predicts the next.</summary>
    /// <param name="ids">Tokens; at least two.</param>
    /// <param name="domain">Kind of text; empty where unknown.</param>
    /// <param name="bytes">Bytes of all but the first token.</param>
    public static StudyDocument Of(int[] ids, string domain, long bytes) => new(ids[..^1], ids[1..], domain, bytes);

    /// <summary>Held-out lines of a generated language, each a document that is scored where it can be predicted.</summary>
    /// <param name="truth">Lines.</param>
    public static IReadOnlyList<StudyDocument> Lines(HeldOutTruth truth)
    {
        List<StudyDocument> documents = [];
        for (int index = 0; index < truth.NumLines; index++)
        {
            int[] line = truth.Line(index).ToArray();
            int[] targets = line[1..];
            targets.AsSpan(0, truth.Language.FirstTarget - 1).Fill(-1);
            documents.Add(new StudyDocument(line[..^1], targets, truth.Language.Name, 0));
        }

        return documents;
    }
}

/// <summary>Rows of a document that go through the model together.</summary>
/// <param name="Document">Index of the document.</param>
/// <param name="Begin">First row.</param>
/// <param name="End">Row after the last.</param>
/// <param name="FirstScored">Rows before this one are context only: an earlier window has scored them.</param>
public readonly record struct StudyWindow(int Document, int Begin, int End, int FirstScored)
{
    /// <summary>Rows.</summary>
    public int Rows => End - Begin;
}

/// <summary>The text of a study, cut once into the passes that every experiment repeats: every row counts once, and all experiments see the same rows.</summary>
public sealed class StudyText
{
    private readonly List<StudyWindow[]> _passes = [];
    private readonly int[] _domains; // by document
    private readonly int[] _halves; // by document: alternate documents of a domain

    /// <summary>Cuts documents into windows and windows into passes.</summary>
    /// <param name="documents">Documents with at least one row each.</param>
    /// <param name="contextLength">Most rows of a window.</param>
    /// <param name="stride">Rows that the window moves on.</param>
    /// <param name="rowsPerPass">Rows that go through the model at once.</param>
    /// <exception cref="ConfigurationException">There is nothing to score.</exception>
    public StudyText(IReadOnlyList<StudyDocument> documents, int contextLength, int stride, int rowsPerPass)
    {
        Documents = documents;
        Domains = [.. documents.Select(document => document.Domain).Distinct()];
        _domains = [.. documents.Select(document => Array.IndexOf(Domains, document.Domain))];
        int[] seen = new int[Domains.Length];
        _halves = [.. _domains.Select(domain => seen[domain]++ % 2)];
        List<StudyWindow> pass = [];
        for (int document = 0; document < documents.Count; document++)
        {
            Cut(document, contextLength, stride, rowsPerPass, pass);
        }

        _passes.Add([.. pass]);
        NumScored = documents.Sum(document => document.Targets.LongCount(target => target >= 0));
        NumBytes = documents.Sum(document => document.Bytes);
        if (NumScored == 0)
        {
            throw new ConfigurationException("the texts hold no token to predict. Give texts with at least two tokens.");
        }
    }

    /// <summary>The documents.</summary>
    public IReadOnlyList<StudyDocument> Documents { get; }

    /// <summary>Kinds of text, in order of appearance.</summary>
    public string[] Domains { get; }

    /// <summary>Passes through the model.</summary>
    public int NumPasses => _passes.Count;

    /// <summary>Rows with a target.</summary>
    public long NumScored { get; }

    /// <summary>Bytes that the targets spell; 0 where they spell nothing.</summary>
    public long NumBytes { get; }

    /// <summary>Index of a document's domain.</summary>
    public int DomainOf(int document) => _domains[document];

    /// <summary>0 or 1, in turn within a domain: two halves that differ by chance alone.</summary>
    public int HalfOf(int document) => _halves[document];

    /// <summary>The windows of a pass, in the order of their rows.</summary>
    public IReadOnlyList<StudyWindow> Windows(int pass) => _passes[pass];

    /// <summary>Fills a batch with a pass.</summary>
    /// <param name="pass">Which.</param>
    /// <param name="batch">= its rows, each window a segment of its own.</param>
    public void Fill(int pass, TokenBatch batch)
    {
        StudyWindow[] windows = _passes[pass];
        int rows = windows.Sum(window => window.Rows);
        batch.Resize(rows, rows);
        int row = 0;
        foreach (StudyWindow window in windows)
        {
            StudyDocument document = Documents[window.Document];
            batch.AddSegment(new AttentionSegment(row, window.Rows, row, window.Rows), 0);
            document.Inputs.AsSpan(window.Begin, window.Rows).CopyTo(batch.TokenIds[row..]);
            int context = window.FirstScored - window.Begin;
            document.Targets.AsSpan(window.FirstScored, window.End - window.FirstScored).CopyTo(batch.Targets[(row + context)..]);
            row += window.Rows;
        }
    }

    private void Cut(int document, int contextLength, int stride, int rowsPerPass, List<StudyWindow> pass)
    {
        int rows = Documents[document].Inputs.Length;
        int scored = 0;
        for (int begin = 0; scored < rows; begin += stride)
        {
            int end = Math.Min(begin + contextLength, rows);
            if (pass.Sum(window => window.Rows) + end - begin > rowsPerPass && pass.Count > 0)
            {
                _passes.Add([.. pass]);
                pass.Clear();
            }

            pass.Add(new StudyWindow(document, begin, end, scored));
            scored = end;
        }
    }
}
