using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    /// <summary>The chance of each expert to be among a token's k best if the noise on its own logit were drawn anew: what a load is made of that has a gradient.</summary>
    /// <remarks>P(x, i) of Shazeer et al., arXiv 1701.06538, equations 8 and 9. The bar that a logit must pass moves with the noisy logits, also in the gradient.</remarks>
    /// <param name="clean">Logits without noise, [tokens, experts].</param>
    /// <param name="noisy">Logits with noise, [tokens, experts].</param>
    /// <param name="deviation">Standard deviations of the noise, [tokens, experts].</param>
    /// <param name="topK">Experts per token; fewer than there are.</param>
    /// <param name="context">Context.</param>
    /// <returns>[tokens, experts].</returns>
    public static Tensor ChoiceChances(Tensor clean, Tensor noisy, Tensor deviation, int topK, ForwardContext context)
    {
        (int tokens, int experts, int length) = (clean.Rows, clean.Columns, clean.Rows * (topK + 1));
        int[] best = context.Indices.Rent(length);
        TopK.Select(context.Workers, tokens, experts, topK + 1, noisy.Data, best.AsSpan(0, length));
        Tensor chances = context.Pool.Rent(clean.Shape); // [tokens, experts]
        Tensor z = context.Pool.Rent(clean.Shape); // [tokens, experts]
        Kernels.ChoiceChances.Forward(context.Workers, experts, topK, best.AsSpan(0, length), clean.Data, noisy.Data, deviation.Data, z.Data, chances.Data);
        if (context.Tape is { } tape)
        {
            ChoiceChancesNode node = tape.Record<ChoiceChancesNode>(chances, context.Timer.Current);
            (node.Clean, node.Noisy, node.Deviation, node.Z, node.Result, node.Best, node.TopK) = (clean, noisy, deviation, z, chances, best, topK);
            node.Save(z);
            node.Save(deviation);
        }

        return chances;
    }

    private sealed class ChoiceChancesNode : TapeNode
    {
        public Tensor Clean = null!;
        public Tensor Noisy = null!;
        public Tensor Deviation = null!;
        public Tensor Z = null!;
        public Tensor Result = null!;
        public int[] Best = [];
        public int TopK;

        public override void Backward(ForwardContext context) => Kernels.ChoiceChances.Backward(
            context.Workers,
            Clean.Columns,
            TopK,
            Best.AsSpan(0, Clean.Rows * (TopK + 1)),
            Z.Data,
            Deviation.Data,
            Result.Gradient,
            GradientOf(Clean, context),
            GradientOf(Noisy, context),
            GradientOf(Deviation, context));
    }
}
