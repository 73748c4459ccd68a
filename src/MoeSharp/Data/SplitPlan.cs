using MoeSharp.Kernels;

namespace MoeSharp.Data;

/// <summary>Which documents are for validation: drawn by the content of each, so that equal documents land on the same side, until their share of the bytes is reached.</summary>
internal sealed class SplitPlan
{
    private readonly bool[] _isValidation;

    private SplitPlan(bool[] isValidation, long cutByte, long numBytes)
    {
        _isValidation = isValidation;
        CutByte = cutByte;
        NumBytes = numBytes;
    }

    /// <summary>Documents.</summary>
    public int NumDocuments => _isValidation.Length;

    /// <summary>Where a single document is cut, in bytes from its begin; 0 when whole documents are assigned.</summary>
    public long CutByte { get; }

    /// <summary>Bytes of text.</summary>
    public long NumBytes { get; }

    /// <summary>Reads the whole source once, which also checks that it is text.</summary>
    /// <exception cref="ConfigurationException">There is no text at all, or the source is not text.</exception>
    public static SplitPlan Make(IDocumentSource source, DatasetOptions options, Action<long> reportBytes)
    {
        List<Draw> draws = [];
        ContentHash64 hash = default;
        long numBytes = 0;
        long begin = 0;
        foreach (TextPassage passage in source.ReadPassages())
        {
            hash.Add(passage.Utf8.Span);
            numBytes += passage.Utf8.Length;
            if (passage.EndsDocument)
            {
                draws.Add(new Draw(SplitMix64.Mix(hash.Value ^ SplitMix64.Mix(options.SplitSeed)), numBytes - begin, draws.Count));
                hash = default;
                begin = numBytes;
            }

            reportBytes(numBytes);
        }

        if (draws.Count == 0)
        {
            throw new ConfigurationException("the data holds no text: " + (source.Warnings.Count > 0 ? string.Join("; ", source.Warnings.Take(5)) : "no documents"));
        }

        if (draws.Count == 1)
        {
            long cut = Math.Clamp((long)(numBytes * (1 - options.ValidationFraction)), 1, Math.Max(1, numBytes - 1));
            return new SplitPlan([false], cut, numBytes);
        }

        return new SplitPlan(Assign(draws, (long)(numBytes * options.ValidationFraction)), 0, numBytes);
    }

    /// <summary>True for documents that are for validation.</summary>
    public bool IsValidation(int document) => _isValidation[document];

    /// <summary>Where the single document goes over to validation within a passage: at the last line end before the place; -1 where it does not.</summary>
    /// <param name="passage">A passage of the only document.</param>
    /// <param name="bytesBefore">Bytes of the document before it.</param>
    public int CutWithin(TextPassage passage, long bytesBefore)
    {
        ReadOnlySpan<byte> text = passage.Utf8.Span;
        long before = CutByte - bytesBefore;
        if (before <= 0 || before > text.Length || (before == text.Length && !passage.EndsDocument))
        {
            return -1;
        }

        int cut = TextCutter.CutLength(text[..(int)before]);
        return cut < text.Length ? cut : TextCutter.LastCharacter(text);
    }

    private static bool[] Assign(List<Draw> draws, long wantedBytes)
    {
        draws.Sort((left, right) => left.Number != right.Number ? left.Number.CompareTo(right.Number) : left.Document.CompareTo(right.Document));
        bool[] isValidation = new bool[draws.Count];
        long taken = 0;
        int smallest = 0;
        long smallestBytes = long.MaxValue;
        for (int first = 0; first < draws.Count;)
        {
            int end = EndOfEqual(draws, first);
            long bytes = draws[first].Bytes * (end - first);

            if (bytes < smallestBytes)
            {
                (smallest, smallestBytes) = (first, bytes);
            }

            if (taken + bytes <= wantedBytes)
            {
                Mark(draws, first, end, isValidation);
                taken += bytes;
            }
            else if (bytes <= wantedBytes)
            {
                break; // enough; what is larger than the whole share is passed over
            }

            first = end;
        }

        if (taken == 0)
        {
            bool areAllEqual = draws[0].Number == draws[^1].Number; // then nothing can be kept apart
            Mark(draws, smallest, areAllEqual ? smallest + 1 : EndOfEqual(draws, smallest), isValidation);
        }

        return isValidation;
    }

    private static int EndOfEqual(List<Draw> draws, int first)
    {
        int end = first;
        while (end < draws.Count && draws[end].Number == draws[first].Number)
        {
            end++;
        }

        return end;
    }

    private static void Mark(List<Draw> draws, int first, int end, bool[] isValidation)
    {
        for (int i = first; i < end; i++)
        {
            isValidation[draws[i].Document] = true;
        }
    }

    /// <summary>A document with the number drawn for its content.</summary>
    private readonly record struct Draw(ulong Number, long Bytes, int Document);
}
