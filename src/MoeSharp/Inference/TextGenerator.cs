using System.Text;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Tokenization;

namespace MoeSharp.Inference;

/// <summary>Continues one text at a time on the caller's thread, through the same scheduler as <see cref="Engine"/>.</summary>
public sealed class TextGenerator
{
    private readonly LanguageModel _model;
    private readonly Tokenizer _tokenizer;
    private readonly WorkerPool _workers;

    /// <summary>Puts a model and its tokenizer together.</summary>
    /// <param name="model">Model; not owned.</param>
    /// <param name="tokenizer">Its tokenizer.</param>
    /// <param name="workers">Workers; not owned.</param>
    /// <exception cref="ConfigurationException">The tokenizer has ids that the model does not, or the model cannot continue a text; see <see cref="DecodingLimits"/>.</exception>
    public TextGenerator(LanguageModel model, Tokenizer tokenizer, WorkerPool workers)
    {
        DecodingLimits.Require(model.Config);
        GenerationLimits.CheckVocabulary(model.Config, tokenizer);
        (_model, _tokenizer, _workers) = (model, tokenizer, workers);
    }

    /// <summary>Tokens of the prompt that go through the model at once.</summary>
    public int ChunkTokens { get; init; } = 512;

    /// <summary>Most tokens of a text, prompt included; null for what the model's positions allow.</summary>
    public int? ContextLength { get; init; }

    /// <summary>Tokens of a prompt, with the special tokens that a text begins with.</summary>
    /// <exception cref="ConfigurationException">There are none: the prompt is empty and the vocabulary has no token to begin or end a text.</exception>
    public int[] EncodePrompt(string prompt) => EncodePrompt(prompt, _tokenizer, _model.Config);

    /// <summary>Continues a text.</summary>
    /// <param name="prompt">Tokens to continue; see <see cref="EncodePrompt(string)"/>.</param>
    /// <param name="options">When to stop and how to draw.</param>
    /// <param name="onText">Receives each piece of text as soon as it is certain; pieces hold whole characters and never a part of a stop string.</param>
    /// <param name="cancellation">Checked between the layers of a pass.</param>
    /// <returns>The whole continuation.</returns>
    /// <exception cref="ConfigurationException">An option is out of range, or the text does not fit the model's context.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public GenerationResult Generate(IReadOnlyList<int> prompt, GenerationOptions options, Action<string> onText, CancellationToken cancellation = default)
    {
        Generation generation = new GenerationLimits(_model.Config, _tokenizer, ContextLength).Open(new GenerationRequest(prompt, options));
        long tokens = prompt.Count + (long)generation.MaxTokens;
        using EngineScheduler scheduler = new(_model, _workers, new EngineOptions
        {
            MaxSequences = 1,
            ChunkTokens = ChunkTokens,
            CacheBytes = ModelCacheLayout.Of(_model).BytesFor(tokens),
            SharesPrefixes = false,
        });
        using CancellationTokenRegistration registration = cancellation.Register(generation.Cancel);
        scheduler.Add(generation);
        TextAssembler assembler = generation.NewText();
        StringBuilder text = new();
        List<int> ids = [];
        void Emit(string piece)
        {
            if (piece.Length > 0)
            {
                text.Append(piece);
                onText(piece);
            }
        }

        while (scheduler.HasWork)
        {
            scheduler.Step();
            while (generation.TryRead(out int id))
            {
                ids.Add(id);
                Emit(assembler.Push(id));
            }
        }

        cancellation.ThrowIfCancellationRequested();
        FinishReason reason = generation.Completion.GetAwaiter().GetResult();
        Emit(assembler.Finish());
        return generation.Result(text.ToString(), ids, reason);
    }

    /// <summary>Tokens of a prompt, with the special tokens that a text begins with.</summary>
    /// <param name="prompt">Text.</param>
    /// <param name="tokenizer">The vocabulary.</param>
    /// <param name="config">The model.</param>
    /// <exception cref="ConfigurationException">There are none: the prompt is empty and the vocabulary has no token to begin or end a text.</exception>
    public static int[] EncodePrompt(string prompt, Tokenizer tokenizer, ModelConfig config)
    {
        int[] ids = tokenizer.Encode(prompt, addSpecialTokens: true);
        if (ids.Length > 0)
        {
            return ids;
        }

        int? begin = tokenizer.BosTokenId ?? tokenizer.EosTokenId ?? config.BosTokenId ?? config.EosTokenId;
        return begin is { } id ? [id] : throw new ConfigurationException("the prompt is empty, and this vocabulary has no token that begins a text. Give at least one character.");
    }
}
