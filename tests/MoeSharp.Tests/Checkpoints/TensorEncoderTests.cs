using MoeSharp.Checkpoints;
using MoeSharp.Checkpoints.Export;

namespace MoeSharp.Tests.Checkpoints;

/// <summary>Tensors whose elements lie in another order than the parameters'.</summary>
public sealed class TensorEncoderTests
{
    [Fact]
    public void A_stack_of_experts_is_put_together_one_expert_at_a_time()
    {
        // The down projections of 256 experts, [in, out]: 7.5 billion elements.
        const long Experts = 256, Width = 4096, Matrix = 7168 * Width;
        WeightSlice[] slices =
        [
            .. Enumerable.Range(0, (int)Experts).Select(expert => new WeightSlice("w2", [Experts * Width, 7168], "down_projection", expert * 7168, 7168, (int)Width)
            {
                SourceOffset = expert * Matrix,
                SourceRowStep = 1,
                SourceColumnStep = 7168,
            }),
        ];

        TensorEncoder.TensorRange[] ranges = [.. TensorEncoder.Ranges(new CheckpointTensor("w2", slices[0].CheckpointShape, slices))];

        Assert.Equal(Enumerable.Range(0, (int)Experts).Select(expert => new TensorEncoder.TensorRange(expert * Matrix, (expert + 1) * Matrix, expert, expert + 1)), ranges);
    }

    [Fact]
    public void Rows_that_take_turns_are_put_together_with_their_neighbours()
    {
        // Two heads of four rows, first the even rows of a head and then the odd ones; then 8 million elements as they lie.
        WeightSlice Half(int head, int half) => new("q", [1 << 17, 64], "qkv", (head * 4) + (half * 2), 2, 64) { SourceOffset = (head * 256) + (half * 64), SourceRowStep = 128 };
        WeightSlice rest = new("q", [1 << 17, 64], "qkv", 8, (1 << 17) - 8, 64) { SourceOffset = 512 };

        TensorEncoder.TensorRange[] ranges = [.. TensorEncoder.Ranges(new CheckpointTensor("q", rest.CheckpointShape, [Half(0, 0), Half(0, 1), Half(1, 0), Half(1, 1), rest]))];

        Assert.Equal([new TensorEncoder.TensorRange(0, 1 << 23, 0, 5)], ranges);
    }
}
