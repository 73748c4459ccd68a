using System.Text;
using MoeSharp.Inference;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Tokenization;

namespace MoeSharp.Tests.Inference;

/// <summary>A tiny random model writes nonsense, but the rules of writing are the same.</summary>
public sealed class TextGeneratorTests : IDisposable
{
    private const int Context = 64;

    private readonly WorkerPool _workers = new(2);
    private readonly Tokenizer _tokenizer;
    private readonly LanguageModel _model;
    private readonly TextGenerator _generator;

    public TextGeneratorTests()
    {
        byte[] text = Encoding.UTF8.GetBytes("the cat sat on the mat. \u732b\u5728\u57ab\u5b50\u4e0a\u3002 ");
        _tokenizer = BpeTrainer.Train([text, text], new BpeTrainerOptions { VocabSize = 280 });
        _model = new LanguageModel(DecodingSessionTests.TinyConfig with { VocabSize = _tokenizer.VocabSize, MaxPositionEmbeddings = Context });
        WeightInit.Initialize(_model, 5, WeightInitScheme.Normal, _workers);
        _generator = new TextGenerator(_model, _tokenizer, _workers);
    }

    [Fact]
    public void Same_seed_same_text()
    {
        GenerationOptions options = new() { MaxTokens = 40, Sampling = new SamplingOptions { Seed = 3 } };
        GenerationResult first = Generate("the cat", options);
        Assert.Equal(first.Text, Generate("the cat", options).Text);
        Assert.NotEqual(first.Text, Generate("the cat", options with { Sampling = new SamplingOptions { Seed = 4 } }).Text);
    }

    [Fact]
    public void Prompt_chunks_and_threads_do_not_change_the_text()
    {
        GenerationOptions options = new() { MaxTokens = 30 };
        GenerationResult expected = Generate("the cat sat on the mat", options);
        using WorkerPool single = new(1);
        TextGenerator other = new(_model, _tokenizer, single) { ChunkTokens = 3 };
        GenerationResult actual = other.Generate(other.EncodePrompt("the cat sat on the mat"), options, _ => { }, TestContext.Current.CancellationToken);
        Assert.Equal(expected.Ids, actual.Ids);
    }

    [Fact]
    public void Pieces_add_up_to_the_text_and_the_text_is_that_of_the_ids()
    {
        StringBuilder pieces = new();
        GenerationOptions options = new() { MaxTokens = 50 };
        GenerationResult result = _generator.Generate(_generator.EncodePrompt("the"), options, piece => pieces.Append(piece), TestContext.Current.CancellationToken);
        Assert.Equal(result.Text, pieces.ToString());
        Assert.Equal(_tokenizer.Decode(result.Ids.ToArray(), skipSpecialTokens: true), result.Text);
    }

    [Fact]
    public void It_stops_at_the_wanted_number_of_tokens()
    {
        GenerationResult result = Generate("the", new GenerationOptions { MaxTokens = 7, StopsAtEndOfText = false });
        Assert.Equal(7, result.Ids.Count);
        Assert.Equal(FinishReason.Length, result.FinishReason);
    }

    [Fact]
    public void Without_a_limit_it_stops_when_the_context_is_full()
    {
        GenerationResult result = Generate("the", new GenerationOptions { StopsAtEndOfText = false });
        Assert.Equal(Context - result.PromptTokens, result.Ids.Count);
        Assert.Equal(FinishReason.Length, result.FinishReason);
    }

    [Fact]
    public void A_stop_string_ends_the_text_before_it()
    {
        GenerationOptions options = new() { MaxTokens = 40, StopsAtEndOfText = false };
        string whole = Generate("the", options).Text;
        string stop = whole.Substring(whole.Length / 2, 3);
        StringBuilder pieces = new();
        GenerationResult stopped = _generator.Generate(_generator.EncodePrompt("the"), options with { Stop = [stop] }, piece => pieces.Append(piece), TestContext.Current.CancellationToken);
        Assert.Equal(whole[..whole.IndexOf(stop, StringComparison.Ordinal)], stopped.Text);
        Assert.Equal(stopped.Text, pieces.ToString());
        Assert.Equal(FinishReason.Stop, stopped.FinishReason);
        Assert.True(stopped.Ids.Count < 40);
    }

