namespace MoeSharp.Moe.Dispatch;

/// <summary>Hands out places at experts that take only so many tokens.</summary>
/// <remarks>The order of Mesh TensorFlow's GShard: every first choice is placed before any second choice, within a choice in order of tokens.</remarks>
public static class ExpertPlaces
{
    /// <summary>Places the slots of tokens that share the experts' places; slots without a place lose their expert.</summary>
    /// <param name="expertIds">Expert of each slot, -1 for none, [tokens * topK]; slots that find no place and those of padding become -1.</param>
    /// <param name="topK">Slots per token.</param>
    /// <param name="capacity">Places per expert.</param>
    /// <param name="isPadding">Tokens that take no place, [tokens]; empty for none.</param>
    /// <param name="taken">= places taken of each expert, [experts].</param>
    /// <param name="positions">= place of each slot at its expert, from 0, -1 where it has none, [tokens * topK].</param>
    public static void AssignByChoice(Span<int> expertIds, int topK, int capacity, ReadOnlySpan<bool> isPadding, Span<int> taken, Span<int> positions)
    {
        taken.Clear();
        for (int choice = 0; choice < topK; choice++)
        {
            for (int slot = choice; slot < expertIds.Length; slot += topK)
            {
                int expert = expertIds[slot];
                bool isPlaced = expert >= 0 && (isPadding.IsEmpty || !isPadding[slot / topK]) && taken[expert] < capacity;
                positions[slot] = isPlaced ? taken[expert]++ : -1;
                expertIds[slot] = isPlaced ? expert : -1;
            }
        }
    }
}
