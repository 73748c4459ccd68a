using System.Buffers.Binary;

namespace MoeSharp.Tokenization;

/// <summary>
/// Remembers the ids of short pieces. Bounded: a fixed number of slots, each piece may only live in a few of them, and when the
/// stores of bytes or ids are full everything is forgotten. At most about 12 MiB.
/// </summary>
internal sealed class PieceCache
{
    /// <summary>Longest piece remembered, in bytes. Longer ones seldom repeat.</summary>
    public const int MaxPieceBytes = 48;

    private const int NumSlots = 1 << 17;
    private const int MaxProbes = 4;
    private const int StoreSize = 1 << 20;

    private readonly Entry[] _entries = new Entry[NumSlots];
    private byte[] _bytes = new byte[1 << 14];
    private int[] _ids = new int[1 << 13];
    private int _bytesUsed;
    private int _idsUsed;

    /// <summary>Appends the remembered ids of a piece; false when it is not remembered.</summary>
    public bool TryAppend(ReadOnlySpan<byte> piece, uint hash, List<int> ids)
    {
        for (int probe = 0; probe < MaxProbes; probe++)
        {
            ref readonly Entry entry = ref _entries[(hash + (uint)probe) & (NumSlots - 1)];
            if (entry.Hash == hash && entry.NumBytes == piece.Length && piece.SequenceEqual(_bytes.AsSpan(entry.BytesStart, entry.NumBytes)))
            {
                if (entry.NumIds == 1)
                {
                    ids.Add(_ids[entry.IdsStart]);
                }
                else
                {
                    ids.AddRange(_ids.AsSpan(entry.IdsStart, entry.NumIds));
                }

                return true;
            }
        }

        return false;
    }

    /// <summary>Remembers the ids of a piece of at most <see cref="MaxPieceBytes"/>.</summary>
    public void Add(ReadOnlySpan<byte> piece, uint hash, ReadOnlySpan<int> ids)
    {
        if (_bytesUsed + piece.Length > StoreSize || _idsUsed + ids.Length > StoreSize)
        {
            Array.Clear(_entries);
            (_bytesUsed, _idsUsed) = (0, 0);
        }

        Grow(piece.Length, ids.Length);
        uint slot = hash & (NumSlots - 1);
        for (int probe = 0; probe < MaxProbes; probe++)
        {
            uint candidate = (hash + (uint)probe) & (NumSlots - 1);
            if (_entries[candidate].NumBytes == 0)
            {
                slot = candidate;
                break;
            }
        }

        _entries[slot] = new Entry(hash, _bytesUsed, _idsUsed, (byte)piece.Length, (byte)ids.Length);
        piece.CopyTo(_bytes.AsSpan(_bytesUsed));
        ids.CopyTo(_ids.AsSpan(_idsUsed));
        _bytesUsed += piece.Length;
        _idsUsed += ids.Length;
    }

    /// <summary>A hash of a piece.</summary>
    public static uint HashOf(ReadOnlySpan<byte> piece)
    {
        ulong hash = (ulong)piece.Length * 0x9E3779B97F4A7C15;
        while (piece.Length >= 8)
        {
            hash = Mix(hash ^ BinaryPrimitives.ReadUInt64LittleEndian(piece));
            piece = piece[8..];
        }

        ulong tail = 0;
        foreach (byte value in piece)
        {
            tail = (tail << 8) | value;
        }

        return (uint)(Mix(hash ^ tail) >> 32);
    }

    // Multiplier and shift of the MurmurHash3 64-bit finaliser's first round: every input bit reaches the upper half.
    private static ulong Mix(ulong value)
    {
        value *= 0xFF51AFD7ED558CCD;
        return value ^ (value >> 33);
    }

    private void Grow(int numBytes, int numIds)
    {
        if (_bytesUsed + numBytes > _bytes.Length)
        {
            Array.Resize(ref _bytes, _bytes.Length * 2);
        }

        if (_idsUsed + numIds > _ids.Length)
        {
            Array.Resize(ref _ids, _ids.Length * 2);
        }
    }

    private readonly record struct Entry(uint Hash, int BytesStart, int IdsStart, byte NumBytes, byte NumIds);
}
