using System.Text.Json;
using MoeSharp.Moe.Routing;
using MoeSharp.Tensors;

namespace MoeSharp.Model.Routers;

/// <summary>How the experts of a token id are found.</summary>
public enum HashTableKind
{
    /// <summary>At random, all different (hash_table: random).</summary>
    Random,

    /// <summary>So that experts get about equally many tokens of the training text (balanced); one expert per token.</summary>
    Balanced,

    /// <summary>At random, one of each of num_experts_per_tok equal segments of the experts (multi).</summary>
    Multi,
}

/// <summary>A fixed table from token id to expert (Hash Layers, arXiv 2106.04426); not trained.</summary>
public sealed record HashRouterConfig : RouterConfig
{
    internal const string Kind = "hash";

    // Name in config.json -> meaning.
    private static readonly (string Name, HashTableKind Kind)[] s_tables = [("random", HashTableKind.Random), ("balanced", HashTableKind.Balanced), ("multi", HashTableKind.Multi)];

    private readonly ValueList<int> _entries = ValueList<int>.Empty;

    /// <inheritdoc/>
    public override string Name => Kind;

    /// <inheritdoc/>
    public override bool HasScores => false;

    /// <summary>How the table is made (hash_table).</summary>
    public HashTableKind Table { get; init; }

    /// <summary>Whether the token before decides instead of the token itself (hash_input: previous_token).</summary>
    public bool UsesPreviousToken { get; init; }

    /// <summary>What stands before the first token of a text (boundary_token_id).</summary>
    public int BoundaryTokenId { get; init; }

    /// <summary>Expert of each token id in a balanced table (hash_table_entries); empty until a training run has counted its text.</summary>
    public IReadOnlyList<int> Entries
    {
        get => _entries;
        init => _entries = new ValueList<int>(value);
    }

    /// <summary>Whether a balanced table has yet to be made.</summary>
    public bool NeedsFrequencies => Table == HashTableKind.Balanced && Entries.Count == 0;

    internal static RouterConfig ReadSettings(ConfigReader section)
    {
        string table = section.OneOf("hash_table", "random", [.. s_tables.Select(row => row.Name)]);
        HashTableKind kind = Array.Find(s_tables, row => row.Name == table).Kind;
        bool usesPrevious = section.OneOf("hash_input", "token", "token", "previous_token") == "previous_token";
        return new HashRouterConfig
        {
            Table = kind,
            UsesPreviousToken = usesPrevious,
            BoundaryTokenId = usesPrevious ? section.Int("boundary_token_id", 0) : 0,
            Entries = kind == HashTableKind.Balanced ? section.Ints("hash_table_entries") ?? [] : [],
        };
    }

    internal override void Write(Utf8JsonWriter writer)
    {
        writer.WriteString("hash_table", Array.Find(s_tables, row => row.Kind == Table).Name);
        writer.WriteString("hash_input", UsesPreviousToken ? "previous_token" : "token");
        if (UsesPreviousToken)
        {
            writer.WriteNumber("boundary_token_id", BoundaryTokenId);
        }

        if (Entries.Count == 0)
        {
            return;
        }

        writer.WritePropertyName("hash_table_entries");
        writer.WriteRawValue($"[{string.Join(',', Entries)}]"); // in one line: there is an entry for every token of the vocabulary
    }

    internal override IReadOnlyList<RouterWeight> Weights(ModelConfig config, MoeConfig moe) => [];

    internal override void AddProblems(ModelConfig config, MoeConfig moe, List<string> problems)
    {
        if (Table == HashTableKind.Balanced && moe.TopK != 1)
        {
            problems.Add($"hash_table 'balanced' has one expert per token, num_experts_per_tok is {moe.TopK}: further tables balanced by the same frequencies would all be the same; set it to 1, or use 'random' or 'multi'");
        }

        if (Table == HashTableKind.Multi && moe.TopK > 0 && moe.NumExperts % moe.TopK != 0)
        {
            problems.Add($"hash_table 'multi' takes one expert of each of num_experts_per_tok {moe.TopK} equal segments, which does not divide n_routed_experts {moe.NumExperts}");
        }

        if (Entries.Count > 0 && Entries.Count != config.VocabSize)
        {
            problems.Add($"hash_table_entries has {Entries.Count} entries for a vocabulary of {config.VocabSize}; remove it, and training makes the table");
        }

        if (Entries.Any(expert => expert < 0 || expert >= moe.NumExperts))
        {
            problems.Add($"hash_table_entries names an expert outside 0..{moe.NumExperts - 1}");
        }

        if (UsesPreviousToken && (BoundaryTokenId < 0 || BoundaryTokenId >= config.VocabSize))
        {
            problems.Add($"boundary_token_id {BoundaryTokenId} is outside the vocabulary 0..{config.VocabSize - 1}");
        }
    }

    internal override IRouter Build(MoePlace place, MoeConfig moe)
    {
        IHashTable table = Table switch
        {
            HashTableKind.Random => new RandomHashTable(place.Layer, moe.NumExperts),
            HashTableKind.Multi => new SegmentedHashTable(place.Layer, moe.NumExperts),
            _ when NeedsFrequencies => throw new ConfigurationException("the balanced hash table of this model is not made yet: moe train counts the tokens of its text and writes hash_table_entries. Train the model, or use hash_table 'random'."),
            _ => new ListedHashTable(Entries, Entries.Count),
        };
        return Over(table, moe, moe.ScalingOf(place.Layer));
    }

    /// <summary>The router over a table.</summary>
    internal IRouter Over(IHashTable table, MoeConfig moe, float scale) => new HashRouter(table, UsesPreviousToken ? BoundaryTokenId : null, moe.NumExperts, moe.TopK, scale);
}
