using System.Text.Json;

namespace MoeSharp.Training.Report;

/// <summary>What a run's page shows; a list that is empty leaves its section out.</summary>
public sealed record ReportContent
{
    /// <summary>Heading.</summary>
    public required string Title { get; init; }

    /// <summary>One line below the heading: model, data, machine.</summary>
    public required string Subtitle { get; init; }

    /// <summary>Headline figures.</summary>
    public IReadOnlyList<ReportTile> Tiles { get; init; } = [];

    /// <summary>Sentences that say what came out.</summary>
    public IReadOnlyList<string> Findings { get; init; } = [];

    /// <summary>Runs to draw; the first is the one that the page is about.</summary>
    public required IReadOnlyList<ReportRun> Runs { get; init; }

    /// <summary>Horizontal lines in the chart of bits per byte.</summary>
    public IReadOnlyList<ReportBaseline> Baselines { get; init; } = [];

    /// <summary>Texts that the model wrote.</summary>
    public IReadOnlyList<ReportSample> Samples { get; init; } = [];

    /// <summary>Tables, in order.</summary>
    public IReadOnlyList<ReportTable> Tables { get; init; } = [];

    /// <summary>Commands to go on with.</summary>
    public IReadOnlyList<string> Commands { get; init; } = [];
}

/// <summary>A figure with its meaning.</summary>
public readonly record struct ReportTile(string Value, string Meaning);

/// <summary>A horizontal line.</summary>
public readonly record struct ReportBaseline(string Name, double Value);

/// <summary>A text with the prompt that it continues.</summary>
public readonly record struct ReportSample(string Domain, string Prompt, string Continuation);

/// <summary>A run's lines of metrics.jsonl.</summary>
/// <param name="Name">Legend text.</param>
/// <param name="Lines">Lines, as <see cref="MetricsLog.Read"/> returns them.</param>
public sealed record ReportRun(string Name, IReadOnlyList<JsonElement> Lines)
{
    /// <summary>Lines of loads.jsonl, as <see cref="LoadLog.Read"/> returns them.</summary>
    public IReadOnlyList<JsonElement> Loads { get; init; } = [];
}

/// <summary>A table; columns whose heading ends in '#' are numbers and align right.</summary>
public sealed record ReportTable(string Title, string Note, IReadOnlyList<string> Headings, IReadOnlyList<IReadOnlyList<string>> Rows);
