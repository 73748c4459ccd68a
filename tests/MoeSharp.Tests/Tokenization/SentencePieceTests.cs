using System.Text;
using MoeSharp.Tokenization;

namespace MoeSharp.Tests.Tokenization;

/// <summary>SentencePiece models: merging by score, kinds of pieces, the file format.</summary>
public class SentencePieceTests
{
    [Theory]
    [InlineData("", "")]
    [InlineData("ab", "_ab")]
    [InlineData("abab", "_ab|ab")]
    [InlineData("aab", "_|a|ab")]
    [InlineData("a b", "_|a|_|b")]
    [InlineData("a\nab", "_|a|\n|ab")]
    [InlineData("\n", "_|\n")]
    [InlineData("b1a", "_|b|1|a")]
    [InlineData("x", "_|<0x78>")]
    [InlineData("<s>ab", "<s>|_ab")]
    [InlineData("\u00e9", "_|<0xC3>|<0xA9>")]
    public void Pieces_merge_by_score_and_kind(string text, string expected)
    {
        Tokenizer tokenizer = Build(Small());
        int[] ids = tokenizer.Encode(text, addSpecialTokens: false);

        Assert.Equal(expected, string.Join('|', ids.Select(tokenizer.TokenText)).Replace('\u2581', '_'));
        Assert.Equal(text, tokenizer.Decode(ids, skipSpecialTokens: false).Replace("<s> ", "<s>", StringComparison.Ordinal));
    }

    [Fact]
    public void Any_text_merges_as_the_definition_says()
    {
        Random random = new(5);
        for (int round = 0; round < 300; round++)
        {
            SentencePieceModel model = RandomModel(random);
            Tokenizer tokenizer = Build(model);
            Dictionary<string, float> scores = [];
            for (int id = 0; id < model.Pieces.Length; id++)
            {
                if (model.Kinds[id] == SentencePieceKind.Normal)
                {
                    scores[model.Pieces[id]] = model.Scores[id];
                }
            }

            string text = RandomText(random, 1 + random.Next(80));
            List<string> expected = ReferenceSentencePiece.Encode("\u2581" + text.Replace(' ', '\u2581'), scores, ["\n", "cc"]);

            Assert.Equal(string.Join('|', expected), string.Join('|', tokenizer.Encode(text, addSpecialTokens: false).Select(tokenizer.TokenText)));
        }
    }

    [Fact]
    public void A_model_reads_back_as_written()
    {
        SentencePieceModel model = Small() with { AddDummyPrefix = false, RemoveExtraWhitespaces = true, UnknownId = 0, PadId = 2, CharacterMap = [] };
        SentencePieceModel again = SentencePieceModel.Read(model.Write(), "test");

        Assert.Equal(model.Pieces, again.Pieces);
        Assert.Equal(model.Scores, again.Scores);
        Assert.Equal(model.Kinds, again.Kinds);
        Assert.Equal(model with { Pieces = again.Pieces, Scores = again.Scores, Kinds = again.Kinds, CharacterMap = again.CharacterMap }, again);
    }

    [Theory]
    [InlineData(true, false, "ab b ", "_ab|_|b|_")]
    [InlineData(false, false, " ab", "_ab")]
    [InlineData(true, true, "  ab   b ", "_ab|_|b")]
    [InlineData(true, true, "   ", "")]
    public void Blanks_are_treated_as_the_model_says(bool prefix, bool removesExtra, string text, string expected)
    {
        Tokenizer tokenizer = Build(Small() with { AddDummyPrefix = prefix, RemoveExtraWhitespaces = removesExtra });

        Assert.Equal(expected, string.Join('|', tokenizer.Encode(text, addSpecialTokens: false).Select(tokenizer.TokenText)).Replace('\u2581', '_'));
    }

    [Fact]
    public void Tokens_that_the_configuration_adds_are_recognised()
    {
        const string Config = """
            {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "add_bos_token": true, "chat_template": "{{ messages }}",
             "added_tokens_decoder": {"1": {"content": "<s>", "special": true}, "400": {"content": "<|im_start|>", "special": true}}}
            """;
        Tokenizer tokenizer = SentencePieceTokenizer.Build(Small(), null, "small", Encoding.UTF8.GetBytes(Config), "config", null);

        Assert.Equal("<s>|<|im_start|>|\u2581ab", string.Join('|', tokenizer.Encode("<|im_start|>ab", addSpecialTokens: true).Select(tokenizer.TokenText)));
        Assert.Equal(401, tokenizer.VocabSize);
        Assert.False(tokenizer.HasToken(399));
        Assert.Equal("{{ messages }}", tokenizer.ChatTemplates.Single().Source);
    }

