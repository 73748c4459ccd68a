using MoeSharp.Checkpoints;
using MoeSharp.Checkpoints.Names;
using MoeSharp.Kernels.Formats;
using MoeSharp.Model;

namespace MoeSharp.Tests.Checkpoints;

/// <summary>Slices that are not one range of a file: stacked, transposed, interleaved.</summary>
public sealed class WeightSliceTests
{
    [Theory]
    [InlineData(0, 4, 3, 3, 1)] // as it lies
    [InlineData(5, 4, 3, 7, 1)] // rows with a gap
    [InlineData(2, 5, 4, 1, 6)] // transposed
    [InlineData(1, 3, 4, 2, 12)] // transposed, every second element
    [InlineData(1, 4, 3, 20, 2)] // every second element of a row
    [InlineData(3, 9, 1, 2, 1)] // every second element of a vector
    [InlineData(0, 40, 1, 1000, 1)] // farther apart than one reads at once
    public void Rows_are_read_and_written_where_the_steps_say(long offset, long rows, int columns, long rowStep, long columnStep)
    {
        FakeSource source = new(60_000);
        WeightTensor tensor = source.Find("t")!;
        WeightSlice slice = new("t", tensor.Shape, "p", 2, rows, columns) { SourceOffset = offset, SourceRowStep = rowStep, SourceColumnStep = columnStep };

        float[] all = new float[rows * columns];
        WeightRows.Read(source, tensor, slice, 0, all);
        float[] last = new float[columns];
        WeightRows.Read(source, tensor, slice, rows - 1, last);

        float[] parameter = [.. new float[2 * columns], .. all];
        float[] written = new float[60_000];
        WeightRows.Scatter(slice, parameter, written);
        for (int row = 0; row < rows; row++)
        {
            for (int column = 0; column < columns; column++)
            {
                long element = offset + (row * rowStep) + (column * columnStep);
                Assert.Equal(element, all[(row * columns) + column]);
                Assert.Equal(element, written[element]);
            }
        }

        Assert.Equal(all[^columns..], last);
    }

    [Fact]
    public void The_spelling_whose_first_tensor_is_present_wins()
    {
        MoeConfig moe = new() { NumExperts = 2, TopK = 1, IntermediateSize = 3 };
        IEnumerable<WeightSlice> Experts(TensorPresence isPresent) => NameParts.Experts(isPresent, "experts.", "x.", FeedForwardNames.Usual, 4, moe);

        Assert.Equal(6, Experts(_ => false).Count());
        Assert.Equal(2, Experts(name => name == "x.gate_up_proj").Count());
        Assert.Equal(6, Experts(_ => true).Count());
    }

    [Fact]
    public void A_configuration_of_billions_of_tensors_is_refused_at_once()
    {
        IEnumerable<WeightSlice> missing = Enumerable.Range(0, int.MaxValue).Select(expert => WeightSlice.Whole($"e.{expert}", "p", expert, 4));
        IEnumerable<WeightSlice> misshapen = Enumerable.Range(0, int.MaxValue).Select(expert => WeightSlice.Whole("t", "p", expert, int.MaxValue, 4));

        Assert.Contains("missing: e.0", Assert.Throws<FileFormatException>(() => WeightMatch.Check(new FakeSource(8), "config.json", missing, [])).Message, StringComparison.Ordinal);
        Assert.Contains("t is [8], not", Assert.Throws<FileFormatException>(() => WeightMatch.Check(new FakeSource(8), "config.json", misshapen, [])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Tensors_named_by_a_pattern_are_ignored_and_others_are_not()
    {
        Assert.True(WeightMatch.IsIgnored("model.layers.61.eh_proj.weight", ["model.layers.61.*"]));
        Assert.True(WeightMatch.IsIgnored("model.layers.0.self_attn.rotary_emb.inv_freq", ["*rotary_emb.inv_freq"]));
        Assert.False(WeightMatch.IsIgnored("model.layers.6.eh_proj.weight", ["model.layers.61.*", "*.bias"]));
    }

    private sealed class FakeSource(int length) : IWeightSource
    {
        public string Description => "fake";

        public IReadOnlyCollection<string> Names => ["t"];

        public WeightTensor? Find(string name) => name == "t" ? new WeightTensor("t", [length], WeightFormat.F32) : null;

        public void ReadBlocks(WeightTensor tensor, long firstElement, long count, Span<byte> blocks) => throw new NotSupportedException();

        public void ReadFloats(WeightTensor tensor, long firstElement, Span<float> values)
        {
            Assert.InRange(firstElement, 0, length - values.Length);
            for (int i = 0; i < values.Length; i++)
            {
                values[i] = firstElement + i;
            }
        }

        public void Dispose()
        {
        }
    }
}
