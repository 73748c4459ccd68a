namespace MoeSharp.Kernels;

/// <summary>Head geometry of an attention call.</summary>
/// <param name="NumHeads">Query heads.</param>
/// <param name="NumKeyValueHeads">Key/value heads; divides NumHeads. Query head h reads head h / (NumHeads / NumKeyValueHeads).</param>
/// <param name="HeadDim">Width of a head's queries and keys.</param>
/// <param name="Scale">Factor on the scores, usually 1/sqrt(HeadDim).</param>
public readonly record struct AttentionHeads(int NumHeads, int NumKeyValueHeads, int HeadDim, float Scale)
{
    /// <summary>Width of a head's values; HeadDim unless set. Latent attention reads the first columns of the keys as values.</summary>
    public int ValueDim { get; init; } = HeadDim;

    /// <summary>Keys that a query sees, itself included: query i sees key j where i - j is less than this. 0 for all.</summary>
    public int Window { get; init; }

    /// <summary>Scores become cap * tanh(score / cap) after the scale; 0 for no cap.</summary>
    public float ScoreCap { get; init; }

    /// <summary>Whether this is plain causal attention, the only one that has a backward pass.</summary>
    public bool IsPlain => ValueDim == HeadDim && Window == 0 && ScoreCap == 0f;
}

/// <summary>One causal sequence: query rows and the key rows that they may see.</summary>
/// <remarks>Query i of the segment sees keys 0 to KeyCount - QueryCount + i: in training both counts are equal, with a cache there are more keys.</remarks>
/// <param name="QueryBegin">First query row.</param>
/// <param name="QueryCount">Number of query rows.</param>
/// <param name="KeyBegin">First key and value row; 0 where keys lie in the pages of a cache.</param>
/// <param name="KeyCount">Number of key rows, at least QueryCount.</param>
public readonly record struct AttentionSegment(int QueryBegin, int QueryCount, int KeyBegin, int KeyCount);
