using System.Buffers.Binary;
using MoeSharp.Kernels;

namespace MoeSharp.Data;

/// <summary>A running 64-bit hash of text that is the same on every platform; decides which split a document belongs to. Not for security.</summary>
internal struct ContentHash64
{
    private ulong _state;

    /// <summary>Hash of what was added.</summary>
    public readonly ulong Value => SplitMix64.Mix(_state);

    /// <summary>Adds a passage; its length counts, so that the same bytes cut otherwise give another hash.</summary>
    public void Add(ReadOnlySpan<byte> bytes)
    {
        _state = SplitMix64.Mix(_state ^ (ulong)bytes.Length);
        while (bytes.Length >= sizeof(ulong))
        {
            _state = SplitMix64.Mix(_state ^ BinaryPrimitives.ReadUInt64LittleEndian(bytes));
            bytes = bytes[sizeof(ulong)..];
        }

        ulong tail = 0;
        for (int i = 0; i < bytes.Length; i++)
        {
            tail |= (ulong)bytes[i] << (8 * i);
        }

        _state = SplitMix64.Mix(_state ^ tail);
    }
}
