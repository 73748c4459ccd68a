using MoeSharp.Kernels;
using MoeSharp.Tests.Reference;

namespace MoeSharp.Tests.Kernels;

/// <summary>Attention beyond the plain one: windows, capped scores, sinks, values of another width than the keys, keys shared out between workers.</summary>
public sealed class AttentionOptionTests
{
    /// <summary>One case: geometry, lengths of the segments, whether there are sinks, whether values are the first columns of the keys.</summary>
    public sealed record Case(string Name, AttentionHeads Heads, int[] Lengths, bool HasSinks = false, bool SharesKeys = false)
    {
        public override string ToString() => Name;
    }

    public static TheoryData<Case> Cases =>
    [
        new Case("one row", Heads(1, 1, 4, 4), [1], HasSinks: true),
        new Case("wider values", Heads(2, 1, 7, 19), [65, 3]),
        new Case("narrower values", Heads(4, 2, 24, 9), [130]),
        new Case("window within a block", Heads(4, 4, 16, 16) with { Window = 5 }, [70, 1]),
        new Case("window of one", Heads(2, 2, 16, 16) with { Window = 1 }, [66]),
        new Case("window over blocks", Heads(4, 2, 24, 24) with { Window = 100 }, [333]),
        new Case("window over partitions", Heads(2, 1, 16, 16) with { Window = 600 }, [1300]),
        new Case("window longer than the text", Heads(2, 2, 16, 16) with { Window = 1000 }, [70]),
        new Case("capped scores", Heads(2, 2, 16, 16) with { ScoreCap = 3f }, [77]),
        new Case("sinks", Heads(6, 2, 16, 16), [77], HasSinks: true),
        new Case("sinks and window", Heads(8, 1, 64, 64) with { Window = 128 }, [200, 64], HasSinks: true),
        new Case("latent", Heads(16, 1, 576, 512), [70], SharesKeys: true),
        new Case("latent, odd widths", Heads(5, 1, 21, 13), [600], SharesKeys: true),
        new Case("everything", Heads(6, 3, 20, 36) with { Window = 70, ScoreCap = 2f }, [64, 1, 140], HasSinks: true),
        new Case("several partitions", Heads(4, 2, 16, 16), [1200, 513, 512]),
    ];

