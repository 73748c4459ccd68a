using System.Diagnostics;
using System.Text;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Tokenization;

namespace MoeSharp.Inference;

/// <summary>Continues texts with a model.</summary>
public sealed class TextGenerator
{
    private readonly LanguageModel _model;
    private readonly Tokenizer _tokenizer;
    private readonly WorkerPool _workers;

    /// <summary>Puts a model and its tokenizer together.</summary>
    /// <param name="model">Model; not owned.</param>
    /// <param name="tokenizer">Its tokenizer.</param>
    /// <param name="workers">Workers; not owned.</param>
    /// <exception cref="ConfigurationException">The tokenizer has ids that the model does not.</exception>
    public TextGenerator(LanguageModel model, Tokenizer tokenizer, WorkerPool workers)
    {
        if (tokenizer.VocabSize > model.Config.VocabSize)
        {
            throw new ConfigurationException($"the tokenizer has {tokenizer.VocabSize} tokens, the model knows {model.Config.VocabSize}: they do not belong together. Use the tokenizer.json saved beside the model.");
        }

        (_model, _tokenizer, _workers) = (model, tokenizer, workers);
    }

    /// <summary>Tokens of a prompt, with the special tokens that a text begins with.</summary>
    /// <exception cref="ConfigurationException">There are none: the prompt is empty and the vocabulary has no token to begin or end a text.</exception>
    public int[] EncodePrompt(string prompt)
    {
        int[] ids = _tokenizer.Encode(prompt, addSpecialTokens: true);
        if (ids.Length > 0)
        {
            return ids;
        }

        int? begin = _tokenizer.BosTokenId ?? _tokenizer.EosTokenId ?? _model.Config.BosTokenId ?? _model.Config.EosTokenId;
        return begin is { } id ? [id] : throw new ConfigurationException("the prompt is empty, and this vocabulary has no token that begins a text. Give at least one character.");
    }

    /// <summary>Continues a text.</summary>
    /// <param name="prompt">Tokens to continue; see <see cref="EncodePrompt"/>.</param>
    /// <param name="options">When to stop and how to draw.</param>
    /// <param name="onText">Receives each piece of text as soon as it is certain; pieces hold whole characters and never a part of a stop string.</param>
    /// <param name="cancellation">Checked between tokens.</param>
    /// <returns>The whole continuation.</returns>
    /// <exception cref="ConfigurationException">An option is out of range, or the text does not fit the model's context.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public GenerationResult Generate(ReadOnlySpan<int> prompt, GenerationOptions options, Action<string> onText, CancellationToken cancellation = default)
    {
        Sampler sampler = new(options.Sampling, _model.Config.VocabSize);
        TextAssembler text = new(_tokenizer, options.Stop, onText);
        int maxTokens = MaxTokens(prompt.Length, options.MaxTokens);
        foreach (int id in prompt)
        {
            CheckId(id);
            sampler.Observe(id);
            text.Skip(id);
        }

        using DecodingSession session = new(_model, prompt.Length + maxTokens, options.PrefillChunkSize, _workers);
        long started = Stopwatch.GetTimestamp();
        session.Append(prompt, cancellation);
        TimeSpan promptTime = Stopwatch.GetElapsedTime(started);

        started = Stopwatch.GetTimestamp();
        List<int> ids = [];
        FinishReason reason = Continue(session, sampler, text, ids, maxTokens, options, cancellation);
        text.Finish();
        return new GenerationResult(text.Text, ids, reason, prompt.Length, promptTime, Stopwatch.GetElapsedTime(started));
    }

    private FinishReason Continue(DecodingSession session, Sampler sampler, TextAssembler text, List<int> ids, int maxTokens, GenerationOptions options, CancellationToken cancellation)
    {
        while (ids.Count < maxTokens)
        {
            cancellation.ThrowIfCancellationRequested();
            int id = sampler.Sample(session.Logits);
            if (options.StopsAtEndOfText && (IsEndOfText(id) || options.EndTokens.Contains(id)))
            {
                return FinishReason.Stop;
            }

            ids.Add(id);
            sampler.Observe(id);
            text.Push(id);
            if (text.IsStopped)
            {
                return FinishReason.Stop;
            }

            if (ids.Count < maxTokens)
            {
                session.Append(id);
            }
        }

        return FinishReason.Length;
    }

    private bool IsEndOfText(int id) => id == _tokenizer.EosTokenId || id == _model.Config.EosTokenId;

    private int MaxTokens(int promptTokens, int? wanted)
    {
        int context = _model.Config.MaxPositionEmbeddings;
        int room = context - promptTokens;
        if (promptTokens == 0)
        {
            throw new ConfigurationException("the prompt has no tokens. Give at least one.");
        }

        if (room <= 0)
        {
            throw new ConfigurationException($"the prompt has {promptTokens} tokens and the model's context holds {context}: there is no room for an answer. Shorten the prompt.");
        }

        if (wanted is { } tokens && (tokens < 1 || tokens > room))
        {
            throw new ConfigurationException(tokens < 1
                ? $"max-tokens {tokens} must be at least 1"
                : $"the prompt has {promptTokens} tokens and max-tokens is {tokens}; together they exceed the model's context of {context}. Ask for at most {room}.");
        }

        return wanted ?? room;
    }

    private void CheckId(int id)
    {
        if ((uint)id >= (uint)_model.Config.VocabSize)
        {
            throw new ConfigurationException($"token {id} is outside the model's vocabulary of {_model.Config.VocabSize}. Use the model's own tokenizer.");
        }
    }

    /// <summary>From tokens to pieces of text that may be shown.</summary>
    private sealed class TextAssembler(Tokenizer tokenizer, IReadOnlyList<string> stops, Action<string> onText)
    {
        private readonly IncrementalDecoder _decoder = new(tokenizer);
        private readonly StopStringFilter _filter = new(stops);
        private readonly StringBuilder _text = new();

        public string Text => _text.ToString();

        public bool IsStopped => _filter.IsStopped;

        /// <summary>A token of the prompt: it gives no text, but what follows it depends on it (leading spaces).</summary>
        public void Skip(int id) => _decoder.Push(id);

        public void Push(int id) => Emit(_filter.Push(_decoder.Push(id)));

        public void Finish()
        {
            if (!IsStopped)
            {
                Emit(_filter.Push(_decoder.Flush()));
                Emit(_filter.Flush());
            }
        }

        private void Emit(string piece)
        {
            if (piece.Length > 0)
            {
                _text.Append(piece);
                onText(piece);
            }
        }
    }
}
