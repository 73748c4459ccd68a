namespace MoeSharp.Data;

/// <summary>What a model must beat: bits per byte of the best guesses from byte frequencies and from pairs of bytes.</summary>
/// <remarks>
/// Unigram: add one half to every count (Krichevsky and Trofimov). Bigram: interpolated with the unigram by Witten and Bell's weights,
/// p(b|a) = (c(ab) + t(a) p(b)) / (c(a) + t(a)), where t(a) counts the distinct followers of a. The end of a document is a symbol that
/// costs bits, as it does for the model, and its beginning is a context; bits are divided by the bytes of text.
/// </remarks>
/// <param name="UnigramBitsPerByte">Cost by byte frequencies.</param>
/// <param name="BigramBitsPerByte">Cost by frequencies after the byte before.</param>
public readonly record struct NGramBaselines(double UnigramBitsPerByte, double BigramBitsPerByte)
{
    /// <summary>Measures the baselines of validation text given training text.</summary>
    /// <exception cref="ConfigurationException">A side is empty.</exception>
    public static NGramBaselines Measure(ByteCounts train, ByteCounts validation)
    {
        if (train.NumBytes == 0 || validation.NumBytes == 0)
        {
            throw new ConfigurationException("baselines need both training and validation text, and one of them is empty");
        }

        double[] unigram = Unigram(train);
        double unigramBits = 0;
        double bigramBits = 0;
        for (int previous = 0; previous < ByteCounts.NumSymbols; previous++)
        {
            ReadOnlySpan<long> seen = train.Followers(previous);
            ReadOnlySpan<long> asked = validation.Followers(previous);
            double total = 0;
            double distinct = 0;
            foreach (long count in seen)
            {
                total += count;
                distinct += count > 0 ? 1 : 0;
            }

            for (int next = 0; next < ByteCounts.NumSymbols; next++)
            {
                if (asked[next] > 0)
                {
                    double smoothed = total > 0 ? (seen[next] + (distinct * unigram[next])) / (total + distinct) : unigram[next];
                    unigramBits -= asked[next] * Math.Log2(unigram[next]);
                    bigramBits -= asked[next] * Math.Log2(smoothed);
                }
            }
        }

        return new NGramBaselines(unigramBits / validation.NumBytes, bigramBits / validation.NumBytes);
    }

    /// <summary>Measures the baselines of whole documents.</summary>
    public static NGramBaselines Measure(IEnumerable<ReadOnlyMemory<byte>> train, IEnumerable<ReadOnlyMemory<byte>> validation) => Measure(Count(train), Count(validation));

    private static ByteCounts Count(IEnumerable<ReadOnlyMemory<byte>> documents)
    {
        ByteCounts counts = new();
        foreach (ReadOnlyMemory<byte> document in documents)
        {
            counts.Add(document.Span, beginsDocument: true, endsDocument: true);
        }

        return counts;
    }

    private static double[] Unigram(ByteCounts train)
    {
        const double Added = 0.5;
        double[] probabilities = new double[ByteCounts.NumSymbols];
        double total = Added * ByteCounts.NumSymbols;
        for (int previous = 0; previous < ByteCounts.NumSymbols; previous++)
        {
            ReadOnlySpan<long> followers = train.Followers(previous);
            for (int next = 0; next < ByteCounts.NumSymbols; next++)
            {
                probabilities[next] += followers[next];
                total += followers[next];
            }
        }

        for (int next = 0; next < ByteCounts.NumSymbols; next++)
        {
            probabilities[next] = (probabilities[next] + Added) / total;
        }

        return probabilities;
    }
}

/// <summary>How often each byte follows each other byte; a 257th symbol stands for the boundary of documents.</summary>
public sealed class ByteCounts
{
    internal const int NumSymbols = 257;

    private const int Boundary = 256;

    private readonly long[] _counts = new long[NumSymbols * NumSymbols]; // [previous, next]
    private int _previous = Boundary;

    /// <summary>Bytes counted; boundaries are not bytes.</summary>
    public long NumBytes { get; private set; }

    /// <summary>Counts a passage; passages of one document follow each other.</summary>
    public void Add(ReadOnlySpan<byte> text, bool beginsDocument, bool endsDocument)
    {
        int previous = beginsDocument ? Boundary : _previous;
        foreach (byte next in text)
        {
            _counts[(previous * NumSymbols) + next]++;
            previous = next;
        }

        if (endsDocument)
        {
            _counts[(previous * NumSymbols) + Boundary]++;
            previous = Boundary;
        }

        _previous = previous;
        NumBytes += text.Length;
    }

    /// <summary>How often a byte value occurs.</summary>
    public long Occurrences(byte value)
    {
        long count = 0;
        for (int previous = 0; previous < NumSymbols; previous++)
        {
            count += _counts[(previous * NumSymbols) + value];
        }

        return count;
    }

    internal ReadOnlySpan<long> Followers(int previous) => _counts.AsSpan(previous * NumSymbols, NumSymbols);
}
