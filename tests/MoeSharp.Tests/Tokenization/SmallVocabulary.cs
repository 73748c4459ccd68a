using System.Text;
using System.Text.Json.Nodes;
using MoeSharp.Tokenization;

namespace MoeSharp.Tests.Tokenization;

/// <summary>Small tokenizer files that tests vary member by member.</summary>
internal static class SmallVocabulary
{
    /// <summary>A byte-fallback vocabulary in the manner of SentencePiece: letters a, b, c, the blank stand-in, all bytes.</summary>
    public static JsonObject Characters()
    {
        JsonObject vocab = new() { ["<unk>"] = 0, ["<s>"] = 1, ["</s>"] = 2 };
        for (int value = 0; value < 256; value++)
        {
            vocab[$"<0x{value:X2}>"] = 3 + value;
        }

        foreach (string token in (string[])["\u2581", "a", "b", "c", "ab", "\u2581ab", "aa"])
        {
            vocab[token] = vocab.Count;
        }

        return new JsonObject
        {
            ["added_tokens"] = new JsonArray(Added(0, "<unk>"), Added(1, "<s>"), Added(2, "</s>")),
            ["decoder"] = JsonNode.Parse("""
                {"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"\u2581"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]}
                """),
            ["model"] = new JsonObject
            {
                ["type"] = "BPE",
                ["unk_token"] = "<unk>",
                ["fuse_unk"] = true,
                ["byte_fallback"] = true,
                ["vocab"] = vocab,
                ["merges"] = new JsonArray("a b", "\u2581 ab", "a a"),
            },
        };
    }

    /// <summary>An entry of added_tokens.</summary>
    public static JsonObject Added(int id, string content, bool special = true, bool normalized = false) =>
        new() { ["id"] = id, ["content"] = content, ["special"] = special, ["normalized"] = normalized };

    /// <summary>Reads the file as a tokenizer.</summary>
    public static Tokenizer Parse(JsonNode file, string? config = null) => TokenizerFile.Parse(
        Encoding.UTF8.GetBytes(file.ToJsonString()), "small/tokenizer.json", config is null ? null : Encoding.UTF8.GetBytes(config), "small/tokenizer_config.json");

    /// <summary>Spells the tokens of a text.</summary>
    public static string Tokens(Tokenizer tokenizer, string text, bool addSpecialTokens = false) =>
        string.Join('|', tokenizer.Encode(text, addSpecialTokens).Select(tokenizer.TokenText));
}
