using System.Buffers.Binary;
using System.Security.Cryptography;

namespace MoeSharp.Data;

/// <summary>Writes one split under a temporary name; <see cref="Finish"/> gives it the name of its content.</summary>
internal sealed class ShardWriter : IDisposable
{
    private const int BufferBytes = 1 << 20;

    private readonly string _temporaryPath;
    private readonly FileStream _stream;
    private readonly byte[] _buffer = new byte[BufferBytes];
    private readonly List<long> _begins = [];
    private readonly List<long> _bytes = [];
    private readonly List<int> _domains = [];
    private readonly List<int> _flags = [];
    private readonly int _vocabSize;
    private readonly int _tokenBytes;
    private int _filled;

    /// <summary>Creates the temporary file.</summary>
    public ShardWriter(string folder, string name, int vocabSize)
    {
        _vocabSize = vocabSize;
        _tokenBytes = vocabSize <= ushort.MaxValue + 1 ? sizeof(ushort) : sizeof(int);
        _temporaryPath = Path.Combine(folder, $"{name}.{Environment.ProcessId}.tmp");
        _stream = new FileStream(_temporaryPath, FileMode.Create, FileAccess.ReadWrite, FileShare.None, bufferSize: 0);
        _stream.SetLength(0);
        _stream.Write(new byte[TokenSplit.HeaderBytes]);
    }

    /// <summary>Tokens so far.</summary>
    public long NumTokens { get; private set; }

    /// <summary>Bytes of text so far.</summary>
    public long NumBytes { get; private set; }

    /// <summary>Documents so far.</summary>
    public int NumDocuments { get; private set; }

    /// <summary>Adds a passage.</summary>
    public void Add(ReadOnlySpan<int> tokens, long textBytes, int domain, bool begins, bool ends)
    {
        _begins.Add(NumTokens);
        _bytes.Add(textBytes);
        _domains.Add(domain);
        _flags.Add((begins ? TokenSplit.FlagBegins : 0) | (ends ? TokenSplit.FlagEnds : 0));
        foreach (int token in tokens)
        {
            if ((uint)token >= (uint)_vocabSize)
            {
                throw new ConfigurationException($"the tokenizer gave id {token}, but its vocabulary has {_vocabSize} entries; use a tokenizer whose vocabulary size matches its tokens");
            }

            Append(token);
        }

        NumTokens += tokens.Length;
        NumBytes += textBytes;
        NumDocuments += begins ? 1 : 0;
    }

    /// <summary>Writes index and header, flushes to disk and renames. Returns name, size and hash.</summary>
    public ShardFile Finish(string folder, string name)
    {
        Flush();
        _stream.SetLength(TokenSplit.IndexOffset(NumTokens, _tokenBytes));
        _stream.Seek(0, SeekOrigin.End);
        for (int i = 0; i < _begins.Count; i++)
        {
            Span<byte> entry = Reserve(TokenSplit.PassageBytes);
            BinaryPrimitives.WriteInt64LittleEndian(entry, _begins[i]);
            BinaryPrimitives.WriteInt64LittleEndian(entry[8..], _bytes[i]);
            BinaryPrimitives.WriteInt32LittleEndian(entry[16..], _domains[i]);
            BinaryPrimitives.WriteInt32LittleEndian(entry[20..], _flags[i]);
        }

        Flush();
        WriteHeader();
        _stream.Seek(0, SeekOrigin.Begin);
        string hash = Convert.ToHexStringLower(SHA256.HashData(_stream));
        long length = _stream.Length;
        _stream.Flush(flushToDisk: true);
        _stream.Dispose();
        string file = $"{name}-{hash[..16]}.tokens";
        File.Move(_temporaryPath, Path.Combine(folder, file), overwrite: true);
        return new ShardFile { Name = file, Length = length, Sha256 = hash };
    }

    /// <summary>Closes the file; without <see cref="Finish"/> it is deleted.</summary>
    public void Dispose()
    {
        _stream.Dispose();
        File.Delete(_temporaryPath);
    }

    private void WriteHeader()
    {
        byte[] header = new byte[TokenSplit.HeaderBytes];
        TokenSplit.Magic.CopyTo(header);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(8), _tokenBytes);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(12), _vocabSize);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(16), NumTokens);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(24), _begins.Count);
        _stream.Seek(0, SeekOrigin.Begin);
        _stream.Write(header);
    }

    private void Append(int token)
    {
        Span<byte> place = Reserve(_tokenBytes);
        if (_tokenBytes == sizeof(ushort))
        {
            BinaryPrimitives.WriteUInt16LittleEndian(place, (ushort)token);
        }
        else
        {
            BinaryPrimitives.WriteInt32LittleEndian(place, token);
        }
    }

    private Span<byte> Reserve(int count)
    {
        if (_filled + count > BufferBytes)
        {
            Flush();
        }

        _filled += count;
        return _buffer.AsSpan(_filled - count, count);
    }

    private void Flush()
    {
        _stream.Write(_buffer.AsSpan(0, _filled));
        _filled = 0;
    }
}
