using System.Buffers.Binary;
using System.Text;
using System.Text.Json;
using MoeSharp.Checkpoints;

namespace MoeSharp.Tests.Checkpoints;

/// <summary>Reading safetensors: values, every rule of the format, hostile headers.</summary>
public sealed class SafetensorsFileTests
{
    [Theory]
    [InlineData("F32", "0000803F" + "000020C1", 1f, -10f)]
    [InlineData("BF16", "803F" + "20C1", 1f, -10f)]
    [InlineData("F16", "003C" + "0100", 1f, 5.9604645e-8f)] // second: smallest subnormal
    [InlineData("F64", "000000000000F03F" + "00000000000024C0", 1f, -10f)]
    public void Floats_are_widened_exactly(string dtype, string data, float first, float second)
    {
        using TemporaryFolder folder = new();
        byte[] bytes = Convert.FromHexString(data);
        string path = Write(folder, $$$"""{"x":{"dtype":"{{{dtype}}}","shape":[2],"data_offsets":[0,{{{bytes.Length}}}]}}""", bytes);
        using SafetensorsFile file = SafetensorsFile.Open(path);

        float[] values = new float[2];
        file.ReadFloats("x", values);

        Assert.Equal([first, second], values);
        Assert.Equal([2L], file.Tensor("x").Shape);
    }

    [Theory]
    [InlineData("BOOL", "01", 1)]
    [InlineData("U8", "FF", 255)]
    [InlineData("I8", "FF", -1)]
    [InlineData("I16", "FEFF", -2)]
    [InlineData("U16", "FEFF", 65534)]
    [InlineData("I32", "FEFFFFFF", -2)]
    [InlineData("U32", "FEFFFFFF", 4294967294)]
    [InlineData("I64", "FEFFFFFFFFFFFFFF", -2)]
    [InlineData("U64", "FEFFFFFFFFFFFF7F", long.MaxValue - 1)]
    public void Integers_are_read(string dtype, string data, long expected)
    {
        using TemporaryFolder folder = new();
        byte[] bytes = Convert.FromHexString(data);
        using SafetensorsFile file = SafetensorsFile.Open(Write(folder, $$$"""{"x":{"dtype":"{{{dtype}}}","shape":[],"data_offsets":[0,{{{bytes.Length}}}]}}""", bytes));

        long[] values = new long[1];
        file.ReadIntegers("x", values);

        Assert.Equal(expected, values[0]);
        Assert.Throws<FileFormatException>(() => file.ReadFloats("x", new float[1]));
    }

    [Fact]
    public void A_file_that_is_cut_off_while_it_is_open_is_an_error_and_not_the_end_of_the_process()
    {
        if (OperatingSystem.IsWindows())
        {
            Assert.Skip("Windows does not let a file be cut off while it is mapped");
        }

        using TemporaryFolder folder = new();
        string path = Write(folder, """{"x":{"dtype":"F32","shape":[65536],"data_offsets":[0,262144]},"n":{"dtype":"I64","shape":[1],"data_offsets":[262144,262152]}}""", new byte[262152]);
        using SafetensorsFile file = SafetensorsFile.Open(path);
        using (FileStream cut = new(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete))
        {
            cut.SetLength(8192);
        }

        Assert.Contains(path, Assert.Throws<IOException>(() => file.ReadFloats("x", new float[65536])).Message, StringComparison.Ordinal);
        Assert.Throws<IOException>(() => file.ReadIntegers("n", new long[1]));
    }

    [Fact]
    public void Half_precision_covers_every_code()
    {
        using TemporaryFolder folder = new();
        byte[] bytes = new byte[65536 * 2];
        for (int code = 0; code < 65536; code++)
        {
            BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(code * 2), (ushort)code);
        }

        float[] half = new float[65536];
        float[] brain = new float[65536];
        using SafetensorsFile halves = SafetensorsFile.Open(Write(folder, """{"x":{"dtype":"F16","shape":[65536],"data_offsets":[0,131072]}}""", bytes, "half"));
        using SafetensorsFile brains = SafetensorsFile.Open(Write(folder, """{"x":{"dtype":"BF16","shape":[65536],"data_offsets":[0,131072]}}""", bytes, "brain"));
        halves.ReadFloats("x", half);
        brains.ReadFloats("x", brain);

