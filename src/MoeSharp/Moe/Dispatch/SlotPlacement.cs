using MoeSharp.Kernels;

namespace MoeSharp.Moe.Dispatch;

/// <summary>Gives slots places at experts that have only so many. Pure functions over one group of tokens; a slot is one token's choice of one expert.</summary>
public static class SlotPlacement
{
    private const int WeightBits = 32;

    /// <summary>The order in which slots ask for places.</summary>
    /// <param name="policy">Who comes first; not <see cref="DropPolicy.Reroute"/>.</param>
    /// <param name="weights">Routing weight of each slot, [tokens * topK].</param>
    /// <param name="topK">Slots per token.</param>
    /// <param name="keys">Scratch, [tokens * topK].</param>
    /// <param name="order">= slots in order, [tokens * topK].</param>
    public static void Order(DropPolicy policy, ReadOnlySpan<float> weights, int topK, Span<long> keys, Span<int> order)
    {
        int slots = weights.Length;
        if (policy is DropPolicy.Probability or DropPolicy.BatchPrioritized)
        {
            OrderByWeight(policy == DropPolicy.BatchPrioritized, weights, topK, keys[..slots], order[..slots]);
            return;
        }

        if (policy == DropPolicy.SlotMajor)
        {
            OrderByChoice(slots, topK, order);
            return;
        }

        for (int slot = 0; slot < slots; slot++)
        {
            order[slot] = slot;
        }
    }

    /// <summary>All first choices in order of tokens, then all second ones (GShard).</summary>
    /// <param name="slots">Slots.</param>
    /// <param name="topK">Slots per token.</param>
    /// <param name="order">= slots in order, at least as many.</param>
    public static void OrderByChoice(int slots, int topK, Span<int> order)
    {
        int place = 0;
        for (int choice = 0; choice < topK; choice++)
        {
            for (int slot = choice; slot < slots; slot += topK)
            {
                order[place++] = slot;
            }
        }
    }

    /// <summary>Serves the slots in an order, each expert until its places are taken.</summary>
    /// <param name="order">Slots, the first to be served first.</param>
    /// <param name="expertIds">Expert of each slot; negative where there is none, [slots].</param>
    /// <param name="places">Places of an expert.</param>
    /// <param name="taken">Scratch: places taken, [experts].</param>
    /// <param name="positions">= place of each slot at its expert, from 0; -1 where it has none, [slots].</param>
    public static void Serve(ReadOnlySpan<int> order, ReadOnlySpan<int> expertIds, int places, Span<int> taken, Span<int> positions)
    {
        taken.Clear();
        positions.Fill(-1);
        foreach (int slot in order)
        {
            int expert = expertIds[slot];
            if (expert >= 0 && taken[expert] < places)
            {
                positions[slot] = taken[expert]++;
            }
        }
    }

    /// <summary>Offers every token without a place to its next best expert, round by round, in order of tokens. The first round goes by the router's own choice.</summary>
    /// <param name="scores">[tokens * experts].</param>
    /// <param name="numExperts">Experts.</param>
    /// <param name="places">Places of an expert.</param>
    /// <param name="maxRounds">Experts that a token is offered to at most.</param>
    /// <param name="scratch">Overwritten.</param>
    /// <param name="placed">Experts on entry: the router's choice, negative for a token that asks for nothing. = expert, place and round of each token; -1 where it has none.</param>
    public static void Reroute(ReadOnlySpan<float> scores, int numExperts, int places, int maxRounds, in RerouteScratch scratch, in TokenPlaces placed)
    {
        Span<int> wanted = scratch.Wanted;
        Span<int> offered = scratch.Offered;
        Span<int> taken = scratch.Taken;
        taken.Clear();
        placed.ExpertIds.CopyTo(wanted);
        placed.ExpertIds.Fill(-1);
        placed.Positions.Fill(-1);
        placed.Rounds.Fill(-1);
        offered.Fill(-1);
        for (int round = 0; round < Math.Min(maxRounds, numExperts); round++)
        {
            for (int token = 0; token < wanted.Length; token++)
            {
                if (placed.ExpertIds[token] >= 0 || wanted[token] < 0)
                {
                    continue;
                }

                int expert = wanted[token];
                if (round > 0)
                {
                    offered[token] = expert = NextBest(scores.Slice(token * numExperts, numExperts), offered[token], wanted[token]);
                }

                if (expert >= 0 && taken[expert] < places)
                {
                    (placed.ExpertIds[token], placed.Positions[token], placed.Rounds[token]) = (expert, taken[expert]++, round);
                }
            }
        }
    }

