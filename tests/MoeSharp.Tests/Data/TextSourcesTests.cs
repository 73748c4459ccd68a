using System.Text;
using MoeSharp.Data;

namespace MoeSharp.Tests.Data;

public sealed class TextSourcesTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_folder_means_every_file_below_it_in_a_fixed_order_without_hidden_ones()
    {
        _folder.Write("b.txt", "b");
        _folder.Write("a/z.md", "z");
        _folder.Write("a/deep/er/x.txt", "x");
        _folder.Write(".git/config", "no");
        _folder.Write("a/.hidden", "no");
        Assert.Equal(["a/deep/er/x.txt", "a/z.md", "b.txt"], Names(_folder.Root));
    }

    [Theory]
    [InlineData("*.txt", "b.txt")]
    [InlineData("**/*.txt", "a/c/x.txt,a/y.txt,b.txt")]
    [InlineData("a/?.txt", "a/y.txt")]
    [InlineData("a/**", "a/c/x.txt,a/y.txt,a/z.md")]
    [InlineData("**/c/*", "a/c/x.txt")]
    [InlineData("a/**/x.*", "a/c/x.txt")]
    [InlineData("*/*.md", "a/z.md")]
    public void Globs_match_within_names_and_across_folders(string pattern, string expected)
    {
        _folder.Write("b.txt", "b");
        _folder.Write("a/y.txt", "y");
        _folder.Write("a/z.md", "z");
        _folder.Write("a/c/x.txt", "x");
        Assert.Equal(expected.Split(','), Names(Path.Combine(_folder.Root, pattern)));
    }

    [Fact]
    public void A_file_whose_name_looks_like_a_pattern_is_taken_as_it_is_and_no_file_twice()
    {
        string odd = _folder.Write("what?.txt", "odd");
        _folder.Write("whats.txt", "other");
        Assert.Equal(["what?.txt"], Names(odd));
        Assert.Equal(["what?.txt", "whats.txt"], Names(odd, _folder.Root));
    }

    [Theory]
    [InlineData("a.txt", "one\n---\ntwo", false)]
    [InlineData("a.txt", "one\n --- \ntwo", true)]
    [InlineData("a.jsonl", "{\"text\": \"one\"}\n{\"text\": \"two\"}", true)]
    public void A_separator_that_divides_nothing_is_a_warning(string name, string content, bool warns)
    {
        _folder.Write(name, content);
        TextSources sources = TextSources.Expand([_folder.Root], new TextSourceOptions { Separator = "---" });
        Assert.NotEmpty(sources.ReadDocuments().ToArray());
        Assert.Equal(warns, sources.Warnings.Any(warning => warning.Contains("---", StringComparison.Ordinal)));
    }

    [Theory]
    [InlineData("nothing.txt")]
    [InlineData("*.jsonl")]
    [InlineData("no/such/**")]
    [InlineData("")]
    public void A_pattern_that_matches_nothing_is_named(string pattern)
    {
        _folder.Write("a.txt", "a");
        string given = pattern.Length == 0 ? "" : Path.Combine(_folder.Root, pattern);
        ConfigurationException error = Assert.Throws<ConfigurationException>(() => TextSources.Expand([Path.Combine(_folder.Root, "a.txt"), given]));
        Assert.Contains($"'{given}'", error.Message);
    }

    [Fact]
    public void A_text_file_is_one_document_and_a_byte_order_mark_is_no_text()
    {
        _folder.Write("a.txt", [0xEF, 0xBB, 0xBF, .. "first\n\n\fstill first"u8]);
        _folder.Write("b.md", "\u4F60\u597D\u0001\n");
        Assert.Equal(["first\n\n\fstill first", "\u4F60\u597D\u0001\n"], Texts(new TextSourceOptions()));
    }

    [Theory]
    [InlineData("one\n<|end|>\ntwo\n", "one\n|two\n")]
    [InlineData("<|end|>\none\r\n<|end|>\r\n<|end|>\ntwo\n<|end|>", "one\r\n|two\n")]
    [InlineData("not <|end|> here\n<|end|> nor here\n", "not <|end|> here\n<|end|> nor here\n")]
    public void A_separator_line_ends_a_document(string text, string expected)
    {
        _folder.Write("a.txt", text);
        Assert.Equal(expected.Replace("<|end|>", "#").Split('|').Select(part => part.Replace("#", "<|end|>")), Texts(new TextSourceOptions { Separator = "<|end|>" }));
    }

    [Theory]
    [InlineData(TaskNaming.None, ",law,")]
    [InlineData(TaskNaming.File, "a,records,a")]
    [InlineData(TaskNaming.Folder, "prose,prose,verse")]
    public void Texts_are_named_after_their_file_or_folder(TaskNaming naming, string expected)
    {
        _folder.Write("prose/a.txt", "one");
        _folder.Write("prose/records.jsonl", "{\"text\": \"two\", \"domain\": \"law\"}");
        _folder.Write("verse/a.txt", "three");

        TextSources sources = TextSources.Expand([_folder.Root], new TextSourceOptions { TaskFrom = naming });

        Assert.Equal(expected.Split(','), sources.ReadDocuments().Select(document => document.Domain));
    }

    [Fact]
    public void A_text_without_the_field_that_names_tasks_is_refused()
    {
        string plain = _folder.Write("plain.txt", "one");
        string records = _folder.Write("records.jsonl", "{\"text\": \"two\", \"domain\": \"law\"}");
        TextSourceOptions options = new() { TaskFrom = TaskNaming.Field };

        Assert.Equal("law", Assert.Single(TextSources.Expand([records], options).ReadDocuments()).Domain);
        string message = Assert.Throws<ConfigurationException>(() => TextSources.Expand([plain], options).ReadDocuments().ToList()).Message;
        Assert.Contains(plain, message, StringComparison.Ordinal);
        Assert.Contains("domain", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(10)]
    [InlineData(TextPassage.MaximumBytes - 1)]
    [InlineData(TextPassage.MaximumBytes)]
    [InlineData(300_000)]
    public void Invalid_utf8_names_file_and_offset_of_the_first_bad_byte(int offset)
    {
        byte[] text = Enumerable.Repeat((byte)'a', offset + 50).ToArray();
        text[offset] = 0xC3; // begins a character that does not go on
        string path = _folder.Write("bad.txt", text);
        ConfigurationException error = Assert.Throws<ConfigurationException>(() => Texts(new TextSourceOptions()));
        Assert.Contains(path, error.Message);
        Assert.Contains($"byte {offset} (0xC3)", error.Message);
    }

    [Fact]
    public void A_character_cut_off_by_the_end_of_the_file_is_refused()
    {
        _folder.Write("bad.txt", [.. "text "u8, 0xE4, 0xBD]);
        Assert.Contains("byte 5 ", Assert.Throws<ConfigurationException>(() => Texts(new TextSourceOptions())).Message);
    }

    [Fact]
    public void A_binary_file_is_refused_with_the_offset()
    {
        string path = _folder.Write("image.png", [0x41, 0x42, 0x00, 0xFF]);
        ConfigurationException error = Assert.Throws<ConfigurationException>(() => Texts(new TextSourceOptions()));
        Assert.Contains($"{path}: byte 2 is NUL", error.Message);
    }

    [Fact]
    public void Utf16_is_recognised()
    {
        _folder.Write("wide.txt", Encoding.Unicode.GetPreamble().Concat(Encoding.Unicode.GetBytes("text")).ToArray());
        Assert.Contains("UTF-16", Assert.Throws<ConfigurationException>(() => Texts(new TextSourceOptions())).Message);
    }

    [Fact]
    public void Empty_files_are_skipped_with_a_warning()
    {
        _folder.Write("a.txt", "");
        _folder.Write("b.txt", "text");
        _folder.Write("c.jsonl", "\n\n");
        _folder.Write("d.txt", [0xEF, 0xBB, 0xBF]);
        TextSources sources = TextSources.Expand([_folder.Root]);
        Assert.Equal(["text"], sources.ReadDocuments().Select(document => document.Text));
        Assert.Equal(["a.txt", "c.jsonl", "d.txt"], sources.Warnings.Select(warning => Path.GetFileName(warning.Split(" is empty")[0])));
    }

    [Theory]
    [InlineData("plain")]
    [InlineData("lines")]
    [InlineData("chinese")]
    public void A_document_longer_than_a_passage_comes_in_passages_of_whole_characters(string kind)
    {
        string unit = kind switch { "plain" => "abcdefg", "lines" => "some words in a line\n", _ => "\u6F22\u5B57\U0001F600" };
        string text = string.Concat(Enumerable.Repeat(unit, 300_000 / Encoding.UTF8.GetByteCount(unit)));
        _folder.Write("long.txt", text);
        List<TextPassage> passages = [];
        StringBuilder whole = new();
        foreach (TextPassage passage in TextSources.Expand([_folder.Root]).ReadPassages())
        {
            Assert.InRange(passage.Utf8.Length, 1, TextPassage.MaximumBytes);
            passages.Add(passage);
            string part = Encoding.UTF8.GetString(passage.Utf8.Span);
            Assert.True(kind != "lines" || part.EndsWith('\n'));
            whole.Append(part);
        }

        Assert.Equal(text, whole.ToString());
        Assert.True(passages.Count >= 5);
        Assert.Equal([0], Enumerable.Range(0, passages.Count).Where(i => passages[i].BeginsDocument));
        Assert.Equal([passages.Count - 1], Enumerable.Range(0, passages.Count).Where(i => passages[i].EndsDocument));
    }

    [Fact]
    public void A_text_of_exactly_one_passage_is_one_passage()
    {
        _folder.Write("a.txt", new string('x', TextPassage.MaximumBytes));
        List<TextPassage> passages = [.. TextSources.Expand([_folder.Root]).ReadPassages()];
        Assert.Equal((true, true, TextPassage.MaximumBytes), (passages.Single().BeginsDocument, passages.Single().EndsDocument, passages.Single().Utf8.Length));
    }

    [Fact]
    public void Json_lines_give_the_chosen_field_unescaped_with_its_domain()
    {
        _folder.Write("a.jsonl", """
            {"id": 1, "body": "a \"quote\" \u4f60\ud83d\ude00\n", "domain": "x", "more": {"body": "no"}}

            {"body": "second", "domain": 3}
            """);
        List<Document> documents = [.. TextSources.Expand([_folder.Root], "body").ReadDocuments()];
        Assert.Equal(["a \"quote\" \u4F60\U0001F600\n", "second"], documents.Select(document => document.Text));
        Assert.Equal(["x", ""], documents.Select(document => document.Domain));
    }

    [Theory]
    [InlineData("{\"text\": \"ok\"}\n{\"title\": \"a\", \"body\": \"b\"}\n", ":2", "title, body")]
    [InlineData("{\"text\": \"ok\"}\n{}\n", ":2", "no fields")]
    [InlineData("\n{\"text\": 5}\n", ":2", "Number")]
    [InlineData("{\"text\": \"ok\"}\n{\"text\": \"cut off\n", ":2", "not a JSON record")]
    [InlineData("{\"text\": \"ok\"} tail\n", ":1", "not a JSON record")]
    [InlineData("[1]\n", ":1", "not an object")]
    [InlineData("{\"text\": \"\\ud800\"}\n", ":1", "surrogate")]
    [InlineData("plain words\n", ":1", "not a JSON record")]
    public void A_bad_record_is_an_error_with_file_and_line(string content, string line, string reason)
    {
        string path = _folder.Write("a.jsonl", content);
        ConfigurationException error = Assert.Throws<ConfigurationException>(() => Texts(new TextSourceOptions()));
        Assert.Contains(path + line, error.Message);
        Assert.Contains(reason, error.Message);
    }

    [Fact]
    public void Invalid_utf8_in_json_lines_has_its_offset_in_the_file()
    {
        _folder.Write("a.jsonl", [.. "{\"text\": \"ok\"}\n{\"text\": \""u8, 0xFF, .. "\"}\n"u8]);
        Assert.Contains("byte 25 (0xFF)", Assert.Throws<ConfigurationException>(() => Texts(new TextSourceOptions())).Message);
    }

    [Fact]
    public void A_record_longer_than_the_buffer_is_read_whole()
    {
        string text = string.Concat(Enumerable.Repeat("0123456789", 50_000));
        _folder.Write("a.jsonl", $"{{\"text\": \"first\"}}\n{{\"text\": \"{text}\"}}\n{{\"text\": \"last\"}}");
        Assert.Equal(["first", text, "last"], Texts(new TextSourceOptions()));
    }

    [Fact]
    public void A_separator_with_a_line_break_is_refused() =>
        Assert.Contains("line break", Assert.Throws<ConfigurationException>(() => TextSources.Expand(["x"], new TextSourceOptions { Separator = "a\nb" })).Message);

    private IEnumerable<string> Names(params string[] patterns) =>
        TextSources.Expand(patterns).Files.Select(file => Path.GetRelativePath(_folder.Root, file).Replace('\\', '/'));

    private List<string> Texts(TextSourceOptions options) => [.. TextSources.Expand([_folder.Root], options).ReadDocuments().Select(document => document.Text)];
}
