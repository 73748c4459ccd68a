using System.Text.Json;
using MoeSharp.Tokenization;

namespace MoeSharp.Tests.Tokenization;

public class TokenizerFileTests
{
    internal static (string Left, string Right)[] MergesOf(Tokenizer tokenizer)
    {
        using TemporaryFolder folder = new();
        tokenizer.Save(folder.Path);
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder.Path, "tokenizer.json")));
        return [.. document.RootElement.GetProperty("model").GetProperty("merges").EnumerateArray()
            .Select(merge => merge.GetString()!.Split(' ')).Select(sides => (sides[0], sides[1]))];
    }
}