    /// <summary>Drops the slots with the smallest weights of each device until it keeps within its budget; those of protected tokens never.</summary>
    /// <param name="weights">Routing weight of each slot, [slots].</param>
    /// <param name="topK">Slots per token.</param>
    /// <param name="deviceOf">Device of each expert.</param>
    /// <param name="budget">Slots that a device keeps.</param>
    /// <param name="isProtected">Tokens whose slots are kept, [tokens]; empty for none.</param>
    /// <param name="keys">Scratch, [slots].</param>
    /// <param name="order">Scratch, [slots].</param>
    /// <param name="counts">Scratch, [devices].</param>
    /// <param name="expertIds">Expert of each slot; = -1 where dropped, [slots].</param>
    public static void DropByDevice(
        ReadOnlySpan<float> weights, int topK, ReadOnlySpan<int> deviceOf, int budget, ReadOnlySpan<bool> isProtected, Span<long> keys, Span<int> order, Span<int> counts, Span<int> expertIds)
    {
        counts.Clear();
        foreach (int expert in expertIds)
        {
            if (expert >= 0)
            {
                counts[deviceOf[expert]]++;
            }
        }

        Order(DropPolicy.Probability, weights, topK, keys, order);
        for (int index = order.Length - 1; index >= 0; index--)
        {
            int slot = order[index];
            bool isKept = expertIds[slot] < 0 || (isProtected.Length > 0 && isProtected[slot / topK]);
            if (!isKept && counts[deviceOf[expertIds[slot]]] > budget)
            {
                counts[deviceOf[expertIds[slot]]]--;
                expertIds[slot] = -1;
            }
        }
    }

    // The slot itself is the last part of its key: keys differ, so any sort gives the same order.
    private static void OrderByWeight(bool byToken, ReadOnlySpan<float> weights, int topK, Span<long> keys, Span<int> order)
    {
        int slotBits = BitsOf(keys.Length);
        if (WeightBits + BitsOf(topK) + slotBits > 63)
        {
            ShapeException.Throw("SlotPlacement.Order", nameof(weights), "fewer slots than a key holds", $"[{keys.Length}]");
        }

        for (int slot = 0; slot < keys.Length; slot++)
        {
            long choice = byToken ? slot % topK : 0; // all first choices before any second one
            float weight = byToken ? Largest(weights.Slice(slot / topK * topK, topK)) : weights[slot];
            keys[slot] = (((choice << WeightBits) + Falling(weight)) << slotBits) | (long)slot;
        }

        keys.Sort();
        for (int place = 0; place < keys.Length; place++)
        {
            order[place] = (int)(keys[place] & ((1L << slotBits) - 1));
        }
    }

    private static int BitsOf(int count) => 32 - int.LeadingZeroCount(Math.Max(1, count));

    // 32 bits that are smaller for larger weights.
    private static long Falling(float weight)
    {
        int bits = BitConverter.SingleToInt32Bits(weight);
        uint rising = bits < 0 ? ~(uint)bits : (uint)bits | 0x80000000u;
        return ~rising;
    }

    private static float Largest(ReadOnlySpan<float> values)
    {
        float largest = values[0];
        foreach (float value in values)
        {
            largest = Math.Max(largest, value);
        }

        return largest;
    }

    // The best expert after the previous one in the falling order of scores, the lower index first where equal, one left out; -1 where none is left.
    private static int NextBest(ReadOnlySpan<float> scores, int previous, int leftOut)
    {
        int best = -1;
        for (int expert = 0; expert < scores.Length; expert++)
        {
            bool isLater = previous < 0 || scores[expert] < scores[previous] || (scores[expert] == scores[previous] && expert > previous);
            if (expert != leftOut && isLater && (best < 0 || scores[expert] > scores[best]))
            {
                best = expert;
            }
        }

        return best;
    }
}

/// <summary>Memory that offering tokens to other experts needs.</summary>
public readonly ref struct RerouteScratch
{
    /// <summary>Expert that the router chose, [tokens].</summary>
    public required Span<int> Wanted { get; init; }

    /// <summary>Expert that a token was offered to last, [tokens].</summary>
    public required Span<int> Offered { get; init; }

    /// <summary>Places taken, [experts].</summary>
    public required Span<int> Taken { get; init; }
}

/// <summary>Where tokens with one expert each went.</summary>
public readonly ref struct TokenPlaces
{
    /// <summary>Expert of each token.</summary>
    public required Span<int> ExpertIds { get; init; }

    /// <summary>Place at the expert.</summary>
    public required Span<int> Positions { get; init; }

    /// <summary>Round in which it was found, from 0.</summary>
    public required Span<int> Rounds { get; init; }
}
