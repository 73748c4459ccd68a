using System.Runtime.CompilerServices;
using System.Text;
using System.Threading.Channels;

namespace MoeSharp.Inference;

/// <summary>A token written, with the text that it completes.</summary>
/// <param name="Id">The token; null for the text that was held back until the end.</param>
/// <param name="Text">Whole characters, never a part of a stop string; often empty.</param>
public readonly record struct GeneratedPiece(int? Id, string Text);

/// <summary>A request inside an engine: its tokens as they are written, and the way to cancel it.</summary>
/// <remarks>Read it once, by one reader. <see cref="Cancel"/> may be called from any thread at any time.</remarks>
public sealed class Generation
{
    private readonly Channel<int> _channel;
    private readonly TaskCompletionSource<FinishReason> _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Func<TextAssembler> _newText;
    private readonly TimeProvider _time;
    private readonly long _submitted;
    private volatile bool _isCancelled;
    private long _started;
    private long _firstToken;
    private long _ended;

    internal Generation(GenerationRequest request, int maxTokens, int[] endTokens, Func<TextAssembler> newText, TimeProvider time)
    {
        (Request, MaxTokens, EndTokens, _newText, _time) = (request, maxTokens, endTokens, newText, time);
        _submitted = time.GetTimestamp();

        // All tokens fit, so that the engine never waits for a reader.
        _channel = Channel.CreateBounded<int>(new BoundedChannelOptions(maxTokens) { SingleReader = true, SingleWriter = true });
    }

    /// <summary>The request.</summary>
    public GenerationRequest Request { get; }

    /// <summary>Most tokens that it writes.</summary>
    public int MaxTokens { get; }

    /// <summary>Ends when the text does; fails with the request's own error, or is cancelled.</summary>
    public Task<FinishReason> Completion => _completion.Task;

    /// <summary>Whether nobody wants the text any more.</summary>
    public bool IsCancelled => _isCancelled;

    /// <summary>Prompt tokens that were not computed again.</summary>
    public int CachedTokens { get; private set; }

    internal int[] EndTokens { get; }

    /// <summary>Time since the request came.</summary>
    internal TimeSpan Age => _time.GetElapsedTime(_submitted);

    /// <summary>Ends the text where it is. Its pages are free before the next pass.</summary>
    public void Cancel() => _isCancelled = true;

    /// <summary>The tokens and their text as they are written; ends with the text, and fails as <see cref="Completion"/> does.</summary>
    /// <param name="cancellation">Ends the reading, not the text.</param>
    public async IAsyncEnumerable<GeneratedPiece> ReadAsync([EnumeratorCancellation] CancellationToken cancellation = default)
    {
        TextAssembler text = _newText();
        await foreach (int id in _channel.Reader.ReadAllAsync(cancellation).ConfigureAwait(false))
        {
            yield return new GeneratedPiece(id, text.Push(id));
        }

        yield return new GeneratedPiece(null, text.Finish());
    }

    /// <summary>Waits for the end of the text.</summary>
    /// <param name="cancellation">Ends the waiting, not the text.</param>
    /// <exception cref="OperationCanceledException">The text was cancelled.</exception>
    public Task<GenerationResult> ReadToEndAsync(CancellationToken cancellation = default) => ReadToEndAsync(_ => { }, cancellation);

    /// <summary>Waits for the end of the text and shows its pieces meanwhile.</summary>
    /// <param name="onText">Receives each piece of text as soon as it is certain; never an empty one.</param>
    /// <param name="cancellation">Ends the waiting, not the text.</param>
    /// <exception cref="OperationCanceledException">The text was cancelled.</exception>
    public async Task<GenerationResult> ReadToEndAsync(Action<string> onText, CancellationToken cancellation = default)
    {
        StringBuilder text = new();
        List<int> ids = [];
        await foreach (GeneratedPiece piece in ReadAsync(cancellation).ConfigureAwait(false))
        {
            if (piece.Id is { } id)
            {
                ids.Add(id);
            }

            if (piece.Text.Length > 0)
            {
                text.Append(piece.Text);
                onText(piece.Text);
            }
        }

        return Result(text.ToString(), ids, await Completion.ConfigureAwait(false));
    }

    /// <summary>What was read, as a result with the engine's times.</summary>
    internal GenerationResult Result(string text, IReadOnlyList<int> ids, FinishReason reason) =>
        new(text, ids, reason, Request.Prompt.Count, CachedTokens, _time.GetElapsedTime(_started, _firstToken), _time.GetElapsedTime(_firstToken, _ended));

    internal TextAssembler NewText() => _newText();

    internal bool TryRead(out int id) => _channel.Reader.TryRead(out id);

    /// <summary>Notes when the request is first taken up.</summary>
    internal void NoteStart(int cachedTokens)
    {
        if (_started == 0)
        {
            (_started, CachedTokens) = (_time.GetTimestamp(), cachedTokens);
        }
    }

    internal void NoteFirstToken()
    {
        if (_firstToken == 0)
        {
            _firstToken = _time.GetTimestamp();
        }
    }

    internal void Write(int id) => _channel.Writer.TryWrite(id); // there is room for MaxTokens

    internal void Finish(FinishReason reason)
    {
        _ended = _time.GetTimestamp();
        _completion.TrySetResult(reason);
        _channel.Writer.TryComplete();
    }

    internal void Fail(Exception exception)
    {
        if (exception is OperationCanceledException)
        {
            _completion.TrySetCanceled(CancellationToken.None);
        }
        else
        {
            _completion.TrySetException(exception);
            _ = _completion.Task.Exception; // a reader of the tokens meets it there; nobody has to look here too
        }

        _channel.Writer.TryComplete(exception);
    }
}