    [Fact]
    public void The_end_of_text_token_ends_the_text_and_is_not_part_of_it()
    {
        int end = _tokenizer.EosTokenId!.Value; // trained vocabularies have one
        GenerationOptions options = new() { MaxTokens = 20, Sampling = new SamplingOptions { Temperature = 100 } }; // near uniform over 280 tokens
        GenerationResult stopped = Enumerable.Range(0, 200).Select(seed => Generate("the", options with { Sampling = options.Sampling with { Seed = (ulong)seed } }))
            .First(result => result.FinishReason == FinishReason.Stop);
        Assert.DoesNotContain(end, stopped.Ids);
        Assert.True(stopped.Ids.Count < 20);
    }

    [Fact]
    public void A_further_end_token_ends_the_text_before_it()
    {
        GenerationOptions options = new() { MaxTokens = 20, StopsAtEndOfText = true };
        IReadOnlyList<int> ids = Generate("the", options).Ids;
        int end = ids[^1];
        GenerationResult stopped = Generate("the", options with { EndTokens = [end] });
        Assert.Equal(ids.TakeWhile(id => id != end), stopped.Ids);
        Assert.Equal(FinishReason.Stop, stopped.FinishReason);
    }

    [Fact]
    public void A_prompt_without_room_for_an_answer_is_an_error_with_both_numbers()
    {
        int[] prompt = [.. Enumerable.Repeat(5, Context)];
        string message = Assert.Throws<ConfigurationException>(() => Generate(prompt, new GenerationOptions())).Message;
        Assert.Contains("64 tokens", message);
        Assert.Contains("context holds 64", message);
    }

    [Fact]
    public void Prompt_and_answer_beyond_the_context_are_an_error_that_says_what_fits()
    {
        int[] prompt = [.. Enumerable.Repeat(5, 60)];
        string message = Assert.Throws<ConfigurationException>(() => Generate(prompt, new GenerationOptions { MaxTokens = 5 })).Message;
        Assert.Contains("at most 4", message);
        Assert.Equal(4, Generate(prompt, new GenerationOptions { MaxTokens = 4, StopsAtEndOfText = false }).Ids.Count);
    }

    [Fact]
    public void An_empty_prompt_begins_with_the_token_that_begins_a_text()
    {
        Assert.Equal([_tokenizer.BosTokenId ?? _tokenizer.EosTokenId!.Value], _generator.EncodePrompt(""));
    }

    [Fact]
    public void Ids_outside_the_vocabulary_are_an_error()
    {
        Assert.Throws<ConfigurationException>(() => Generate([_model.Config.VocabSize], new GenerationOptions()));
    }

    [Fact]
    public void Cancelling_ends_the_text_between_tokens()
    {
        using CancellationTokenSource source = new();
        int pieces = 0;
        Action<string> cancelAtThird = _ =>
        {
            if (++pieces == 3)
            {
                source.Cancel();
            }
        };
        Assert.Throws<OperationCanceledException>(() => _generator.Generate([5], new GenerationOptions { StopsAtEndOfText = false }, cancelAtThird, source.Token));
        Assert.Equal(3, pieces);
    }

    [Fact]
    public void A_tokenizer_larger_than_the_model_is_an_error()
    {
        using LanguageModel small = new(DecodingSessionTests.TinyConfig);
        Assert.Throws<ConfigurationException>(() => new TextGenerator(small, _tokenizer, _workers));
    }

    public void Dispose()
    {
        _model.Dispose();
        _workers.Dispose();
    }

    private GenerationResult Generate(string prompt, GenerationOptions options) => Generate(_generator.EncodePrompt(prompt), options);

    private GenerationResult Generate(int[] prompt, GenerationOptions options) =>
        _generator.Generate(prompt, options, _ => { }, TestContext.Current.CancellationToken);
}
