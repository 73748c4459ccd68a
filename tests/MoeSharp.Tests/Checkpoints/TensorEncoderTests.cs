using MoeSharp.Checkpoints;
using MoeSharp.Checkpoints.Export;
using MoeSharp.Checkpoints.Gguf;

namespace MoeSharp.Tests.Checkpoints;

/// <summary>Tensors whose elements lie in another order than the parameters'.</summary>
public sealed class TensorEncoderTests
{
    [Theory]
    [InlineData("blk.0.attn_q.weight")]
    [InlineData("blk.0.attn_k.weight")]
    [InlineData("blk.0.attn_v.weight")]
    public void Rows_in_another_order_keep_their_columns_importance(string name)
    {
        using TemporaryFolder folder = new();
        ModelFolder.Save(TestModel.Llama, TestModel.Parameters(TestModel.Llama, 5), folder["hf"], new ModelFolderOptions());
        ColumnImportance importance = new();
        importance.Add("layers.0.attention.qkv_projection", 1, 0, [.. Enumerable.Range(0, TestModel.Llama.HiddenSize).Select(column => column % 2 == 0 ? 1f : 0.01f)]);
        float[] exact = Values(folder, "exact.gguf", "f32", null, name), plain = Values(folder, "plain.gguf", "q4_0", null, name), weighted = Values(folder, "weighted.gguf", "q4_0", importance, name);

        (double plainError, double weightedError) = (EvenError(exact, plain), EvenError(exact, weighted));
        Assert.True(weightedError < 0.9 * plainError, $"columns that matter err {weightedError}, without importance {plainError}");
    }

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

    private static float[] Values(TemporaryFolder folder, string file, string format, ColumnImportance? importance, string name)
    {
        using ModelFiles source = ModelFiles.Open(folder["hf"]);
        ModelExport.Write(source, folder[file], new ExportOptions { Weights = WeightTarget.Parse(format), Importance = importance, Threads = 2 }, TestContext.Current.CancellationToken);
        using GgufSource written = new(GgufFile.Open(folder[file]));
        WeightTensor tensor = written.Find(name)!;
        float[] values = new float[tensor.Length];
        written.ReadFloats(tensor, 0, values);
        return values;
    }

    private static double EvenError(float[] exact, float[] values)
    {
        double error = 0;
        for (int i = 0; i < exact.Length; i += 2)
        {
            error += ((double)exact[i] - values[i]) * ((double)exact[i] - values[i]);
        }

        return error;
    }
}
