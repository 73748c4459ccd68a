using MoeSharp.Model;
using MoeSharp.Tokenization;

namespace MoeSharp.Inference;

/// <summary>Checks a request against a model before any of it runs.</summary>
/// <param name="config">The model.</param>
/// <param name="tokenizer">Its tokenizer.</param>
/// <param name="contextLength">Most tokens of a text; null for what the model's positions allow.</param>
internal sealed class GenerationLimits(ModelConfig config, Tokenizer tokenizer, int? contextLength)
{
    /// <summary>Most tokens of a text, prompt included.</summary>
    public int ContextLength { get; } = contextLength ?? config.MaxPositionEmbeddings;

    /// <summary>Throws when the tokenizer has ids that the model does not.</summary>
    public static void CheckVocabulary(ModelConfig config, Tokenizer tokenizer)
    {
        if (tokenizer.VocabSize > config.VocabSize)
        {
            throw new ConfigurationException($"the tokenizer has {tokenizer.VocabSize} tokens, the model knows {config.VocabSize}: they do not belong together. Use the tokenizer.json saved beside the model.");
        }
    }

    /// <summary>A handle for a request that can run.</summary>
    /// <exception cref="ConfigurationException">An option is out of range, a token outside the vocabulary, or the text does not fit.</exception>
    public Generation Open(GenerationRequest request)
    {
        GenerationOptions options = request.Options;
        options.Sampling.Validate();
        if (request.MaxWait < TimeSpan.Zero)
        {
            throw new ConfigurationException($"a request cannot wait {request.MaxWait}: give zero or more, or null to wait as long as it takes");
        }

        _ = new StopStringFilter(options.Stop); // refuses empty ones
        foreach (int id in request.Prompt)
        {
            if ((uint)id >= (uint)config.VocabSize)
            {
                throw new ConfigurationException($"token {id} is outside the model's vocabulary of {config.VocabSize}. Use the model's own tokenizer.");
            }
        }

        return new Generation(request, MaxTokens(request.Prompt.Count, options.MaxTokens), EndTokens(options), NewText, TimeProvider.System);

        TextAssembler NewText()
        {
            TextAssembler text = new(tokenizer, options.Stop);
            text.Skip(request.Prompt);
            return text;
        }
    }

    private int[] EndTokens(GenerationOptions options)
    {
        if (!options.StopsAtEndOfText)
        {
            return [];
        }

        int?[] own = [tokenizer.EosTokenId, tokenizer.EndOfTurnTokenId, config.EosTokenId];
        return [.. own.OfType<int>().Concat(options.EndTokens).Distinct()];
    }

    private int MaxTokens(int promptTokens, int? wanted)
    {
        int room = ContextLength - promptTokens;
        if (promptTokens == 0)
        {
            throw new ConfigurationException("the prompt has no tokens. Give at least one.");
        }

        if (room <= 0)
        {
            throw new ConfigurationException($"the prompt has {promptTokens} tokens and the model's context holds {ContextLength}: there is no room for an answer. Shorten the prompt.");
        }

        if (wanted is { } tokens && (tokens < 1 || tokens > room))
        {
            throw new ConfigurationException(tokens < 1
                ? $"max-tokens {tokens} must be at least 1"
                : $"the prompt has {promptTokens} tokens and max-tokens is {tokens}; together they exceed the model's context of {ContextLength}. Ask for at most {room}.");
        }

        return wanted ?? room;
    }
}
