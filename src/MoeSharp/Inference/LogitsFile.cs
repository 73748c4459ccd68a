using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;

namespace MoeSharp.Inference;

/// <summary>Writes logits as plain numbers: little-endian float32, [tokens, vocab], one sequence after another.</summary>
public static class LogitsFile
{
    private const int MostRows = 128; // rows of logits in memory at once

    /// <summary>Computes and writes the logits of every token; the file appears under its name only when complete.</summary>
    /// <param name="model">Model.</param>
    /// <param name="sequences">Tokens; each sequence stands alone.</param>
    /// <param name="path">File; replaced if it exists.</param>
    /// <param name="workers">Workers.</param>
    /// <param name="cancellation">Checked between pieces of a sequence.</param>
    public static void Write(LanguageModel model, int[][] sequences, string path, WorkerPool workers, CancellationToken cancellation)
    {
        string temporary = path + ".tmp";
        try
        {
            using (FileStream stream = new(temporary, FileMode.Create))
            {
                float[] logits = new float[MostRows * model.Config.VocabSize];
                foreach (int[] sequence in sequences)
                {
                    WriteSequence(model, sequence, logits, stream, workers, cancellation);
                }
            }

            File.Move(temporary, path, overwrite: true);
        }
        catch
        {
            File.Delete(temporary);
            throw;
        }
    }

    private static void WriteSequence(LanguageModel model, int[] sequence, float[] logits, FileStream stream, WorkerPool workers, CancellationToken cancellation)
    {
        int vocab = model.Config.VocabSize;
        using KeyValueCache cache = new(model.Config.NumHiddenLayers, sequence.Length);
        using ForwardContext context = new(workers) { Cache = cache };
        TokenBatch batch = new();
        while (cache.Length < sequence.Length)
        {
            cancellation.ThrowIfCancellationRequested();
            ReadOnlySpan<int> ids = sequence.AsSpan(cache.Length, Math.Min(MostRows, sequence.Length - cache.Length));
            batch.Resize(ids.Length, ids.Length);
            batch.AddSegment(new AttentionSegment(0, ids.Length, 0, cache.Length + ids.Length), cache.Length);
            ids.CopyTo(batch.TokenIds);
            Span<float> rows = logits.AsSpan(0, ids.Length * vocab); // [tokens, vocab]
            model.Logits(batch, ids.Length, rows, context);
            stream.Write(NumberFormats.Bytes(rows));
            cache.Length += ids.Length;
        }
    }
}
