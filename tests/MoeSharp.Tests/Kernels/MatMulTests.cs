using MoeSharp.Kernels;
using MoeSharp.Tests.Reference;

namespace MoeSharp.Tests.Kernels;

public sealed class MatMulTests
{
    private const float Untouched = -77.25f;

    public static TheoryData<int, int, int> Sizes => new()
    {
        { 1, 1, 1 },
        { 1, 33, 17 },
        { 1, 50, 530 },      // one row reads B in place, two blocks of depth
        { 2, 16, 16 },
        { 5, 8, 3 },
        { 13, 31, 15 },
        { 14, 32, 16 },
        { 15, 33, 17 },
        { 6, 15, 64 },
        { 43, 48, 96 },      // rows still few enough to read B in place
        { 57, 65, 513 },     // two blocks of depth
        { 3, 7, 1025 },      // three blocks
        { 29, 1100, 5 },     // more columns than one task holds
        { 300, 40, 530 },    // several row chunks
        { 131, 129, 127 },
        { 190, 63, 64 },     // both factors are read in place
        { 63, 64, 190 },
        { 40, 300, 260 },    // rows too far apart for that
    };

    [Theory]
    [MemberData(nameof(Sizes))]
    public void Every_form_equals_the_reference_in_value_and_in_order(int m, int n, int k)
    {
        foreach (string form in new[] { "NN", "NT", "TN" })
        {
            foreach (bool accumulate in new[] { false, true })
            {
                Case product = new(form, m, n, k, extraStride: accumulate ? 3 : 0);
                float[] c = product.Run(workers: 2, accumulate);
                ReferenceMatMul.AssertProduct(m, n, k, product.A, product.IndexA, product.B, product.IndexB, accumulate ? product.Start : null, c, product.IndexC);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Sizes))]
    public void Result_is_the_same_bits_for_any_number_of_workers(int m, int n, int k)
    {
        foreach (string form in new[] { "NN", "NT", "TN" })
        {
            Case product = new(form, m, n, k, extraStride: 1);
            float[] alone = product.Run(workers: 1, accumulate: true);
            Assert.Equal(alone, product.Run(workers: 2, accumulate: true));
            Assert.Equal(alone, product.Run(workers: 3, accumulate: true));
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(7)]
    [InlineData(50)]
    public void Row_alone_equals_the_row_in_a_batch(int m)
    {
        using WorkerPool pool = new(2);
        const int Rows = 60, Columns = 70, Depth = 600;
        float[] a = Values(Rows * Depth, 1), b = Values(Columns * Depth, 2);
        float[] whole = new float[Rows * Columns], part = new float[m * Columns];
        MatMul.NT(pool, Rows, Columns, Depth, a, Depth, b, Depth, whole, Columns, false);
        MatMul.NT(pool, m, Columns, Depth, a.AsSpan(5 * Depth), Depth, b, Depth, part, Columns, false);
        Assert.Equal(whole.AsSpan(5 * Columns, m * Columns).ToArray(), part);
    }

    [Theory]
    [InlineData(0, 4, 4)]
    [InlineData(4, 0, 4)]
    [InlineData(0, 0, 0)]
    public void Nothing_to_compute_touches_nothing(int m, int n, int k)
    {
        using WorkerPool pool = new(2);
        float[] c = [Untouched, Untouched];
        MatMul.NN(pool, m, n, k, new float[16], Math.Max(k, 1), new float[16], Math.Max(n, 1), c, Math.Max(n, 1), false);
        Assert.Equal([Untouched, Untouched], c);
    }

    [Fact]
    public void No_terms_give_zeros_or_leave_C_when_accumulating()
    {
        using WorkerPool pool = new(2);
        float[] c = [1, 2, Untouched, 3, 4, Untouched];
        MatMul.NT(pool, 2, 2, 0, [], 0, [], 0, c, 3, true);
        Assert.Equal([1, 2, Untouched, 3, 4, Untouched], c);
        MatMul.NT(pool, 2, 2, 0, [], 0, [], 0, c, 3, false);
        Assert.Equal([0, 0, Untouched, 0, 0, Untouched], c);
    }

    [Fact]
    public void Not_a_number_in_unused_memory_does_not_reach_the_result()
    {
        using WorkerPool pool = new(1);
        float[] a = Enumerable.Repeat(float.NaN, 40).ToArray(), b = Enumerable.Repeat(float.NaN, 40).ToArray();
        float[] c = new float[9];
        for (int row = 0; row < 3; row++)
        {
            a.AsSpan(row * 7, 5).Fill(1);
            b.AsSpan(row * 7, 5).Fill(2);
        }

        MatMul.NT(pool, 3, 3, 5, a, 7, b, 7, c, 3, false);
        Assert.All(c, value => Assert.Equal(10f, value));
    }

    [Fact]
    public void Too_small_spans_and_strides_are_refused()
    {
        using WorkerPool pool = new(1);
        float[] nine = new float[9], eight = new float[8];
        Assert.Contains("MatMul.NT: a", Assert.Throws<ShapeException>(() => MatMul.NT(pool, 3, 3, 3, eight, 3, nine, 3, nine, 3, false)).Message, StringComparison.Ordinal);
        Assert.Contains("MatMul.NN: b", Assert.Throws<ShapeException>(() => MatMul.NN(pool, 3, 3, 3, nine, 3, eight, 3, nine, 3, false)).Message, StringComparison.Ordinal);
        Assert.Contains("MatMul.TN: c", Assert.Throws<ShapeException>(() => MatMul.TN(pool, 3, 3, 3, nine, 3, nine, 3, nine, 2, false)).Message, StringComparison.Ordinal);
    }

    internal static float[] Values(int count, int seed)
    {
        Random random = new(seed);
        return Enumerable.Range(0, count).Select(_ => (random.NextSingle() * 2) - 1).ToArray();
    }

    private sealed class Case
    {
        private readonly string _form;
        private readonly int _m, _n, _k, _lda, _ldb, _ldc;

        public Case(string form, int m, int n, int k, int extraStride)
        {
            (_form, _m, _n, _k) = (form, m, n, k);
            _lda = (form == "TN" ? m : k) + extraStride;
            _ldb = (form == "NT" ? k : n) + extraStride;
            _ldc = n + extraStride;
            A = Values((form == "TN" ? k : m) * _lda, 1);
            B = Values((form == "NT" ? n : k) * _ldb, 2);
            Start = Values(m * _ldc, 3);
        }

        public float[] A { get; }

        public float[] B { get; }

        public float[] Start { get; }

        public int IndexA(int row, int depth) => _form == "TN" ? (depth * _lda) + row : (row * _lda) + depth;

        public int IndexB(int column, int depth) => _form == "NT" ? (column * _ldb) + depth : (depth * _ldb) + column;

        public int IndexC(int row, int column) => (row * _ldc) + column;

        public float[] Run(int workers, bool accumulate)
        {
            using WorkerPool pool = new(workers);
            float[] c = (float[])Start.Clone();
            switch (_form)
            {
                case "NN": MatMul.NN(pool, _m, _n, _k, A, _lda, B, _ldb, c, _ldc, accumulate); break;
                case "NT": MatMul.NT(pool, _m, _n, _k, A, _lda, B, _ldb, c, _ldc, accumulate); break;
                default: MatMul.TN(pool, _m, _n, _k, A, _lda, B, _ldb, c, _ldc, accumulate); break;
            }

            for (int row = 0; row < _m; row++)
            {
                for (int column = _n; column < _ldc; column++)
                {
                    Assert.Equal(Start[(row * _ldc) + column], c[(row * _ldc) + column]); // between rows of C nothing is written
                }
            }

            return c;
        }
    }
}
