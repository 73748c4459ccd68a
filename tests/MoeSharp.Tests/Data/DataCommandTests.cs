using System.Text;
using System.Text.Json;
using MoeSharp.Cli;
using MoeSharp.Cli.Commands;
using MoeSharp.Data;

namespace MoeSharp.Tests.Data;

public sealed class DataCommandTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Generated_files_read_back_as_the_corpus_and_its_facts()
    {
        Assert.Equal(0, CommandLine.Run(["data", "generate", "--out", _folder.Root, "--bytes", "50000", "--seed", "4", "--entities", "8"]));
        List<Document> expected = [.. new SyntheticCorpus(4, 8).Documents(50_000)];
        List<Document> actual = [.. TextSources.Expand([Path.Combine(_folder.Root, "corpus.jsonl")]).ReadDocuments()];
        Assert.Equal(expected.Select(document => (document.Text, document.Domain)), actual.Select(document => (document.Text, document.Domain)));
        using JsonDocument facts = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(_folder.Root, "facts.json")));
        Assert.Equal(6 * 8 * 4, facts.RootElement.GetProperty("facts").GetArrayLength());
        Fact first = FactTable.Create(4, 8).Facts[0];
        Assert.Equal(first.Value(Language.Chinese), facts.RootElement.GetProperty("facts")[0].GetProperty("value_zh").GetString());
    }

    [Theory]
    [InlineData("data", "generate", "--out", "x", "--bytes", "0")]
    [InlineData("data", "generate", "--out", "x", "--entities", "3")]
    [InlineData("data", "inspect", "--data", "no-such-file.txt")]
    public void A_mistake_of_the_user_ends_with_2(params string[] arguments) => Assert.Equal(2, CommandLine.Run(arguments));

    [Fact]
    public void A_survey_counts_what_is_there()
    {
        _folder.Write("in/a.txt", "abc 12\n");
        _folder.Write("in/b.txt", "\u6F22\u5B57\u3002\u0416\u00E9!");
        TextSurvey survey = TextSurvey.Of(TextSources.Expand([Path.Combine(_folder.Root, "in")]), null, 0.5);
        Assert.Equal((2, 21, 13, 14), (survey.NumDocuments, survey.NumBytes, survey.NumCharacters, survey.LongestDocumentBytes));
        Dictionary<string, long> scripts = TextSurvey.Scripts.Select((name, index) => (name, survey.CharactersOf(index))).ToDictionary();
        Assert.Equal(
            (3, 2, 2, 1, 2, 1, 1, 1),
            (scripts["ASCII letters"], scripts["digits"], scripts["white space"], scripts["ASCII signs"], scripts["Han"], scripts["CJK signs"], scripts["Cyrillic"], scripts["Latin"]));
        Assert.Null(survey.NumTokens);
        Assert.Equal(21, survey.TrainBytes + survey.ValidationBytes);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(100)]
    public void A_survey_agrees_with_the_dataset_about_split_and_baselines(int numFiles)
    {
        foreach (Document document in SyntheticCorpus.Generate(3, 40_000).Take(numFiles))
        {
            _folder.Write($"in/{document.Source.Replace(':', '-')}.txt", document.Text);
        }

        TextSources sources = TextSources.Expand([Path.Combine(_folder.Root, "in")]);
        TextSurvey survey = TextSurvey.Of(sources, null, 0.2);
        using TokenDataset dataset = ShardBuilder.OpenOrBuild(sources, new ByteEncoder(), Path.Combine(_folder.Root, "cache"), new DatasetOptions { ValidationFraction = 0.2 });
        Assert.Equal(dataset.Train.NumBytes, survey.TrainBytes);
        Assert.Equal(dataset.Validation.NumBytes, survey.ValidationBytes);
        Assert.Equal(dataset.Baselines, survey.Baselines);
    }

    [Fact]
    public void Reports_are_readable_and_valid_json()
    {
        TextSurvey survey = TextSurvey.Of(new DocumentList(SyntheticCorpus.Generate(3, 40_000), "test"), null, 0.1);
        using JsonDocument json = JsonDocument.Parse(DataReport.AsJson(survey));
        Assert.Equal(survey.NumBytes, json.RootElement.GetProperty("bytes").GetInt64());
        Assert.Equal(survey.Baselines.BigramBitsPerByte, json.RootElement.GetProperty("baselines_bits_per_byte").GetProperty("bigram").GetDouble());
        Assert.Equal(6, json.RootElement.GetProperty("domains").EnumerateObject().Count());
        string table = DataReport.AsTable(survey);
        Assert.Contains("arithmetic", table);
        Assert.DoesNotContain('\u00A0', table);
    }
}
