namespace MoeSharp.Inference;

/// <summary>Limits of an engine. None of them changes what a request writes.</summary>
public sealed record EngineOptions
{
    /// <summary>Most texts that are written at the same time; the others wait.</summary>
    public int MaxSequences { get; init; } = 16;

    /// <summary>Most rows of prompts and texts that go through the model in one pass. More read prompts faster; fewer let the texts being written wait less.</summary>
    public int ChunkTokens { get; init; } = 512;

    /// <summary>Most bytes of keys and values, and of the states that lightning attention keeps of each text.</summary>
    public long CacheBytes { get; init; } = 2L << 30;

    /// <summary>Most tokens of one text, prompt included; null for what the model's positions allow.</summary>
    public int? ContextLength { get; init; }

    /// <summary>Most requests that wait to be begun.</summary>
    public int MaxWaitingRequests { get; init; } = 256;

    /// <summary>Most prompt tokens that wait to be begun.</summary>
    public long MaxWaitingTokens { get; init; } = 1 << 20;

    /// <summary>Whether texts that begin alike share what was computed for their beginning.</summary>
    public bool SharesPrefixes { get; init; } = true;

    /// <summary>Checks every limit.</summary>
    /// <exception cref="ConfigurationException">Some are out of range; the message names all of them.</exception>
    public void Validate()
    {
        List<string> problems = [];
        Require(problems, MaxSequences >= 1, $"max-sequences {MaxSequences} must be at least 1");
        Require(problems, ChunkTokens >= 1, $"chunk {ChunkTokens} must be at least 1");
        Require(problems, CacheBytes >= 1, $"cache of {CacheBytes} bytes must be at least 1");
        Require(problems, ContextLength is null or >= 1, $"ctx {ContextLength} must be at least 1");
        Require(problems, MaxWaitingRequests >= 1, $"max-waiting-requests {MaxWaitingRequests} must be at least 1");
        Require(problems, MaxWaitingTokens >= 1, $"max-waiting-tokens {MaxWaitingTokens} must be at least 1");
        if (problems.Count > 0)
        {
            throw new ConfigurationException("engine: " + string.Join("; ", problems));
        }
    }

    private static void Require(List<string> problems, bool condition, string problem)
    {
        if (!condition)
        {
            problems.Add(problem);
        }
    }
}

/// <summary>What an engine is doing and has done.</summary>
public sealed record EngineStatistics
{
    /// <summary>Texts being written or read.</summary>
    public required int Running { get; init; }

    /// <summary>Requests waiting.</summary>
    public required int Waiting { get; init; }

    /// <summary>Pages that running texts hold.</summary>
    public required int UsedPages { get; init; }

    /// <summary>Pages remembered for texts that begin alike.</summary>
    public required int RememberedPages { get; init; }

    /// <summary>Most pages, those whose room the states of running texts take included.</summary>
    public required int MaxPages { get; init; }

    /// <summary>Bytes of keys and values held, in use or not, and of the states of running texts.</summary>
    public required long CacheBytes { get; init; }

    /// <summary>Passes through the model.</summary>
    public required long Passes { get; init; }

    /// <summary>Passes given up between two layers because nobody wanted most of their rows any more.</summary>
    public required long GivenUpPasses { get; init; }

    /// <summary>Rows that went through the model.</summary>
    public required long Rows { get; init; }

    /// <summary>Tokens written.</summary>
    public required long WrittenTokens { get; init; }

    /// <summary>Prompt tokens that were not computed again.</summary>
    public required long CachedTokens { get; init; }

    /// <summary>Texts set aside because pages ran out, and computed again later.</summary>
    public required long Preemptions { get; init; }
}
