using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    /// <summary>The shared keys of latent attention: the latent normed, the rotary part copied behind it.</summary>
    /// <param name="x">[tokens, latent | rope].</param>
    /// <param name="weight">Scale of the norm, [latent].</param>
    /// <param name="epsilon">Added to the mean square.</param>
    /// <param name="context">Context.</param>
    /// <returns>[tokens, latent | rope].</returns>
    public static Tensor LatentKeys(Tensor x, Parameter weight, float epsilon, ForwardContext context)
    {
        (int rows, int stride, int latent) = (x.Rows, x.Columns, weight.Shape[0]);
        Tensor output = context.Pool.Rent(x.Shape);
        Tensor inverseRms = context.Pool.Rent(new Shape(rows));
        Kernels.RmsNorm.ForwardHeads(context.Workers, rows, 1, latent, x.Data, stride, weight.Value, epsilon, output.Data, stride, inverseRms.Data);
        Elementwise.CopyHeads(context.Workers, rows, 1, stride - latent, x.Data[latent..], stride, 0, output.Data[latent..], stride, 0);
        if (context.Tape is { } tape)
        {
            LatentKeysNode node = tape.Record<LatentKeysNode>(output, context.Timer.Current);
            (node.X, node.Weight, node.InverseRms, node.Result) = (x, weight, inverseRms, output);
            node.Save(x);
            node.Save(inverseRms);
        }

        return output;
    }

    /// <summary>Queries against the latent: per head, the part without rotation times the key projection, the rotary part copied behind it.</summary>
    /// <param name="q">[tokens, heads * (nope | rope)].</param>
    /// <param name="weight">Key projection, transposed, [heads, latent, nope].</param>
    /// <param name="context">Context.</param>
    /// <returns>[tokens, heads * (latent | rope)].</returns>
    public static Tensor LatentQueries(Tensor q, Parameter weight, ForwardContext context)
    {
        (int rows, int heads, int latent, int nope) = (q.Rows, weight.Shape[0], weight.Shape[1], weight.Shape[2]);
        int step = q.Columns / heads;
        int rope = step - nope;
        Tensor output = context.Pool.Rent(new Shape(rows, heads * (latent + rope))); // [tokens, heads * (latent | rope)]
        MultiplyHeads(rows, q.Data, q.Columns, step, weight, output.Data, output.Columns, latent + rope, context);
        Elementwise.CopyHeads(context.Workers, rows, heads, rope, q.Data[nope..], q.Columns, step, output.Data[latent..], output.Columns, latent + rope);
        if (context.Tape is { } tape)
        {
            LatentQueriesNode node = tape.Record<LatentQueriesNode>(output, context.Timer.Current);
            (node.Q, node.Weight, node.Result) = (q, weight, output);
            node.Save(q);
        }

        return output;
    }

    /// <summary>Each head's first columns times a matrix of its own.</summary>
    /// <param name="x">[tokens, heads * width], width at least in.</param>
    /// <param name="weight">[heads, out, in].</param>
    /// <param name="context">Context.</param>
    /// <returns>[tokens, heads * out].</returns>
    public static Tensor LinearHeads(Tensor x, Parameter weight, ForwardContext context)
    {
        (int rows, int heads, int outWidth) = (x.Rows, weight.Shape[0], weight.Shape[1]);
        Tensor output = context.Pool.Rent(new Shape(rows, heads * outWidth)); // [tokens, heads * out]
        MultiplyHeads(rows, x.Data, x.Columns, x.Columns / heads, weight, output.Data, output.Columns, outWidth, context);
        if (context.Tape is { } tape)
        {
            LinearHeadsNode node = tape.Record<LinearHeadsNode>(output, context.Timer.Current);
            (node.X, node.Weight, node.Result) = (x, weight, output);
            node.Save(x);
        }

        return output;
    }

    /// <summary>A second tensor with the same content, so that two readers of one may each write a gradient.</summary>
    /// <param name="x">Tensor; its gradient must have been written by its other reader when the backward pass comes here.</param>
    /// <param name="context">Context.</param>
    public static Tensor Copy(Tensor x, ForwardContext context)
    {
        Tensor output = context.Pool.Rent(x.Shape);
        x.Data.CopyTo(output.Data);
        if (context.Tape is { } tape)
        {
            CopyNode node = tape.Record<CopyNode>(output, context.Timer.Current);
            (node.X, node.Result) = (x, output);
        }

        return output;
    }

    private sealed class LatentKeysNode : TapeNode
    {
        public Tensor X = null!;
        public Parameter Weight = null!;
        public Tensor InverseRms = null!;
        public Tensor Result = null!;

        public override void Backward(ForwardContext context)
        {
            (int rows, int stride, int latent) = (X.Rows, X.Columns, Weight.Shape[0]);
            Span<float> dx = X.WriteGradient(out _); // the projection's output has no other reader
            Kernels.RmsNorm.BackwardHeads(
                context.Workers, rows, 1, latent, Result.Gradient, stride, X.Data, stride, Weight.Value, InverseRms.Data, dx, stride, Weight.AddToGradient(), false);
            Elementwise.CopyHeads(context.Workers, rows, 1, stride - latent, Result.Gradient[latent..], stride, 0, dx[latent..], stride, 0);
        }
    }

    private sealed class LatentQueriesNode : TapeNode
    {
        public Tensor Q = null!;
        public Parameter Weight = null!;
        public Tensor Result = null!;

        public override void Backward(ForwardContext context)
        {
            (int heads, int latent, int nope) = (Weight.Shape[0], Weight.Shape[1], Weight.Shape[2]);
            (int step, int outStep) = (Q.Columns / heads, Result.Columns / heads);
            Span<float> dq = Q.WriteGradient(out _); // the projection's output has no other reader
            MultiplyHeadsBackward(Result.Gradient, Result.Columns, outStep, Q, step, Weight, dq, context);
            Elementwise.CopyHeads(context.Workers, Q.Rows, heads, step - nope, Result.Gradient[latent..], Result.Columns, outStep, dq[nope..], Q.Columns, step);
        }
    }

    private sealed class LinearHeadsNode : TapeNode
    {
        public Tensor X = null!;
        public Parameter Weight = null!;
        public Tensor Result = null!;

        public override void Backward(ForwardContext context)
        {
            Span<float> dx = X.WriteGradient(out _); // attention's output has no other reader
            Elementwise.Clear(context.Workers, dx); // columns that the product does not read
            MultiplyHeadsBackward(Result.Gradient, Result.Columns, Weight.Shape[1], X, X.Columns / Weight.Shape[0], Weight, dx, context);
        }
    }

    private sealed class CopyNode : TapeNode
    {
        public Tensor X = null!;
        public Tensor Result = null!;

        public override void Backward(ForwardContext context)
        {
            Span<float> dx = X.WriteGradient(out bool accumulate);
            if (accumulate)
            {
                Elementwise.Accumulate(context.Workers, Result.Gradient, dx);
            }
            else
            {
                Result.Gradient.CopyTo(dx);
            }
        }
    }

    // dx = dy W per head, and the weight's gradient.
    private static void MultiplyHeadsBackward(ReadOnlySpan<float> dy, int dyStride, int dyStep, Tensor x, int xStep, Parameter weight, Span<float> dx, ForwardContext context)
    {
        (int rows, int heads, int outWidth, int width) = (x.Rows, weight.Shape[0], weight.Shape[1], weight.Shape[2]);
        Span<float> dWeight = weight.WriteGradient(out bool accumulate);
        for (int head = 0; head < heads; head++)
        {
            int matrix = head * outWidth * width;
            ReadOnlySpan<float> slope = dy[(head * dyStep)..];
            MatMul.TN(context.Workers, outWidth, width, rows, slope, dyStride, x.Data[(head * xStep)..], x.Columns, dWeight[matrix..], width, accumulate);
            MatMul.NN(context.Workers, rows, width, outWidth, slope, dyStride, weight.Value[matrix..], width, dx[(head * xStep)..], x.Columns, false);
        }
    }
}
