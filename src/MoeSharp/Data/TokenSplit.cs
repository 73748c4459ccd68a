using System.Buffers.Binary;
using System.IO.MemoryMappedFiles;

namespace MoeSharp.Data;

/// <summary>The tokens of one split (training or validation) in a memory-mapped shard, with the places of its documents.</summary>
/// <remarks>
/// File, little-endian: magic "MOETOKS1", int32 bytes per token (2 or 4), int32 vocabulary size, int64 tokens, int64 passages, zeros to byte 64;
/// the tokens; zeros to a multiple of 8; then 24 bytes per passage: int64 first token, int64 bytes of text, int32 domain, int32 flags (1 begins, 2 ends a document).
/// Reading is safe from any number of <see cref="TokenReader"/>s at once.
/// </remarks>
public sealed class TokenSplit : IDisposable
{
    internal const int HeaderBytes = 64;
    internal const int PassageBytes = 24;
    internal const int FlagBegins = 1;
    internal const int FlagEnds = 2;

    private readonly string _path;
    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;
    private readonly long[] _begins; // of each passage, and NumTokens at the end
    private readonly long[] _bytes;
    private readonly int[] _domains;
    private readonly bool[] _beginsDocument;

    private TokenSplit(string path, MemoryMappedFile file, long fileBytes, int numDomains)
    {
        _path = path;
        _file = file;
        _view = file.CreateViewAccessor(0, fileBytes, MemoryMappedFileAccess.Read);
        byte[] header = new byte[HeaderBytes];
        _view.ReadArray(0, header, 0, HeaderBytes);
        if (!header.AsSpan().StartsWith(Magic))
        {
            throw Damaged("it does not begin with the mark of a token shard");
        }

        TokenBytes = BinaryPrimitives.ReadInt32LittleEndian(header.AsSpan(8));
        VocabSize = BinaryPrimitives.ReadInt32LittleEndian(header.AsSpan(12));
        NumTokens = BinaryPrimitives.ReadInt64LittleEndian(header.AsSpan(16));
        long numPassages = BinaryPrimitives.ReadInt64LittleEndian(header.AsSpan(24));
        long indexBegin = CheckSizes(numPassages, fileBytes);
        _begins = new long[numPassages + 1];
        _bytes = new long[numPassages];
        _domains = new int[numPassages];
        _beginsDocument = new bool[numPassages];
        ReadIndex(indexBegin, numDomains);
    }

    /// <summary>Tokens, with those that begin and end documents.</summary>
    public long NumTokens { get; }

    /// <summary>Tokens that can be predicted: all but the first of each document.</summary>
    public long NumTargets => NumTokens - NumDocuments;

    /// <summary>Documents, or parts of one where a single document was split by position.</summary>
    public int NumDocuments { get; private set; }

    /// <summary>Bytes of text, which bits per byte divide by.</summary>
    public long NumBytes { get; private set; }

    /// <summary>Ids are below this.</summary>
    public int VocabSize { get; }

    internal static ReadOnlySpan<byte> Magic => "MOETOKS1"u8;

    internal int TokenBytes { get; }

    internal int NumPassages => _bytes.Length;

    /// <inheritdoc/>
    public void Dispose()
    {
        _view.Dispose();
        _file.Dispose();
    }