        for (int code = 0; code < 65536; code++)
        {
            double fraction = code & 0x3FF;
            int exponent = (code >> 10) & 31;
            double magnitude = exponent == 31 ? (fraction == 0 ? double.PositiveInfinity : double.NaN) : exponent == 0 ? fraction * Math.Pow(2, -24) : (1 + (fraction / 1024)) * Math.Pow(2, exponent - 15);
            Assert.Equal((float)(code >= 0x8000 ? -magnitude : magnitude), half[code]);
            Assert.Equal((uint)code << 16, BitConverter.SingleToUInt32Bits(brain[code]));
        }
    }

    [Fact]
    public void A_part_of_a_misaligned_tensor_is_read()
    {
        using TemporaryFolder folder = new();
        byte[] data = [9, 0, 0, 128, 63, 0, 0, 0, 64, 0, 0, 64, 64];
        string path = Write(folder, """{"x":{"dtype":"F32","shape":[3],"data_offsets":[1,13]},"flag":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}""", data);
        using SafetensorsFile file = SafetensorsFile.Open(path);

        float[] values = new float[2];
        file.ReadFloats("x", 1, values);

        Assert.Equal([2f, 3f], values);
        Assert.Equal(["flag", "x"], file.Names);
        Assert.Throws<ArgumentOutOfRangeException>(() => file.ReadFloats("x", 2, values));
        Assert.Throws<ArgumentException>(() => file.ReadFloats("x", values));
    }

    public static TheoryData<string, string> BrokenHeaders => new()
    {
        { """["x"]""", "'{'" },
        { """ {"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", "'{'" },
        { """{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""" + "\t", "only spaces" },
        { """{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}{}""", "only spaces" },
        { """{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}""", "valid JSON" },
        { """{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},}""", "valid JSON" },
        { """{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"x":{"dtype":"F32","shape":[0],"data_offsets":[4,4]}}""", "twice" },
        { """{"x":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", "twice" },
        { """{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"more":1}}""", "unknown key" },
        { """{"x":{"shape":[1],"data_offsets":[0,4]}}""", "exactly" },
        { """{"x":{"dtype":"F32","data_offsets":[0,4]}}""", "exactly" },
        { """{"x":{"dtype":"F32","shape":[1]}}""", "exactly" },
        { """{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}}""", "exactly" },
        { """{"x":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}""", "unknown dtype" },
        { """{"x":{"dtype":7,"shape":[1],"data_offsets":[0,4]}}""", "must be a text" },
        { """{"x":{"dtype":"F32","shape":1,"data_offsets":[0,4]}}""", "must be a list" },
        { """{"x":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}""", "whole numbers" },
        { """{"x":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}""", "whole numbers" },
        { """{"x":{"dtype":"F32","shape":["1"],"data_offsets":[0,4]}}""", "whole numbers" },
        { """{"x":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}}""", "whole numbers" },
        { """{"x":{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,4]}}""", "whole numbers" },
        { """{"x":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}""", "64 bits" },
        { """{"x":{"dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,4]}}""", "64 bits" },
        { """{"x":{"dtype":"F4","shape":[1],"data_offsets":[0,1]},"y":{"dtype":"U8","shape":[3],"data_offsets":[1,4]}}""", "whole number of bytes" },
        { """{"x":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}""", "before it begins" },
        { """{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}""", "takes 8" },
        { """{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"y":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}""", "hole" },
        { """{"x":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"y":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}""", "overlaps" },
        { """{"x":{"dtype":"U8","shape":[3],"data_offsets":[1,4]}}""", "hole" },
        { """{"x":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}""", "without an owner" },
        { """{"x":{"dtype":"U8","shape":[5],"data_offsets":[0,5]}}""", "truncated" },
        { "{}", "without an owner" },
        { """{"__metadata__":{"a":1},"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", "must be a text" },
        { """{"__metadata__":{"a":"1","a":"2"},"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", "twice" },
        { """{"__metadata__":[],"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", "must be an object" },
        { """{"\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", "not valid" },
        { """{"x":{"dtype":"F32","shape":[[[[[[1]]]]]],"data_offsets":[0,4]}}""", "" },
        { """{"x":null}""", "must be an object" },
    };

    [Theory]
    [MemberData(nameof(BrokenHeaders))]
    public void A_broken_rule_is_named(string header, string rule)
    {
        using TemporaryFolder folder = new();
        string path = Write(folder, header, [1, 2, 3, 4]);

        FileFormatException error = Assert.Throws<FileFormatException>(() => SafetensorsFile.Open(path));

        Assert.StartsWith(path, error.Message, StringComparison.Ordinal);
        Assert.Contains(rule, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("")]
    [InlineData("02000000000000")]
    [InlineData("FFFFFFFFFFFFFFFF" + "7B7D")]
    [InlineData("01E1F50500000000" + "7B7D")] // 100,000,001
    [InlineData("0300000000000000" + "7B7D")]
    [InlineData("0300000000000000" + "7BFF7D")]
    [InlineData("0000000000000000")]
    public void A_broken_start_is_refused(string bytes)
    {
        using TemporaryFolder folder = new();
        File.WriteAllBytes(folder["x"], Convert.FromHexString(bytes));

        Assert.Throws<FileFormatException>(() => SafetensorsFile.Open(folder["x"]));
    }

    [Fact]
    public void A_name_never_reaches_the_terminal_raw()
    {
        using TemporaryFolder folder = new();
        string path = Write(folder, """{"\u001b[2J\u0000":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}""", [1, 2, 3, 4]);

        FileFormatException error = Assert.Throws<FileFormatException>(() => SafetensorsFile.Open(path));

        Assert.DoesNotContain(error.Message, char.IsControl);
    }

    [Fact]
    public void Mutated_headers_raise_only_format_errors_and_stay_small()
    {
        using TemporaryFolder folder = new();
        byte[] original = Encoding.UTF8.GetBytes("""{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}}""");
        string[] tokens = ["{", "}", "[", "]", "\"", ",", ":", "-", "1e9", "18446744073709551616", "null", "\\ud83d", "\u00ff", "data_offsets", "shape", "F64", "99999999999", "0", " "];
        Random random = new(20260101);
        int accepted = 0;
        for (int round = 0; round < 4000; round++)
        {
            List<byte> header = [.. original];
            for (int change = random.Next(1, 4); change > 0; change--)
            {
                Mutate(header, random, tokens);
            }

            byte[] bytes = [.. header];
            long before = GC.GetAllocatedBytesForCurrentThread();
            try
            {
                SafetensorsHeader.Parse(bytes, 32, "mutated");
                accepted++;
            }
            catch (FileFormatException)
            {
            }

            Assert.True(GC.GetAllocatedBytesForCurrentThread() - before < 200_000, $"round {round} allocated {GC.GetAllocatedBytesForCurrentThread() - before} bytes");
        }

        Assert.InRange(accepted, 1, 2000); // renamed tensors and changed metadata stay legal
    }

    [Fact]
    public void Mutated_starts_of_files_raise_only_format_errors()
    {
        using TemporaryFolder folder = new();
        byte[] original = File.ReadAllBytes(Write(folder, """{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", new byte[8]));
        Random random = new(7);
        for (int round = 0; round < 500; round++)
        {
            byte[] bytes = original[..random.Next(1, original.Length + 1)];
            bytes[random.Next(Math.Min(bytes.Length, 8))] = (byte)random.Next(256);
            File.WriteAllBytes(folder["mutated"], bytes);
            try
            {
                SafetensorsFile.Open(folder["mutated"]).Dispose();
            }
            catch (FileFormatException)
            {
            }
        }
    }

    [Fact]
    public void Collected_files_are_accepted_or_rejected_as_listed()
    {
        string? fixtures = Environment.GetEnvironmentVariable("MOE_FIXTURES");
        if (string.IsNullOrEmpty(fixtures))
        {
            Assert.Skip("MOE_FIXTURES is not set");
        }

        string folder = Path.Combine(fixtures, "malformed");
        using JsonDocument manifest = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "manifest.json")));
        int files = 0;
        foreach (JsonElement entry in manifest.RootElement.EnumerateArray())
        {
            string name = entry.GetProperty("file").GetString() ?? "";
            if (!name.EndsWith(".safetensors", StringComparison.Ordinal))
            {
                continue;
            }

            Exception? error = Record.Exception(() => SafetensorsFile.Open(Path.Combine(folder, name)).Dispose());
            bool isAccepted = entry.GetProperty("expect").GetString() == "accept";
            Assert.True(isAccepted ? error is null : error is FileFormatException, $"{name} ({entry.GetProperty("why")}): {error?.ToString() ?? "accepted"}");
            files++;
        }

        Assert.True(files > 20);
    }

    private static void Mutate(List<byte> header, Random random, string[] tokens)
    {
        int position = random.Next(header.Count);
        switch (random.Next(5))
        {
            case 0:
                header[position] = (byte)random.Next(256);
                break;
            case 1:
                header.RemoveRange(position, Math.Min(random.Next(1, 12), header.Count - position));
                break;
            case 2:
                header.InsertRange(position, Encoding.UTF8.GetBytes(tokens[random.Next(tokens.Length)]));
                break;
            case 3:
                header.InsertRange(position, header.GetRange(0, position));
                break;
            default:
                header[position] ^= (byte)(1 << random.Next(8));
                break;
        }

        if (header.Count == 0)
        {
            header.Add((byte)'{');
        }
    }

    private static string Write(TemporaryFolder folder, string header, byte[] data, string name = "x.safetensors")
    {
        byte[] json = Encoding.UTF8.GetBytes(header);
        byte[] length = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(length, json.Length);
        File.WriteAllBytes(folder[name], [.. length, .. json, .. data]);
        return folder[name];
    }
}
