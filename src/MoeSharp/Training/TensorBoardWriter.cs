using System.Buffers.Binary;
using System.Numerics;
using System.Text;

namespace MoeSharp.Training;

/// <summary>Writes scalars as a TensorBoard event file: TFRecord framing around a few hand-written protobuf fields.</summary>
/// <remarks>
/// A record is length (u64), masked CRC-32C of the length, content, masked CRC-32C of the content; all little-endian.
/// Content is a protobuf Event: wall_time = 1 (double), step = 2 (varint), then file_version = 3 (string), summary = 5 or session_log = 7.
/// </remarks>
public sealed class TensorBoardWriter : IDisposable
{
    private const uint CrcMaskDelta = 0xa282ead8; // constant of the TFRecord format
    private const int WallTimeField = (1 << 3) | 1; // protobuf key: field number, then wire type (0 varint, 1 64-bit, 2 bytes, 5 32-bit)
    private const int StepField = 2 << 3;
    private const int FileVersionField = (3 << 3) | 2;
    private const int SummaryField = (5 << 3) | 2;
    private const int SessionLogField = (7 << 3) | 2;
    private const int ValueField = (1 << 3) | 2;
    private const int TagField = (1 << 3) | 2;
    private const int SimpleValueField = (2 << 3) | 5;
    private const int SessionStatusField = 1 << 3;
    private const int SessionStart = 1;

    private readonly FileStream _file;
    private readonly TimeProvider _clock;
    private readonly MemoryStream _event = new();
    private readonly MemoryStream _value = new();

    /// <summary>Starts a new event file in a folder.</summary>
    /// <param name="folder">Folder that TensorBoard is pointed at.</param>
    /// <param name="firstStep">Step that the file starts with; events of older files from there on are superseded (a resumed run).</param>
    /// <param name="clock">Wall clock.</param>
    public TensorBoardWriter(string folder, long firstStep, TimeProvider clock)
    {
        _clock = clock;
        long seconds = clock.GetUtcNow().ToUnixTimeSeconds();
        string path = System.IO.Path.Combine(folder, $"events.out.tfevents.{seconds:D10}.{Environment.MachineName}.{firstStep}");
        for (int copy = 1; File.Exists(path); copy++)
        {
            path = System.IO.Path.Combine(folder, $"events.out.tfevents.{seconds:D10}.{Environment.MachineName}.{firstStep}-{copy}");
        }

        Path = path;
        _file = new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.Read);
        BeginEvent(0);
        WriteBytes(_event, FileVersionField, "brain.Event:2"u8);
        EndEvent();
        BeginEvent(firstStep);
        WriteBytes(_event, SessionLogField, [SessionStatusField, SessionStart]);
        EndEvent();
        _file.Flush();
    }

    /// <summary>The event file.</summary>
    public string Path { get; }

    /// <summary>Writes one scalar.</summary>
    /// <param name="tag">Name of the curve, for example <c>train/loss</c>.</param>
    /// <param name="step">Step.</param>
    /// <param name="value">Value.</param>
    public void Scalar(string tag, long step, double value)
    {
        _value.SetLength(0);
        WriteBytes(_value, TagField, Encoding.UTF8.GetBytes(tag));
        _value.WriteByte(SimpleValueField);
        Span<byte> bits = stackalloc byte[sizeof(float)];
        BinaryPrimitives.WriteSingleLittleEndian(bits, (float)value);
        _value.Write(bits);

        BeginEvent(step);
        _event.WriteByte(SummaryField);
        WriteVarint(_event, (ulong)(1 + VarintLength((ulong)_value.Length) + _value.Length));
        WriteBytes(_event, ValueField, _value.GetBuffer().AsSpan(0, (int)_value.Length));
        EndEvent();
    }

    /// <summary>Hands what was written to the operating system.</summary>
    public void Flush() => _file.Flush();

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();

    /// <summary>The masked CRC-32C of TFRecord files: the checksum rotated right by 15 bits plus a constant.</summary>
    internal static uint MaskedCrc(ReadOnlySpan<byte> bytes)
    {
        uint crc = uint.MaxValue;
        foreach (byte value in bytes)
        {
            crc = BitOperations.Crc32C(crc, value);
        }

        return BitOperations.RotateRight(~crc, 15) + CrcMaskDelta;
    }

    private void BeginEvent(long step)
    {
        _event.SetLength(0);
        Span<byte> bits = stackalloc byte[sizeof(double)];
        BinaryPrimitives.WriteDoubleLittleEndian(bits, _clock.GetUtcNow().ToUnixTimeMilliseconds() / 1000.0);
        _event.WriteByte(WallTimeField);
        _event.Write(bits);
        _event.WriteByte(StepField);
        WriteVarint(_event, (ulong)step);
    }

    private void EndEvent()
    {
        ReadOnlySpan<byte> content = _event.GetBuffer().AsSpan(0, (int)_event.Length);
        Span<byte> header = stackalloc byte[12];
        BinaryPrimitives.WriteUInt64LittleEndian(header, (ulong)content.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(header[8..], MaskedCrc(header[..8]));
        Span<byte> footer = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(footer, MaskedCrc(content));
        _file.Write(header);
        _file.Write(content);
        _file.Write(footer);
    }

    private static void WriteBytes(MemoryStream stream, int key, ReadOnlySpan<byte> bytes)
    {
        stream.WriteByte((byte)key);
        WriteVarint(stream, (ulong)bytes.Length);
        stream.Write(bytes);
    }

    private static void WriteVarint(MemoryStream stream, ulong value)
    {
        for (; value >= 0x80; value >>= 7)
        {
            stream.WriteByte((byte)(value | 0x80));
        }

        stream.WriteByte((byte)value);
    }

    private static int VarintLength(ulong value)
    {
        int length = 1;
        for (; value >= 0x80; value >>= 7)
        {
            length++;
        }

        return length;
    }
}
