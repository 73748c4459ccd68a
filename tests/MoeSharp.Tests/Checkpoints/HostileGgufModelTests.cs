using System.Buffers.Binary;
using MoeSharp.Checkpoints;

namespace MoeSharp.Tests.Checkpoints;

/// <summary>GGUF files whose metadata lies: opening a model tells it, with the project's own exceptions, at once.</summary>
public sealed class HostileGgufModelTests
{
    private const int WindowBytes = 4;

    [Theory]
    [InlineData("deepseek2-v3like", 60)]
    [InlineData("mixtral", 60)]
    public void Changed_numbers_raise_only_errors_of_the_format(string name, int changes) => Change(name, changes);

    [Theory]
    [Trait("Category", "Slow")]
    [InlineData("deepseek2-v3like", 5000)]
    [InlineData("deepseek2-yarn", 5000)]
    [InlineData("qwen2moe", 5000)]
    [InlineData("mixtral", 5000)]
    public void Thousands_of_changed_numbers_raise_only_errors_of_the_format(string name, int changes) => Change(name, changes);

    private static void Change(string name, int changes)
    {
        byte[] original = File.ReadAllBytes(GgufModelTests.Fixture(name, "model.gguf"));
        int metadata = original.AsSpan().IndexOf("tokenizer.ggml.model"u8);
        using TemporaryFolder folder = new();
        File.WriteAllBytes(folder["model.gguf"], original);
        Random random = new(7);
        uint[] numbers = [0, 1, 2, 3, 7, 255, 65536, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF];
        using FileStream file = new(folder["model.gguf"], FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
        byte[] window = new byte[WindowBytes];
        for (int change = 0; change < changes; change++)
        {
            int at = random.Next(24, metadata);
            uint number = random.Next(3) == 0 ? (uint)random.NextInt64(uint.MaxValue) : numbers[random.Next(numbers.Length)];
            BinaryPrimitives.WriteUInt32LittleEndian(window, number);
            Write(file, at, window);
            try
            {
                using ModelFiles files = ModelFiles.Open(folder["model.gguf"]);
                _ = files.Plan(WeightTarget.Native);
            }
            catch (MoeSharpException)
            {
            }

            Write(file, at, original.AsSpan(at, WindowBytes));
        }

        ModelFiles.Open(folder["model.gguf"]).Dispose(); // everything was put back
    }

    private static void Write(FileStream file, int at, ReadOnlySpan<byte> bytes)
    {
        file.Position = at;
        file.Write(bytes);
        file.Flush();
    }
}