    [Theory]
    [MemberData(nameof(Cases))]
    public void Forward_is_the_formula(Case test)
    {
        Inputs inputs = new(test);
        AttentionSegment[] segments = Segments(test.Lengths);
        float[] output = KernelCheck.SameForAnyWorkers(workers => inputs.Forward(workers, segments));
        KernelCheck.Close(inputs.Reference(segments), output, 3e-6, 3e-6, "output");
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Any_queries_of_a_segment_give_the_bits_of_all(Case test)
    {
        Inputs inputs = new(test);
        int length = test.Lengths[0];
        int width = test.Heads.NumHeads * test.Heads.ValueDim;
        using WorkerPool one = new(1), four = new(4);
        float[] full = inputs.Forward(one, [new(0, length, 0, length)]);
        foreach (int count in (int[])[1, 2, 9, 70])
        {
            for (int end = count; end <= length; end += Math.Max(13, length / 6))
            {
                foreach (WorkerPool workers in (WorkerPool[])[one, four])
                {
                    float[] part = inputs.Forward(workers, [new(end - count, count, 0, end)]);
                    KernelCheck.SameBits(full.AsSpan((end - count) * width, count * width), part.AsSpan((end - count) * width, count * width), $"{count} queries to {end}, {workers.Workers} workers");
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Keys_in_pages_give_the_bits_of_keys_in_rows(Case test) => CheckPages(test, CacheFormat.Float32);

    [Theory]
    [MemberData(nameof(Cases))]
    public void Halved_keys_in_pages_give_the_bits_of_rounded_keys_in_rows(Case test) => CheckPages(test, CacheFormat.BFloat16);

    private static void CheckPages(Case test, CacheFormat format)
    {
        Inputs exact = new(test), inputs = new(test);
        if (format == CacheFormat.BFloat16)
        {
            inputs.RoundKeysAndValues();
        }

        AttentionSegment[] whole = Segments(test.Lengths);
        using WorkerPool one = new(1), three = new(3);
        float[] expected = inputs.Forward(one, whole);
        foreach (int chunk in (int[])[1, 7, 64, 100, 2000])
        {
            if (chunk < 64 && test.Lengths.Max() > 700)
            {
                continue; // thousands of calls that add nothing to the shorter cases
            }

            using PagedKeys pages = new(test.Heads, test.SharesKeys, test.Lengths, format);
            float[] output = new float[expected.Length];
            for (int done = 0; done < test.Lengths.Max(); done += chunk)
            {
                AttentionSegment[] segments = [.. whole.Select(segment => Chunk(segment, done, chunk))];
                exact.ForwardPaged(done % 2 == 0 ? one : three, segments, pages, output);
            }

            KernelCheck.SameBits(expected, output, $"chunks of {chunk}");
        }
    }

    // Rows done to done + chunk of a sequence that is read in chunks; none when it is already over.
    private static AttentionSegment Chunk(AttentionSegment segment, int done, int chunk)
    {
        int begin = Math.Min(done, segment.QueryCount);
        int end = Math.Min(done + chunk, segment.QueryCount);
        return new AttentionSegment(segment.QueryBegin + begin, end - begin, 0, end);
    }

    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(8)]
    public void One_query_over_many_keys_is_shared_out_without_changing_a_bit(int numWorkers)
    {
        const int Length = 9000;
        Inputs inputs = new(new Case("", Heads(24, 1, 32, 32), [Length], HasSinks: true));
        using WorkerPool one = new(1), many = new(numWorkers);
        AttentionSegment[] segments = [new(Length - 1, 1, 0, Length), new(Length - 3, 1, 0, 5), new(Length - 2, 1, 0, 700)];
        float[] expected = inputs.Forward(one, segments);
        for (int time = 0; time < 10; time++)
        {
            KernelCheck.SameBits(expected, inputs.Forward(many, segments), "output");
        }

        const int Width = 24 * 32;
        KernelCheck.Close(inputs.Reference(segments).AsSpan((Length - 3) * Width).ToArray(), expected.AsSpan((Length - 3) * Width).ToArray(), 3e-6, 3e-6, "output");
        foreach (int keys in (int[])[40, 600])
        {
            AttentionSegment[] alone = [new(Length - 1, 1, 0, keys)]; // fewer partitions than workers: heads are shared out too
            KernelCheck.SameBits(inputs.Forward(one, alone), inputs.Forward(many, alone), $"{keys} keys");
        }
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    public void Keys_that_left_the_window_are_not_touched(float poison)
    {
        Inputs inputs = new(new Case("", Heads(2, 1, 16, 16) with { Window = 20 }, [150]));
        using WorkerPool workers = new(2);
        float[] clean = inputs.Forward(workers, Segments([150]));
        foreach (int row in (int[])[3, 63, 64, 100])
        {
            Inputs dirty = new(inputs.Test);
            dirty.Keys.AsSpan(row * 16, 16).Fill(poison);
            dirty.Values.AsSpan(row * 16, 16).Fill(poison);
            float[] output = dirty.Forward(workers, Segments([150]));
            KernelCheck.SameBits(clean.AsSpan(0, row * 32), output.AsSpan(0, row * 32), $"rows before {row}");
            KernelCheck.SameBits(clean.AsSpan((row + 20) * 32), output.AsSpan((row + 20) * 32), $"rows from {row + 20}");
        }
    }

    [Fact]
    public void Options_without_a_backward_pass_are_refused()
    {
        using WorkerPool workers = new(1);
        float[] rows = new float[12];
        foreach (AttentionHeads heads in (AttentionHeads[])[Heads(1, 1, 4, 3), Heads(1, 1, 4, 4) with { Window = 2 }, Heads(1, 1, 4, 4) with { ScoreCap = 1f }])
        {
            Assert.Throws<ShapeException>(() => CausalAttention.Backward(workers, heads, Segments([1]), rows, 4, rows, 4, rows, 4, rows, rows, rows, rows, 4, rows, 4, rows, 4));
        }
    }

    [Fact]
    public void Sinks_of_another_number_than_the_heads_are_refused()
    {
        using WorkerPool workers = new(1);
        float[] rows = new float[8];
        Assert.Throws<ShapeException>(() => CausalAttention.Forward(workers, Heads(2, 1, 4, 4), Segments([1]), rows, 8, rows, 4, rows, 4, [1f], rows, rows));
    }

    private static AttentionHeads Heads(int numHeads, int numKeyValueHeads, int headDim, int valueDim) =>
        new(numHeads, numKeyValueHeads, headDim, 1f / MathF.Sqrt(headDim)) { ValueDim = valueDim };

    private static AttentionSegment[] Segments(int[] lengths)
    {
        int begin = 0;
        return Array.ConvertAll(lengths, length => new AttentionSegment((begin += length) - length, length, begin - length, length));
    }

    private sealed class PagedKeys : IDisposable
    {
        private readonly List<NativeBuffer> _pages = [];

        public PagedKeys(AttentionHeads heads, bool isLatent, int[] lengths, CacheFormat format)
        {
            const int Offset = 32; // as if another layer came first
            Heads = isLatent ? PagedHeads.Latent(Offset, heads.HeadDim, heads.ValueDim, format) : PagedHeads.Separate(Offset, heads.NumKeyValueHeads, heads.HeadDim, heads.ValueDim, format);
            Tables = Array.ConvertAll(lengths, _ => new PageTable());
            for (int s = 0; s < lengths.Length; s++)
            {
                for (int tokens = 0; tokens < lengths[s]; tokens += PagedHeads.PageTokens)
                {
                    NativeBuffer page = new(Offset + Heads.Length);
                    page.Slice(0, (int)page.Length).Fill(float.NaN); // nothing that was not stored may matter
                    _pages.Add(page);
                    Tables[s].Add(page);
                }
            }
        }

        public PagedHeads Heads { get; }

        public PageTable[] Tables { get; }

        public void Dispose()
        {
            _pages.ForEach(page => page.Dispose());
            Array.ForEach(Tables, table => table.Dispose());
        }
    }

    private sealed class Inputs
    {
        private readonly float[] _queries;
        private readonly float[] _sinks;
        private readonly int _valueStride;

        public Inputs(Case test)
        {
            Test = test;
            AttentionHeads heads = test.Heads;
            int rows = test.Lengths.Sum();
            _queries = KernelCheck.Random(rows * heads.NumHeads * heads.HeadDim, 1, 2f);
            Keys = KernelCheck.Random(rows * heads.NumKeyValueHeads * heads.HeadDim, 2, 2f);
            Values = test.SharesKeys ? Keys : KernelCheck.Random(rows * heads.NumKeyValueHeads * heads.ValueDim, 3, 2f);
            _valueStride = heads.NumKeyValueHeads * (test.SharesKeys ? heads.HeadDim : heads.ValueDim);
            _sinks = test.HasSinks ? KernelCheck.Random(heads.NumHeads, 4, 3f) : [];
        }

        public Case Test { get; }

        public float[] Keys { get; }

        public float[] Values { get; }

        public void RoundKeysAndValues()
        {
            using WorkerPool workers = new(2);
            PagedRows.RoundInPlace(workers, 1, Keys.Length, Keys, Keys.Length);
            PagedRows.RoundInPlace(workers, Values.Length / _valueStride, _valueStride, Values, _valueStride);
        }

        public float[] Forward(WorkerPool workers, AttentionSegment[] segments)
        {
            AttentionHeads heads = Test.Heads;
            int rows = Test.Lengths.Sum();
            float[] output = new float[rows * heads.NumHeads * heads.ValueDim];
            CausalAttention.Forward(
                workers, heads, segments, _queries, heads.NumHeads * heads.HeadDim, Keys, heads.NumKeyValueHeads * heads.HeadDim, Values, _valueStride, _sinks, output, new float[rows * heads.NumHeads]);
            return output;
        }

        public void ForwardPaged(WorkerPool workers, AttentionSegment[] segments, PagedKeys pages, float[] output)
        {
            AttentionHeads heads = Test.Heads;
            PagedRows.Store(workers, pages.Heads, segments, pages.Tables, Keys, heads.NumKeyValueHeads * heads.HeadDim, Values, _valueStride);
            CausalAttention.Forward(workers, heads, segments, _queries, heads.NumHeads * heads.HeadDim, pages.Heads, pages.Tables, _sinks, output, new float[Test.Lengths.Sum() * heads.NumHeads]);
        }

        public double[] Reference(AttentionSegment[] segments) => AttentionReference.General(
            Test.Heads, segments, KernelCheck.Double(_queries), KernelCheck.Double(Keys), KernelCheck.Double(Values), _valueStride, KernelCheck.Double(_sinks));
    }
}
