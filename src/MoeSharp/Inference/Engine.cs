using System.Threading.Channels;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Tokenization;

namespace MoeSharp.Inference;

/// <summary>Writes texts for any number of callers at once. One thread owns the model; callers only exchange messages with it.</summary>
/// <remarks>
/// What a request writes depends on its prompt, options and seed alone: not on its neighbours, on when it came, on what was cached, or on being set
/// aside in between. How steps are put together is described at the scheduler (docs/architecture.md, "The engine").
/// </remarks>
public sealed class Engine : IDisposable
{
    private readonly Channel<Generation> _inbox = Channel.CreateUnbounded<Generation>(new UnboundedChannelOptions { SingleReader = true });
    private readonly EngineScheduler _scheduler;
    private readonly EngineOptions _options;
    private readonly GenerationLimits _limits;
    private readonly Thread _thread;
    private int _waitingRequests;
    private long _waitingTokens;
    private volatile EngineStatistics _statistics;
    private volatile bool _isClosing;

    /// <summary>Starts the engine's thread.</summary>
    /// <param name="model">Model; not owned, and not to be used by others while the engine lives.</param>
    /// <param name="tokenizer">Its tokenizer.</param>
    /// <param name="workers">Workers; not owned, used by the engine's thread alone.</param>
    /// <param name="options">Limits.</param>
    /// <exception cref="ConfigurationException">A limit is out of range, the tokenizer has ids that the model does not, or the model cannot continue a text.</exception>
    public Engine(LanguageModel model, Tokenizer tokenizer, WorkerPool workers, EngineOptions options)
    {
        GenerationLimits.CheckVocabulary(model.Config, tokenizer);
        _options = options;
        _scheduler = new EngineScheduler(model, workers, options) { OnLeftQueue = LeaveQueue };
        _limits = new GenerationLimits(model.Config, tokenizer, options.ContextLength);
        _statistics = _scheduler.Statistics;
        _thread = new Thread(Run) { IsBackground = true, Name = "MoeSharp engine" };
        _thread.Start();
    }

    /// <summary>Most tokens of a text, prompt included.</summary>
    public int ContextLength => _limits.ContextLength;

    /// <summary>What the engine is doing and has done, as of its last change of work.</summary>
    public EngineStatistics Statistics => _statistics;

    /// <summary>Queues a request.</summary>
    /// <param name="request">What to continue and how.</param>
    /// <param name="cancellation">Cancels the text; the same as <see cref="Generation.Cancel"/>.</param>
    /// <returns>The text as it is written.</returns>
    /// <exception cref="ConfigurationException">The request cannot run: an option is out of range, or the text does not fit.</exception>
    /// <exception cref="EngineBusyException">Too many requests wait already.</exception>
    public Generation Submit(GenerationRequest request, CancellationToken cancellation = default)
    {
        ObjectDisposedException.ThrowIf(_isClosing, this);
        Generation generation = _limits.Open(request);
        CheckPages(generation);
        EnterQueue(generation);
        if (!_inbox.Writer.TryWrite(generation))
        {
            LeaveQueue(generation);
            throw new ObjectDisposedException(nameof(Engine));
        }

        if (cancellation.CanBeCanceled)
        {
            CancellationTokenRegistration registration = cancellation.Register(generation.Cancel);
            _ = generation.Completion.ContinueWith(_ => registration.Dispose(), CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        }

        return generation;
    }

    /// <summary>Cancels all texts and ends the thread; a pass in progress is given up.</summary>
    public void Dispose()
    {
        if (_isClosing)
        {
            return;
        }

        _isClosing = true;
        _scheduler.GiveUpPass();
        _inbox.Writer.TryComplete();
        _thread.Join();
        _scheduler.Dispose();
    }

    private void CheckPages(Generation generation)
    {
        long tokens = generation.Request.Prompt.Count + (long)generation.MaxTokens - 1; // the last token is not read again
        if (tokens > _scheduler.MostTokens)
        {
            throw new ConfigurationException($"the text may have {tokens} tokens, and the cache of {_options.CacheBytes >> 20} MiB holds {_scheduler.MostTokens}. Ask for fewer tokens or give the cache more memory.");
        }
    }

    private void EnterQueue(Generation generation)
    {
        int requests = Interlocked.Increment(ref _waitingRequests);
        long tokens = Interlocked.Add(ref _waitingTokens, generation.Request.Prompt.Count);
        if (requests > _options.MaxWaitingRequests || (tokens > _options.MaxWaitingTokens && requests > 1))
        {
            LeaveQueue(generation);
            throw new EngineBusyException($"{requests - 1} requests with {tokens - generation.Request.Prompt.Count} tokens wait already; the engine lets {_options.MaxWaitingRequests} requests and {_options.MaxWaitingTokens} tokens wait. Try again later.");
        }
    }

    private void LeaveQueue(Generation generation)
    {
        Interlocked.Decrement(ref _waitingRequests);
        Interlocked.Add(ref _waitingTokens, -generation.Request.Prompt.Count);
    }

    private void Run()
    {
        Exception? failure = null;
        try
        {
            while (TakeMessages() && !_isClosing)
            {
                _scheduler.Step();
                if (_scheduler.TakeNews())
                {
                    _statistics = _scheduler.Statistics;
                }
            }
        }
        catch (Exception exception)
        {
            failure = exception; // a defect: no caller may wait for ever
        }

        _inbox.Writer.TryComplete();
        failure ??= new OperationCanceledException("the engine was closed");
        _scheduler.FailAll(failure);
        while (_inbox.Reader.TryRead(out Generation? generation))
        {
            generation.Fail(failure);
        }

        _statistics = _scheduler.Statistics;
    }

    // Waits only when there is nothing else to do; false when the engine is closed.
    private bool TakeMessages()
    {
        do
        {
            while (_inbox.Reader.TryRead(out Generation? generation))
            {
                _scheduler.Add(generation);
            }
        }
        while (!_scheduler.HasWork && _inbox.Reader.WaitToReadAsync().AsTask().GetAwaiter().GetResult());
        return _scheduler.HasWork;
    }
}