    [Fact]
    public void A_table_of_replacements_takes_the_longest_entry()
    {
        // A double array by hand: root at 0 with offset 256; "A" at 256^65, "AB" at its offset 512; leaves hold where replacements begin.
        uint[] units = new uint[1024];
        units[0] = 256u << 10;
        units[256 ^ 65] = (512u ^ 256 ^ 65) << 10 | 0x100 | 65;
        units[512] = 0x80000000;
        units[512 ^ 66] = (768u ^ 512 ^ 66) << 10 | 0x100 | 66;
        units[768] = 0x80000002;
        List<byte> table = [.. BitConverter.GetBytes(units.Length * 4)];
        foreach (uint unit in units)
        {
            table.AddRange(BitConverter.GetBytes(unit));
        }

        table.AddRange("a\0xyz\0"u8);
        PrecompiledNormalizer normalizer = PrecompiledNormalizer.Parse(table.ToArray(), "test");

        Assert.Equal("a-xyz-\u00E9axyz", Encoding.UTF8.GetString(normalizer.Rewrite(Encoding.UTF8.GetBytes("A-AB-\u00E9AAB"))!));
        Assert.Null(normalizer.Rewrite("bcd"u8));
    }

    [Theory]
    [InlineData("", "holds 0 pieces")]
    [InlineData("0A", "longer than ten bytes|ends inside")]
    [InlineData("0AFFFFFFFF0F", "bytes long, but 0 are left")]
    [InlineData("0A050A0361", "bytes long, but")]
    [InlineData("0A030A01FF", "is not UTF-8")]
    [InlineData("0A050A01611809", "unknown type 9")]
    [InlineData("0A050A01611D00", "ends inside")]
    [InlineData("0B", "unknown storage 3")]
    [InlineData("00", "impossible number")]
    [InlineData("FFFFFFFFFFFFFFFFFFFFFF", "longer than ten bytes")]
    [InlineData("0A030A016112021803", "is of the kind \\(model_type\\) 3")]
    [InlineData("0A030A016112021800", "is of the kind \\(model_type\\) 0")]
    public void A_broken_file_is_named_with_place_and_rule(string hex, string expected)
    {
        string message = Assert.Throws<FileFormatException>(() => SentencePieceModel.Read(Convert.FromHexString(hex), "bad.model")).Message;

        Assert.StartsWith("bad.model ", message, StringComparison.Ordinal);
        Assert.Matches(expected, message);
    }

    [Fact]
    public void No_damage_to_the_file_escapes_as_another_error()
    {
        byte[] content = Small().Write();
        Random random = new(11);
        for (int round = 0; round < 3000; round++)
        {
            byte[] damaged = [.. content];
            for (int count = random.Next(1, 4); count > 0; count--)
            {
                damaged[random.Next(damaged.Length)] = (byte)random.Next(256);
            }

            try
            {
                Build(SentencePieceModel.Read(damaged, "damaged")).Encode("ab \n\u00e9", addSpecialTokens: true);
            }
            catch (FileFormatException)
            {
                // The one error allowed.
            }
        }
    }

    internal static SentencePieceModel Small()
    {
        List<(string Piece, float Score, SentencePieceKind Kind)> pieces =
        [
            ("<unk>", 0, SentencePieceKind.Unknown), ("<s>", 0, SentencePieceKind.Control), ("</s>", 0, SentencePieceKind.Control),
            ("\n", 0, SentencePieceKind.UserDefined), ("1", 0, SentencePieceKind.UserDefined),
        ];
        for (int value = 0; value < 256; value++)
        {
            pieces.Add(($"<0x{value:X2}>", 0, SentencePieceKind.Byte));
        }

        pieces.AddRange([("ab", -1, SentencePieceKind.Normal), ("\u2581ab", -2, SentencePieceKind.Normal), ("\u2581", -3, SentencePieceKind.Normal), ("a", -4, SentencePieceKind.Normal), ("b", -5, SentencePieceKind.Normal)]);
        return Model(pieces);
    }

    private static Tokenizer Build(SentencePieceModel model) => SentencePieceTokenizer.Build(model, null, "small", null, "", null);

    private static SentencePieceModel RandomModel(Random random)
    {
        List<(string Piece, float Score, SentencePieceKind Kind)> pieces = [("<unk>", 0, SentencePieceKind.Unknown), ("\n", 0, SentencePieceKind.UserDefined), ("cc", 0, SentencePieceKind.UserDefined)];
        for (int value = 0; value < 256; value++)
        {
            pieces.Add(($"<0x{value:X2}>", 0, SentencePieceKind.Byte));
        }

        HashSet<string> seen = ["\u2581", "a", "b", "c"];
        for (int count = 0; count < 30; count++)
        {
            seen.Add(RandomText(random, 2 + random.Next(4)).Replace(' ', '\u2581').Replace("\n", "", StringComparison.Ordinal).Replace("x", "", StringComparison.Ordinal));
        }

        // Few scores, so that many pieces tie.
        pieces.AddRange(seen.Where(piece => piece.Length > 0 && piece != "cc").Select(piece => (piece, (float)-random.Next(8), SentencePieceKind.Normal)));
        return Model(pieces);
    }

    private static string RandomText(Random random, int length) => string.Concat(Enumerable.Range(0, length).Select(_ => "aaabbbcc  \nx"[random.Next(12)]));

    private static SentencePieceModel Model(List<(string Piece, float Score, SentencePieceKind Kind)> pieces) => new()
    {
        Pieces = [.. pieces.Select(piece => piece.Piece)],
        Scores = [.. pieces.Select(piece => piece.Score)],
        Kinds = [.. pieces.Select(piece => piece.Kind)],
        HasByteFallback = true,
        RemoveExtraWhitespaces = false,
        BosId = 1,
        EosId = 2,
    };
}
