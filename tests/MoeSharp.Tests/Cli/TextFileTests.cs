using MoeSharp.Cli;
using TemporaryFolder = MoeSharp.Tests.Tokenization.TemporaryFolder;

namespace MoeSharp.Tests.Cli;

public sealed class TextFileTests
{
    [Theory]
    [InlineData(new byte[] { 0xEF, 0xBB, 0xBF, 0xC3, 0xA4 }, "\u00E4")]
    [InlineData(new byte[] { 0xC3, 0xA4, 0xEF, 0xBB, 0xBF }, "\u00E4\uFEFF")] // only the first three bytes are a mark
    [InlineData(new byte[] { }, "")]
    public void A_byte_order_mark_is_not_text(byte[] content, string text)
    {
        using TemporaryFolder folder = new();
        Assert.Equal(text, TextFile.Read(Write(folder, content)));
    }

    [Fact]
    public void A_file_of_prompts_may_begin_with_a_byte_order_mark()
    {
        using TemporaryFolder folder = new();
        Assert.Equal(["the cat"], PromptFile.Read(Write(folder, [0xEF, 0xBB, 0xBF, .. "{\"prompt\": \"the cat\"}\n"u8])));
    }

    [Fact]
    public void What_is_missing_or_not_UTF8_is_named_with_a_remedy()
    {
        using TemporaryFolder folder = new();
        string missing = Path.Combine(folder.Path, "missing.txt");
        Assert.Equal($"{missing}: no such file. Give a poem.", Assert.Throws<ConfigurationException>(() => TextFile.Read(missing, "Give a poem.")).Message);
        Assert.Contains("offset 1", Assert.Throws<ConfigurationException>(() => TextFile.Read(Write(folder, [65, 0xFF]))).Message, StringComparison.Ordinal);
    }

    private static string Write(TemporaryFolder folder, byte[] content)
    {
        string path = Path.Combine(folder.Path, "text");
        File.WriteAllBytes(path, content);
        return path;
    }
}