    /// <summary>Opens a shard and checks everything that its header and index claim.</summary>
    /// <exception cref="FileFormatException">The file breaks the rules of the format.</exception>
    internal static TokenSplit Open(string path, int numDomains)
    {
        long fileBytes = new FileInfo(path).Length;
        if (fileBytes < HeaderBytes)
        {
            throw new FileFormatException($"{path}: damaged token shard: {fileBytes} bytes are too few for a header");
        }

        FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, bufferSize: 0);
        MemoryMappedFile file = MemoryMappedFile.CreateFromFile(stream, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: false);
        try
        {
            return new TokenSplit(path, file, fileBytes, numDomains);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    internal long PassageBegin(int passage) => _begins[passage];

    internal long PassageEnd(int passage) => _begins[passage + 1];

    internal long PassageTextBytes(int passage) => _bytes[passage];

    internal int PassageDomain(int passage) => _domains[passage];

    internal bool BeginsDocument(int passage) => _beginsDocument[passage];

    /// <summary>The passage after the last of the document that <paramref name="passage"/> begins.</summary>
    internal int EndOfDocument(int passage)
    {
        int end = passage + 1;
        while (end < NumPassages && !_beginsDocument[end])
        {
            end++;
        }

        return end;
    }

    internal void ReadRaw(long begin, ushort[] destination, int count) => _view.ReadArray(HeaderBytes + (begin * sizeof(ushort)), destination, 0, count);

    internal void ReadRaw(long begin, int[] destination, int count) => _view.ReadArray(HeaderBytes + (begin * sizeof(int)), destination, 0, count);

    internal FileFormatException Damaged(string why) => new($"{_path}: damaged token shard: {why}; delete its folder to have it built again");

    private long CheckSizes(long numPassages, long fileBytes)
    {
        if (TokenBytes is not (2 or 4) || VocabSize < 1 || (TokenBytes == 2 && VocabSize > ushort.MaxValue + 1))
        {
            throw Damaged($"it claims {TokenBytes} bytes per token of a vocabulary of {VocabSize}");
        }

        if (NumTokens < 0 || numPassages < 1 || NumTokens > fileBytes / TokenBytes || numPassages > fileBytes / PassageBytes || numPassages >= Array.MaxLength)
        {
            throw Damaged($"it claims {NumTokens} tokens in {numPassages} passages, which {fileBytes} bytes cannot hold");
        }

        long indexBegin = IndexOffset(NumTokens, TokenBytes);
        if (indexBegin + (numPassages * PassageBytes) != fileBytes)
        {
            throw Damaged($"{NumTokens} tokens and {numPassages} passages take {indexBegin + (numPassages * PassageBytes)} bytes, and the file has {fileBytes}");
        }

        return indexBegin;
    }

    internal static long IndexOffset(long numTokens, int tokenBytes) => (HeaderBytes + (numTokens * tokenBytes) + 7) / 8 * 8;

    private void ReadIndex(long indexBegin, int numDomains)
    {
        byte[] entry = new byte[PassageBytes];
        for (int i = 0; i < _bytes.Length; i++)
        {
            _view.ReadArray(indexBegin + ((long)i * PassageBytes), entry, 0, PassageBytes);
            _begins[i] = BinaryPrimitives.ReadInt64LittleEndian(entry);
            _bytes[i] = BinaryPrimitives.ReadInt64LittleEndian(entry.AsSpan(8));
            _domains[i] = BinaryPrimitives.ReadInt32LittleEndian(entry.AsSpan(16));
            _beginsDocument[i] = (BinaryPrimitives.ReadInt32LittleEndian(entry.AsSpan(20)) & FlagBegins) != 0;
            if (_begins[i] < (i == 0 ? 0 : _begins[i - 1]) || _begins[i] > NumTokens || _bytes[i] < 0 || _domains[i] < 0 || _domains[i] >= numDomains)
            {
                throw Damaged($"the entry of passage {i} is out of range");
            }

            NumDocuments += _beginsDocument[i] ? 1 : 0;
            NumBytes += _bytes[i];
        }

        _begins[^1] = NumTokens;
        for (int i = 0; i < _bytes.Length; i++)
        {
            if (_beginsDocument[i] && _begins[i] == _begins[i + 1])
            {
                throw Damaged($"passage {i} begins a document without a token");
            }
        }

        if (_begins[0] != 0 || !_beginsDocument[0])
        {
            throw Damaged("its first passage does not begin a document at token 0");
        }
    }
}

/// <summary>Reads tokens of a split; one reader serves one thread.</summary>
/// <param name="split">The split; must outlive the reader.</param>
public sealed class TokenReader(TokenSplit split)
{
    private const int ChunkTokens = 4096;

    private readonly ushort[] _narrow = new ushort[ChunkTokens];
    private readonly int[] _wide = new int[ChunkTokens];

    /// <summary>Reads consecutive tokens.</summary>
    /// <param name="begin">First token.</param>
    /// <param name="destination">Receives the ids; all below the vocabulary size.</param>
    /// <exception cref="ArgumentOutOfRangeException">The range leaves the split.</exception>
    /// <exception cref="FileFormatException">The shard holds an id outside the vocabulary.</exception>
    public void Read(long begin, Span<int> destination)
    {
        if (begin < 0 || begin > split.NumTokens - destination.Length)
        {
            throw new ArgumentOutOfRangeException(nameof(begin), $"tokens {begin} to {begin + destination.Length} leave a split of {split.NumTokens}");
        }

        while (destination.Length > 0)
        {
            int count = Math.Min(destination.Length, ChunkTokens);
            ReadChunk(begin, destination[..count]);
            begin += count;
            destination = destination[count..];
        }
    }

    private void ReadChunk(long begin, Span<int> destination)
    {
        if (split.TokenBytes == sizeof(ushort))
        {
            split.ReadRaw(begin, _narrow, destination.Length);
            for (int i = 0; i < destination.Length; i++)
            {
                destination[i] = BitConverter.IsLittleEndian ? _narrow[i] : BinaryPrimitives.ReverseEndianness(_narrow[i]);
            }
        }
        else
        {
            split.ReadRaw(begin, _wide, destination.Length);
            for (int i = 0; i < destination.Length; i++)
            {
                destination[i] = BitConverter.IsLittleEndian ? _wide[i] : BinaryPrimitives.ReverseEndianness(_wide[i]);
            }
        }

        foreach (int id in destination)
        {
            if ((uint)id >= (uint)split.VocabSize)
            {
                throw split.Damaged($"token id {id} is outside the vocabulary of {split.VocabSize}");
            }
        }
    }
}
