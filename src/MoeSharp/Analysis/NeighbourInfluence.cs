using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;

namespace MoeSharp.Analysis;

/// <summary>What became of texts that were computed alone and again behind other texts in the same pass.</summary>
/// <param name="NumTexts">Texts.</param>
/// <param name="NumChanged">Texts with a logit that is not the same, bit for bit.</param>
/// <param name="LargestDifference">Largest difference of a logit.</param>
/// <param name="NumRows">Tokens of all texts.</param>
/// <param name="NumFavouritesChanged">Tokens whose most probable successor became another one.</param>
/// <param name="DropRateAlone">Share of slots that found no place while texts were alone; 0 without capacity.</param>
/// <param name="DropRateTogether">The same while they were together.</param>
public sealed record NeighbourInfluence(
    int NumTexts, int NumChanged, double LargestDifference, long NumRows, long NumFavouritesChanged, double DropRateAlone, double DropRateTogether)
{
    /// <summary>Computes every text alone and behind all the others.</summary>
    /// <remarks>Attention never sees the others: what changes a text is that experts with a limit had their places taken.</remarks>
    /// <param name="model">Model; not owned.</param>
    /// <param name="texts">At least two texts of one length.</param>
    /// <param name="workers">Workers; not owned.</param>
    /// <param name="cancellation">Checked before each text.</param>
    /// <exception cref="ConfigurationException">There are fewer than two texts, or their lengths differ.</exception>
    public static NeighbourInfluence Measure(LanguageModel model, IReadOnlyList<int[]> texts, WorkerPool workers, CancellationToken cancellation)
    {
        if (texts.Count < 2)
        {
            throw new ConfigurationException($"{texts.Count} texts are too few: a text needs neighbours, so give at least two");
        }

        using ForwardContext context = new(workers);
        (int rows, int vocab) = (texts[0].Length, model.Config.VocabSize);
        float[] alone = new float[checked(rows * vocab)];
        float[] together = new float[alone.Length];
        Slots aloneSlots = default;
        Slots togetherSlots = default;
        (int changed, double largest, long favourites) = (0, 0, 0);
        for (int text = 0; text < texts.Count; text++)
        {
            cancellation.ThrowIfCancellationRequested();
            model.Logits(TokenBatch.FromSequences([texts[text]]), rows, alone, context);
            aloneSlots.Add(context.Routing);
            model.Logits(TokenBatch.FromSequences([.. texts.Where((_, other) => other != text), texts[text]]), rows, together, context);
            togetherSlots.Add(context.Routing);
            double difference = LargestOf(alone, together);
            changed += alone.AsSpan().SequenceEqual(together) ? 0 : 1;
            largest = Math.Max(largest, difference);
            favourites += CountFavourites(alone, together, vocab);
        }

        return new NeighbourInfluence(texts.Count, changed, largest, (long)texts.Count * rows, favourites, aloneSlots.DropRate, togetherSlots.DropRate);
    }

    private static double LargestOf(ReadOnlySpan<float> first, ReadOnlySpan<float> second)
    {
        double largest = 0;
        for (int i = 0; i < first.Length; i++)
        {
            largest = Math.Max(largest, Math.Abs((double)first[i] - second[i]));
        }

        return largest;
    }

    private static long CountFavourites(ReadOnlySpan<float> first, ReadOnlySpan<float> second, int vocab)
    {
        long changed = 0;
        for (int begin = 0; begin < first.Length; begin += vocab)
        {
            changed += Favourite(first.Slice(begin, vocab)) != Favourite(second.Slice(begin, vocab)) ? 1 : 0;
        }

        return changed;
    }

    private static int Favourite(ReadOnlySpan<float> logits)
    {
        int best = 0;
        for (int token = 1; token < logits.Length; token++)
        {
            best = logits[token] > logits[best] ? token : best;
        }

        return best;
    }

    private struct Slots
    {
        private long _asked;
        private long _dropped;

        public readonly double DropRate => _asked == 0 ? 0 : (double)_dropped / _asked;

        public void Add(RoutingRecord record)
        {
            foreach (LayerRouting layer in record.Layers)
            {
                _asked += layer.AskedSlots;
                _dropped += layer.DroppedSlots;
            }
        }
    }
}
