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
    /// <param name="cancellation">Checked between the layers of a pass.</param>
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
        using DecodingSession session = new(model, sequence.Length, MostRows, workers);
        while (session.Length < sequence.Length)
        {
            ReadOnlySpan<int> ids = sequence.AsSpan(session.Length, Math.Min(MostRows, sequence.Length - session.Length));
            Span<float> rows = logits.AsSpan(0, ids.Length * model.Config.VocabSize); // [tokens, vocab]
            session.AppendAll(ids, rows, cancellation);
            stream.Write(NumberFormats.Bytes(rows));
        }
    }
}
