using MoeSharp.Inference;

namespace MoeSharp.Tests.Inference;

public sealed class PublishedSamplingTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("moe-sampling-").FullName;

    [Theory]
    [InlineData("""{"do_sample": true, "temperature": 0.6, "top_k": 20, "top_p": 0.95, "min_p": 0.01, "repetition_penalty": 1.05}""", 0.6f, 20, 0.95f, 0.01f, 1.05f)]
    [InlineData("""{"do_sample": true}""", 1f, 0, 1f, 0f, 1f)]
    [InlineData("""{"temperature": 0.3, "top_p": null}""", 0.3f, 0, 1f, 0f, 1f)]
    public void What_the_file_says_is_taken(string json, float temperature, int topK, float topP, float minP, float penalty)
    {
        Assert.Equal(new SamplingOptions { Temperature = temperature, TopK = topK, TopP = topP, MinP = minP, RepetitionPenalty = penalty }, Read(json));
    }

    [Theory]
    [InlineData("""{"eos_token_id": 2}""")]
    [InlineData("""{"do_sample": false, "temperature": 0.6}""")]
    [InlineData("[]")]
    public void Without_a_wish_there_is_none(string json) => Assert.Null(Read(json));

    [Theory]
    [InlineData("""{"do_sample": true, "temperature": -1}""", "temperature")]
    [InlineData("""{"do_sample": true, "top_p": "high"}""", "top_p")]
    [InlineData("""{"do_sample": true, "top_k": -7}""", "top-k")]
    public void What_makes_no_sense_names_the_file(string json, string part)
    {
        string message = Assert.Throws<ConfigurationException>(() => Read(json)).Message;
        Assert.Contains(part, message, StringComparison.Ordinal);
        Assert.Contains("generation_config.json", message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_that_is_no_json_and_a_folder_without_one()
    {
        Assert.Throws<FileFormatException>(() => Read("{"));
        Assert.Null(PublishedSampling.Of(Path.Combine(_folder, "elsewhere")));
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private SamplingOptions? Read(string json)
    {
        File.WriteAllText(Path.Combine(_folder, "generation_config.json"), json);
        return PublishedSampling.Of(_folder);
    }
}
