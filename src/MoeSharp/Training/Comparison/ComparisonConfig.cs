using System.Text.Json.Nodes;
using MoeSharp.Data.Synthetic;

namespace MoeSharp.Training.Comparison;

/// <summary>A table of runs: architectures, each trained on the same tokens from the same seeds; see <see cref="ComparisonConfigJson"/> for how it is read.</summary>
public sealed record ComparisonConfig
{
    /// <summary>Short name, for folders.</summary>
    public required string Name { get; init; }

    /// <summary>Heading of the report.</summary>
    public required string Title { get; init; }

    /// <summary>What the experiment asks, in a sentence.</summary>
    public required string Question { get; init; }

    /// <summary>What a reader must know about the set-up; it stands in the report as it is.</summary>
    public required IReadOnlyList<string> Notes { get; init; }

    /// <summary>Sections of a training configuration that all runs share.</summary>
    public required JsonObject Training { get; init; }

    /// <summary>Corpora, in the order of the report.</summary>
    public required IReadOnlyList<ComparisonCorpus> Corpora { get; init; }

    /// <summary>Numbers of steps; each is a run of its own, since the learning rate falls over the whole run.</summary>
    public required IReadOnlyList<long> Steps { get; init; }

    /// <summary>Seeds of weights and training lines; equal for all architectures, so that differences are paired.</summary>
    public required IReadOnlyList<ulong> Seeds { get; init; }

    /// <summary>Architectures, in the order of the report.</summary>
    public required IReadOnlyList<ComparedArchitecture> Architectures { get; init; }

    /// <summary>Name of the architecture whose parameters the others must match, and which they are compared with.</summary>
    public required string Reference { get; init; }

    /// <summary>Shares of every run after which the choices of its routers are kept, for the curve of router saturation; empty for none.</summary>
    public IReadOnlyList<double> History { get; init; } = DefaultHistory;

    /// <summary>What is kept where a file does not say: enough points for a curve, at a cost below that of a few steps.</summary>
    public static IReadOnlyList<double> DefaultHistory { get; } = [0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8];

    /// <summary>Largest share by which parameters may differ from the reference's.</summary>
    public double Tolerance { get; init; } = 0.01;
}

/// <summary>What an architecture must have in common with the reference.</summary>
public enum ParameterMatch
{
    /// <summary>Total and activated parameters.</summary>
    Both,

    /// <summary>Activated parameters; the total is another, as in a dense model.</summary>
    Activated,

    /// <summary>Total parameters; more or fewer of them are activated.</summary>
    Total,

    /// <summary>Nothing: a bound, shown beside the others.</summary>
    Nothing,
}

/// <summary>One of the architectures that are compared.</summary>
/// <param name="Name">Short name, for folders and flags.</param>
/// <param name="Title">Name in the report.</param>
/// <param name="Sections">Sections of a training configuration that are this architecture's own.</param>
/// <param name="Matches">What it has in common with the reference.</param>
/// <param name="Against">The architecture that it is compared with.</param>
public sealed record ComparedArchitecture(string Name, string Title, JsonObject Sections, ParameterMatch Matches, string Against);

/// <summary>What the models of a comparison learn: a language whose truth is known, or a text.</summary>
public sealed record ComparisonCorpus
{
    /// <summary>Short name, for folders and tables.</summary>
    public required string Name { get; init; }

    /// <summary>Settings as they stand in the file.</summary>
    public required JsonObject Settings { get; init; }

    /// <summary>The language, or null for a text.</summary>
    public KnownLanguage? Language { get; init; }

    /// <summary>Lines of an optimiser step; for languages.</summary>
    public int LinesPerStep { get; init; } = 100;

    /// <summary>Held-out lines; for languages.</summary>
    public int ValidationLines { get; init; } = 384;

    /// <summary>Bytes of the embedded corpus; 0 for other texts.</summary>
    public long EmbeddedBytes { get; init; }

    /// <summary>Seed of the embedded corpus.</summary>
    public ulong Seed { get; init; } = 1;

    /// <summary>Tokens of the tokenizer that is trained on a text; 258 are its bytes.</summary>
    public int VocabSize { get; init; } = 258;

    /// <summary>Whether the user must say which text.</summary>
    public bool IsUsersText => Language is null && EmbeddedBytes == 0;
}
