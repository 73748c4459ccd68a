namespace MoeSharp.Planning.Placement;

/// <summary>Experts of which the busiest are there several times.</summary>
/// <param name="ExpertOfSlot">Expert in each slot.</param>
/// <param name="ReplicaOfSlot">Which of its expert's replicas each slot is, from 0.</param>
/// <param name="ReplicaCount">Replicas of each expert.</param>
public sealed record ExpertReplication(IReadOnlyList<int> ExpertOfSlot, IReadOnlyList<int> ReplicaOfSlot, IReadOnlyList<int> ReplicaCount)
{
    /// <summary>Gives every expert a slot and each further slot to the expert with the largest load per replica.</summary>
    /// <remarks>The rule of DeepSeek's expert-parallel load balancer (EPLB): it minimises the largest load per replica. Equal loads: the lower index.</remarks>
    /// <param name="loads">Load of each expert.</param>
    /// <param name="numSlots">Slots; at least as many as experts.</param>
    /// <exception cref="ConfigurationException">There are fewer slots than experts.</exception>
    public static ExpertReplication Replicate(IReadOnlyList<double> loads, int numSlots)
    {
        if (numSlots < loads.Count)
        {
            throw new ConfigurationException($"{loads.Count} experts need at least as many slots, not {numSlots}");
        }

        (int[] experts, int[] replicas, int[] counts) = (new int[numSlots], new int[numSlots], new int[loads.Count]);
        for (int slot = 0; slot < numSlots; slot++)
        {
            int expert = slot < loads.Count ? slot : Busiest(loads, counts);
            (experts[slot], replicas[slot]) = (expert, counts[expert]++);
        }

        return new ExpertReplication(experts, replicas, counts);
    }

    /// <summary>The largest load of a replica when an expert's replicas share its load.</summary>
    /// <param name="loads">Load of each expert.</param>
    public double LargestLoad(IReadOnlyList<double> loads) => loads.Select((load, expert) => load / ReplicaCount[expert]).Max();

    // a / m > b / n as a n > b m: whole loads are compared without rounding
    private static int Busiest(IReadOnlyList<double> loads, int[] counts)
    {
        int busiest = 0;
        for (int expert = 1; expert < counts.Length; expert++)
        {
            if (loads[expert] * counts[busiest] > loads[busiest] * counts[expert])
            {
                busiest = expert;
            }
        }

        return busiest;
    }
}
