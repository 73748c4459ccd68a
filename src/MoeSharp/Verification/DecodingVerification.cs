using System.Text.Json;
using MoeSharp.Checkpoints;
using MoeSharp.Kernels;
using MoeSharp.Kernels.Formats;

namespace MoeSharp.Verification;

/// <summary>Compares stored blocks of weights with the values that they mean, bit for bit.</summary>
internal static class DecodingVerification
{
    public const string BlocksFile = "blocks.safetensors";
    public const string IndexFile = "index.json";

    private const string RawSuffix = ".raw";

    /// <summary>A file with <c>FORMAT.raw</c> bytes and <c>FORMAT.expected</c> floats.</summary>
    public static void CompareBlocks(string folder, VerificationResults results)
    {
        using SafetensorsFile file = SafetensorsFile.Open(Path.Combine(folder, BlocksFile));
        foreach (string raw in file.Names.Where(name => name.EndsWith(RawSuffix, StringComparison.Ordinal)).Order(StringComparer.Ordinal))
        {
            string name = raw[..^RawSuffix.Length];
            byte[] blocks = [.. Difference.ReadIntegers(file, raw).Select(code => (byte)code)];
            Compare(name, blocks, Difference.Read(file, name + ".expected"), results);
        }
    }

    /// <summary>A folder with an index.json of formats, FORMAT.bin and FORMAT.f32.</summary>
    public static void CompareRows(string folder, VerificationResults results)
    {
        string path = Path.Combine(folder, IndexFile);
        try
        {
            using JsonDocument index = JsonDocument.Parse(File.ReadAllText(path));
            foreach (JsonElement entry in index.RootElement.EnumerateArray())
            {
                string name = entry.GetProperty("type").GetString() ?? "";
                byte[] stored = File.ReadAllBytes(Path.Combine(folder, Path.GetFileName(name) + ".f32"));
                float[] expected = new float[stored.Length / sizeof(float)];
                NumberFormats.ReadFloat32(stored, expected);
                Compare(name, File.ReadAllBytes(Path.Combine(folder, Path.GetFileName(name) + ".bin")), expected, results);
            }
        }
        catch (Exception exception) when (exception is JsonException or KeyNotFoundException or InvalidOperationException or FileNotFoundException)
        {
            throw new FileFormatException($"{path}: {exception.Message}", exception);
        }
    }

    private static void Compare(string name, byte[] blocks, float[] expected, VerificationResults results)
    {
        if (WeightFormats.Find(name) is not { } format)
        {
            results.AddUnknown(name, "no such format of weights is known");
            return;
        }

        float[] values = new float[expected.Length];
        BlockDecoder.Decode(format, blocks, values);
        (int count, int first) = (0, 0);
        for (int i = 0; i < expected.Length; i++)
        {
            if (!IsSame(values[i], expected[i]))
            {
                first = count++ == 0 ? i : first;
            }
        }

        string detail = count == 0
            ? Difference.Text($"{expected.Length} values, bit for bit")
            : Difference.Text($"{expected.Length} values, first at {first}: {values[first]:G9} for {expected[first]:G9}");
        results.Checks.Add(new VerificationCheck(format.Name(), "mismatches", count, 0, detail));
    }

    // Which of its many forms a NaN takes, and the sign of a zero that scales to it, carry no weight.
    private static bool IsSame(float actual, float expected) =>
        BitConverter.SingleToInt32Bits(actual) == BitConverter.SingleToInt32Bits(expected) || (float.IsNaN(actual) && float.IsNaN(expected)) || (actual == 0 && expected == 0);
}
