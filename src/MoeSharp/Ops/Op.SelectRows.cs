using MoeSharp.Execution;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

public static partial class Op
{
    /// <summary>Copies some rows, in passes without gradients.</summary>
    /// <param name="x">[tokens, width].</param>
    /// <param name="rows">Rows wanted; at least one.</param>
    /// <param name="context">Context.</param>
    /// <returns>[rows, width].</returns>
    public static Tensor SelectRows(Tensor x, ReadOnlySpan<int> rows, ForwardContext context)
    {
        int width = x.Columns;
        Tensor selected = context.Pool.Rent(new Shape(rows.Length, width)); // [rows, width]
        for (int row = 0; row < rows.Length; row++)
        {
            x.Data.Slice(checked(rows[row] * width), width).CopyTo(selected.Data[(row * width)..]);
        }

        return selected;
    }
}
