using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Tensors;

namespace MoeSharp.Ops;

/// <summary>What becomes of logits.</summary>
/// <param name="Cap">Logits become cap * tanh(logit / cap); 0 for none.</param>
/// <param name="NumTokens">Tokens from here on can never be next: their logits become minus infinity. The vocabulary's size for none.</param>
public readonly record struct LogitRule(float Cap, int NumTokens);

public static partial class Op
{
    private const int LogitFloatsPerChunk = 8 * 1024 * 1024; // 32 MiB: large enough for full matmul speed, small beside the weights
    private const int FewestRowsPerChunk = 64;

    /// <summary>Output head and cross-entropy, forward and backward in one go, chunk by chunk: the logits of all rows never exist at once.</summary>
    /// <param name="x">[tokens, hidden]; receives its gradient.</param>
    /// <param name="head">[vocab, hidden]; receives its gradient.</param>
    /// <param name="numTokens">Tokens that can be next, the first of the vocabulary: rows of the head behind them have no part in it.</param>
    /// <param name="tokenScale">Factor on each target's gradient.</param>
    /// <param name="context">Context of a training pass; its batch gives the targets.</param>
    /// <returns>Sum of the rows' cross-entropies, nats, without the factor.</returns>
    public static double CrossEntropyWithGradient(Tensor x, Parameter head, int numTokens, float tokenScale, ForwardContext context)
    {
        WorkerPool workers = context.Workers;
        (int rows, int hidden, int vocab) = (x.Rows, x.Columns, numTokens);
        int chunk = ChunkRows(rows, vocab);
        PooledBlock logits = context.Pool.RentBlock((long)chunk * vocab);
        Tensor losses = context.Pool.Rent(new Shape(rows)); // [tokens]
        Span<float> dx = x.WriteGradient(out bool accumulate);
        for (int begin = 0; begin < rows; begin += chunk)
        {
            int count = Math.Min(chunk, rows - begin);
            Span<float> part = logits.Span[..(count * vocab)]; // [chunk, vocab]
            ReadOnlySpan<float> input = x.Data.Slice(begin * hidden, count * hidden);
            MatMul.NT(workers, count, vocab, hidden, input, hidden, head.Value, hidden, part, vocab, false);
            CrossEntropy.ForwardBackward(workers, count, vocab, part, context.Batch.Targets.Slice(begin, count), tokenScale, losses.Data.Slice(begin, count));
            Span<float> dHead = head.WriteGradient(out bool accumulateHead);
            if (!accumulateHead)
            {
                dHead[(vocab * hidden)..].Clear(); // rows of tokens that can never be next
            }

            MatMul.TN(workers, vocab, hidden, count, part, vocab, input, hidden, dHead, hidden, accumulateHead);
            MatMul.NN(workers, count, hidden, vocab, part, vocab, head.Value, hidden, dx.Slice(begin * hidden, count * hidden), hidden, accumulate);
        }

        logits.Release();
        context.KeepRowLosses(losses);
        return Sum(losses.Data);
    }

    /// <summary>Cross-entropy of every row without gradients, chunk by chunk.</summary>
    /// <param name="x">[tokens, hidden].</param>
    /// <param name="head">[vocab, hidden].</param>
    /// <param name="losses">= nats per row, 0 where there is no target, [tokens].</param>
    /// <param name="rule">What becomes of the logits.</param>
    /// <param name="context">Context; its batch gives the targets.</param>
    /// <returns>Their sum.</returns>
    public static double CrossEntropyOfRows(Tensor x, Parameter head, Span<float> losses, LogitRule rule, ForwardContext context)
    {
        (int rows, int hidden, int vocab) = (x.Rows, x.Columns, head.Shape[0]);
        int chunk = ChunkRows(rows, vocab);
        PooledBlock logits = context.Pool.RentBlock((long)chunk * vocab);
        for (int begin = 0; begin < rows; begin += chunk)
        {
            int count = Math.Min(chunk, rows - begin);
            Span<float> part = logits.Span[..(count * vocab)]; // [chunk, vocab]
            Project(count, x.Data.Slice(begin * hidden, count * hidden), head, part, context);
            Apply(part, vocab, rule, context);
            CrossEntropy.Forward(context.Workers, count, vocab, part, context.Batch.Targets.Slice(begin, count), losses.Slice(begin, count));
        }

        logits.Release();
        return Sum(losses[..rows]);
    }

    /// <summary>Logits of the last rows.</summary>
    /// <param name="x">[tokens, hidden].</param>
    /// <param name="head">[vocab, hidden].</param>
    /// <param name="lastRows">Number of final rows wanted.</param>
    /// <param name="logits">= [lastRows, vocab].</param>
    /// <param name="rule">What becomes of the logits.</param>
    /// <param name="context">Context.</param>
    public static void Logits(Tensor x, Parameter head, int lastRows, Span<float> logits, LogitRule rule, ForwardContext context)
    {
        (int hidden, int vocab) = (x.Columns, head.Shape[0]);
        if (lastRows < 0 || lastRows > x.Rows || logits.Length < (long)lastRows * vocab)
        {
            ShapeException.Throw("Logits", nameof(logits), $"[{lastRows} of {x.Rows} rows, {vocab}]", $"[{logits.Length}]");
        }

        Project(lastRows, x.Data[((x.Rows - lastRows) * hidden)..], head, logits, context);
        Apply(logits[..(lastRows * vocab)], vocab, rule, context);
    }

    private static void Apply(Span<float> logits, int vocab, LogitRule rule, ForwardContext context)
    {
        if (rule.Cap > 0)
        {
            Elementwise.SoftCap(context.Workers, logits, rule.Cap);
        }

        for (int row = 0; row < logits.Length && rule.NumTokens < vocab; row += vocab)
        {
            logits[(row + rule.NumTokens)..(row + vocab)].Fill(float.NegativeInfinity);
        }
    }

    private static int ChunkRows(int rows, int vocab) => Math.Max(1, Math.Min(rows, Math.Max(FewestRowsPerChunk, LogitFloatsPerChunk / vocab)));

    private static double Sum(ReadOnlySpan<float> values)
    {
        double sum = 0;
        foreach (float value in values)
        {
            sum += value;
        }

        return sum;
    }
}
