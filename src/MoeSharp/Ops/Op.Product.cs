using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Kernels.Quantized;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    // y = x W^T with float32 or packed weights [out, in]; the one place where the two part.
    private static void Multiply(int rows, ReadOnlySpan<float> x, Parameter weight, Span<float> y, ForwardContext context) =>
        Multiply(rows, x, weight, y, context.Activations, context);

    // The same for the head.
    private static void Project(int rows, ReadOnlySpan<float> x, Parameter head, Span<float> logits, ForwardContext context) =>
        Multiply(rows, x, head, logits, context.Activations == ActivationPrecision.Float32 ? ActivationPrecision.Float32 : ActivationPrecision.Int8Once, context);

    private static void Multiply(int rows, ReadOnlySpan<float> x, Parameter weight, Span<float> y, ActivationPrecision precision, ForwardContext context)
    {
        (int width, int outWidth) = (weight.Shape[1], weight.Shape[0]);
        for (int row = 0; row < rows && context.Observer is { } observer; row++)
        {
            observer(weight, 0, x.Slice(row * width, width));
        }

        if (weight.Packed is { } packed)
        {
            RequireServing(weight, context);
            QuantizedMatMul.NT(context.Workers, rows, x, width, packed, 0, y, outWidth, precision);
        }
        else
        {
            MatMul.NT(context.Workers, rows, outWidth, width, x, width, weight.Value, width, y, outWidth, false);
        }
    }

    // The same per group of rows, weights [groups, out, in]; of packed weights all groups at once.
    private static void MultiplyGroups(ReadOnlySpan<int> offsets, ReadOnlySpan<float> x, ReadOnlySpan<int> gather, Parameter weight, int firstGroup, Span<float> y, ForwardContext context)
    {
        (int width, int outWidth) = (weight.Shape[2], weight.Shape[1]);
        for (int group = 0; group + 1 < offsets.Length && context.Observer is { } observer; group++)
        {
            for (int slot = offsets[group]; slot < offsets[group + 1]; slot++)
            {
                observer(weight, firstGroup + group, x.Slice((gather.IsEmpty ? slot : gather[slot]) * width, width));
            }
        }

        if (weight.Packed is { } packed)
        {
            RequireServing(weight, context);
            QuantizedMatMul.GroupedNT(context.Workers, offsets, x, width, gather, packed, y, outWidth, context.Activations);
        }
        else
        {
            GroupedMatMul.NT(context.Workers, offsets, outWidth, width, x, width, gather, weight.Value[(firstGroup * outWidth * width)..], y, outWidth);
        }
    }

    // The same per head: y[r, head * yStep ...] = x[r, head * xStep ...] W_head^T, weights [heads, out, in].
    private static void MultiplyHeads(int rows, ReadOnlySpan<float> x, int xStride, int xStep, Parameter weight, Span<float> y, int yStride, int yStep, ForwardContext context)
    {
        (int heads, int outWidth, int width) = (weight.Shape[0], weight.Shape[1], weight.Shape[2]);
        for (int index = 0; index < rows * heads && context.Observer is { } observer; index++)
        {
            (int row, int head) = Math.DivRem(index, heads);
            observer(weight, head, x.Slice((row * xStride) + (head * xStep), width));
        }

        if (weight.Packed is { } packed)
        {
            RequireServing(weight, context);
            QuantizedMatMul.BatchedNT(context.Workers, rows, x, xStride, xStep, packed, y, yStride, yStep, context.Activations);
            return;
        }

        ReadOnlySpan<float> values = weight.Value;
        for (int head = 0; head < heads; head++)
        {
            MatMul.NT(context.Workers, rows, outWidth, width, x[(head * xStep)..], xStride, values[(head * outWidth * width)..], width, y[(head * yStep)..], yStride, false);
        }
    }

    private static void RequireServing(Parameter weight, ForwardContext context)
    {
        if (context.Tape is not null)
        {
            throw new ConfigurationException($"{weight.Name} is packed and cannot be trained. Load the model with float32 weights.");
        }
    }
}
