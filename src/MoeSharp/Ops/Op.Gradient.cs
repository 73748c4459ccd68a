using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    // The gradient to add to, zeroed when it is new.
    private static Span<float> GradientOf(Tensor tensor, ForwardContext context)
    {
        Span<float> gradient = tensor.WriteGradient(out bool accumulate);
        if (!accumulate)
        {
            Elementwise.Clear(context.Workers, gradient);
        }

        return gradient;
    }
}
