using System.Text;
using MoeSharp.Tokenization;

namespace MoeSharp.Cli;

/// <summary>Texts that the user names: UTF-8 files and standard input, checked, without a byte order mark.</summary>
internal static class TextFile
{
    private static readonly byte[] ByteOrderMark = [0xEF, 0xBB, 0xBF];

    /// <summary>Reads a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="advice">What to give, for the message when there is no such file.</param>
    /// <exception cref="ConfigurationException">There is no such file, or it is not UTF-8.</exception>
    public static string Read(string path, string advice = "Give a UTF-8 text file.")
    {
        byte[] content = File.Exists(path) ? File.ReadAllBytes(path) : throw new ConfigurationException($"{path}: no such file. {advice}");
        return Decode(content, path);
    }

    /// <summary>Reads standard input to its end.</summary>
    /// <exception cref="ConfigurationException">It is not UTF-8.</exception>
    public static string ReadStandardInput()
    {
        using MemoryStream content = new();
        using Stream input = Console.OpenStandardInput();
        input.CopyTo(content);
        return Decode(content.GetBuffer().AsSpan(0, (int)content.Length), "standard input");
    }

    private static string Decode(ReadOnlySpan<byte> content, string source)
    {
        Utf8Text.ThrowIfInvalid(content, source);
        return Encoding.UTF8.GetString(content.StartsWith(ByteOrderMark) ? content[ByteOrderMark.Length..] : content);
    }
}
