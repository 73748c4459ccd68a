using System.Buffers.Binary;
using System.Text;
using MoeSharp.Training;

namespace MoeSharp.Tests.Training;

public sealed class TensorBoardWriterTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("moe-events").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Masked_checksum_is_that_of_the_format()
    {
        // CRC-32C of "123456789" is 0xE3069283 (the check value of the polynomial); masked: rotate right by 15, add 0xa282ead8.
        uint crc = 0xE3069283;
        uint masked = ((crc >> 15) | (crc << 17)) + 0xa282ead8u;

        Assert.Equal(masked, TensorBoardWriter.MaskedCrc("123456789"u8));
    }

    [Fact]
    public void Scalars_read_back()
    {
        string path;
        using (TensorBoardWriter writer = new(_folder, firstStep: 0, TimeProvider.System))
        {
            writer.Scalar("train/loss", 1, 2.5);
            writer.Scalar("validation/a name that is longer than one hundred and twenty-seven bytes, so that its length needs two bytes as a protobuf varint number", 300, -0.125);
            path = writer.Path;
        }

        List<TestEvent> events = Read(path);

        Assert.StartsWith("events.out.tfevents.", Path.GetFileName(path), StringComparison.Ordinal);
        Assert.Equal("brain.Event:2", events[0].FileVersion);
        Assert.Equal((1L, "train/loss", 2.5f), (events[2].Step, events[2].Tag, events[2].Value));
        Assert.Equal((300L, -0.125f), (events[3].Step, events[3].Value));
        Assert.EndsWith("varint number", events[3].Tag, StringComparison.Ordinal);
        Assert.InRange(events[2].WallTime, 1.6e9, 1e10);
    }

    [Fact]
    public void A_resumed_run_gets_its_own_file_that_supersedes_later_steps()
    {
        using TensorBoardWriter first = new(_folder, 0, TimeProvider.System);
        using TensorBoardWriter second = new(_folder, 12, TimeProvider.System);
        second.Flush();

        Assert.NotEqual(first.Path, second.Path);
        TestEvent start = Read(second.Path)[1];
        Assert.Equal((12L, true), (start.Step, start.IsSessionStart));
    }

    private sealed class TestEvent
    {
        public double WallTime;
        public long Step;
        public string FileVersion = "";
        public string Tag = "";
        public float Value;
        public bool IsSessionStart;
    }

    private static List<TestEvent> Read(string path)
    {
        byte[] bytes;
        using (FileStream file = new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite))
        {
            bytes = new byte[file.Length];
            file.ReadExactly(bytes);
        }

        List<TestEvent> events = [];
        for (int at = 0; at < bytes.Length;)
        {
            int length = (int)BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(at));
            Assert.Equal(Mask(Crc(bytes.AsSpan(at, 8))), BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(at + 8)));
            ReadOnlySpan<byte> content = bytes.AsSpan(at + 12, length);
            Assert.Equal(Mask(Crc(content)), BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(at + 12 + length)));
            events.Add(ParseEvent(content));
            at += 16 + length;
        }

        return events;
    }

    private static TestEvent ParseEvent(ReadOnlySpan<byte> content)
    {
        TestEvent parsed = new();
        for (int at = 0; at < content.Length;)
        {
            ulong key = Varint(content, ref at);
            switch (key)
            {
                case (1 << 3) | 1:
                    parsed.WallTime = BinaryPrimitives.ReadDoubleLittleEndian(content[at..]);
                    at += 8;
                    break;
                case 2 << 3:
                    parsed.Step = (long)Varint(content, ref at);
                    break;
                case (3 << 3) | 2:
                    parsed.FileVersion = Encoding.UTF8.GetString(Bytes(content, ref at));
                    break;
                case (5 << 3) | 2:
                    ReadOnlySpan<byte> summary = Bytes(content, ref at);
                    int inner = 0;
                    Assert.Equal((1UL << 3) | 2, Varint(summary, ref inner));
                    ReadOnlySpan<byte> value = Bytes(summary, ref inner);
                    inner = 0;
                    Assert.Equal((1UL << 3) | 2, Varint(value, ref inner));
                    parsed.Tag = Encoding.UTF8.GetString(Bytes(value, ref inner));
                    Assert.Equal((2UL << 3) | 5, Varint(value, ref inner));
                    parsed.Value = BinaryPrimitives.ReadSingleLittleEndian(value[inner..]);
                    break;
                case (7 << 3) | 2:
                    parsed.IsSessionStart = Bytes(content, ref at).SequenceEqual(new byte[] { 1 << 3, 1 });
                    break;
                default:
                    Assert.Fail($"unexpected protobuf key {key}");
                    break;
            }
        }

        return parsed;
    }

    private static ReadOnlySpan<byte> Bytes(ReadOnlySpan<byte> content, ref int at)
    {
        int length = (int)Varint(content, ref at);
        at += length;
        return content.Slice(at - length, length);
    }

    private static ulong Varint(ReadOnlySpan<byte> content, ref int at)
    {
        ulong value = 0;
        for (int shift = 0; ; shift += 7)
        {
            byte next = content[at++];
            value |= (ulong)(next & 0x7f) << shift;
            if (next < 0x80)
            {
                return value;
            }
        }
    }

    // Bit by bit, with the reflected Castagnoli polynomial.
    private static uint Crc(ReadOnlySpan<byte> bytes)
    {
        uint crc = uint.MaxValue;
        foreach (byte value in bytes)
        {
            crc ^= value;
            for (int bit = 0; bit < 8; bit++)
            {
                crc = (crc >> 1) ^ ((crc & 1) * 0x82F63B78u);
            }
        }

        return ~crc;
    }

    private static uint Mask(uint crc) => ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}
