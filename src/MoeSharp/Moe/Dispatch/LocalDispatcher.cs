using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Moe.Routing;
using MoeSharp.Ops;
using MoeSharp.Tensors;

namespace MoeSharp.Moe.Dispatch;

/// <summary>Token rows grouped by expert, with their routing weights.</summary>
/// <param name="Rows">[routed, hidden].</param>
/// <param name="RowWeights">[routed].</param>
/// <param name="Order">Where every slot went.</param>
public readonly record struct DispatchedRows(Tensor Rows, Tensor RowWeights, SlotOrder Order);

/// <summary>Dispatch within one process, every slot with an expert gets a row, whatever the load.</summary>
public sealed class LocalDispatcher
{
    /// <summary>Groups the slots of a plan by expert, stable in slot order.</summary>
    /// <param name="x">[tokens, hidden].</param>
    /// <param name="plan">Routing of these tokens.</param>
    /// <param name="context">Context.</param>
    public DispatchedRows Dispatch(Tensor x, in RoutingPlan plan, ForwardContext context)
    {
        SlotOrder order = Sort(plan.ExpertIds, plan.NumExperts, plan.TopK, context);
        return new DispatchedRows(Op.DispatchRows(x, order, context), Op.DispatchWeights(plan.RoutingWeights, order, context), order);
    }

    /// <summary>Sorts slots by expert, stable in slot order.</summary>
    /// <param name="expertIds">Expert of each slot, [tokens * slotsPerToken]; negative where it has none.</param>
    /// <param name="numExperts">Experts.</param>
    /// <param name="slotsPerToken">Slots of a token.</param>
    /// <param name="context">Context.</param>
    public SlotOrder Sort(ReadOnlySpan<int> expertIds, int numExperts, int slotsPerToken, ForwardContext context)
    {
        int[] offsets = context.Indices.Rent(numExperts + 1);
        int[] rowSlots = context.Indices.Rent(expertIds.Length);
        int[] slotRows = context.Indices.Rent(expertIds.Length);
        int[] rowTokens = context.Indices.Rent(expertIds.Length);
        Permutation.SortByExpert(expertIds, numExperts, offsets, rowSlots, slotRows);
        int numRows = offsets[numExperts];
        NameTokens(expertIds.Length / slotsPerToken, slotsPerToken, slotRows, rowTokens);
        return new SlotOrder(expertIds.Length / slotsPerToken, slotsPerToken, numRows, offsets, rowTokens, rowSlots, slotRows);
    }

    // By token instead of by row: a division for every row would cost as much as the sort.
    private static void NameTokens(int numTokens, int topK, ReadOnlySpan<int> slotRows, Span<int> rowTokens)
    {
        int slot = 0;
        for (int token = 0; token < numTokens; token++)
        {
            for (int end = slot + topK; slot < end; slot++)
            {
                if (slotRows[slot] >= 0)
                {
                    rowTokens[slotRows[slot]] = token;
                }
            }
        }
    }

    /// <summary>Sums the experts' outputs back into token rows.</summary>
    /// <param name="output">[routed, hidden], already weighted.</param>
    /// <param name="rows">What <see cref="Dispatch"/> returned.</param>
    /// <param name="context">Context.</param>
    /// <returns>[tokens, hidden].</returns>
    public Tensor Combine(Tensor output, in DispatchedRows rows, ForwardContext context) => Op.CombineRows(output, rows.Order, context);
}
