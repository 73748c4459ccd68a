using System.Text;
using MoeSharp.Cli;
using MoeSharp.Inference;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Tests.Inference;
using MoeSharp.Tokenization;
using MoeSharp.Tokenization.Chat;

namespace MoeSharp.Tests.Cli;

/// <summary>What becomes of a conversation when an answer does not come.</summary>
public sealed class ChatLoopTests : IDisposable
{
    private const int Context = 40_000;

    private readonly WorkerPool _workers = new(1);
    private readonly LanguageModel _model;
    private readonly Engine _engine;
    private readonly ChatConversation _conversation;

    public ChatLoopTests()
    {
        byte[] text = Encoding.UTF8.GetBytes("the cat sat on the mat. ");
        Tokenizer tokenizer = BpeTrainer.Train([text, text], new BpeTrainerOptions { VocabSize = 270 });
        _model = new LanguageModel(DecodingSessionTests.TinyConfig with { VocabSize = tokenizer.VocabSize, MaxPositionEmbeddings = Context, EosTokenId = null });
        WeightInit.Initialize(_model, 3, WeightInitScheme.Normal, _workers);
        _engine = new Engine(_model, tokenizer, _workers, new EngineOptions { MaxSequences = 1 });
        _conversation = new ChatConversation(tokenizer, ChatTemplate.Parse("{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}", "template"), TimeProvider.System);
    }

    [Fact]
    public void Regenerate_keeps_the_old_turn_when_the_new_answer_is_refused()
    {
        ChatMessage[] before = [];
        Run(
            () => "the cat",
            () => "/system " + new string('x', Context),
            () =>
            {
                before = [.. _conversation.Messages];
                return "/regenerate";
            });
        Assert.Equal(["user", "assistant"], before.Select(message => message.Role));
        Assert.Equal(before, _conversation.Messages);
    }

    [Fact]
    public async Task Regenerate_keeps_the_old_turn_when_it_is_interrupted_before_the_first_word()
    {
        ChatMessage[] before = [];
        Generation? neighbour = null;
        Task interrupting = Task.CompletedTask;
        ChatView view = null!;
        view = View(
            () => "the cat",
            () =>
            {
                before = [.. _conversation.Messages];
                neighbour = _engine.Submit(new GenerationRequest([5], new GenerationOptions { StopsAtEndOfText = false })); // the new answer has to wait for it
                interrupting = Task.Run(() =>
                {
                    Assert.True(SpinWait.SpinUntil(() => _engine.Statistics.Waiting == 1, TimeSpan.FromSeconds(60)));
                    view.Interrupt();
                });
                return "/regenerate";
            });
        using (view)
        {
            Run(view);
        }

        await interrupting;
        Assert.False(neighbour!.Completion.IsCompleted);
        Assert.Equal(["user", "assistant"], before.Select(message => message.Role));
        Assert.Equal(before, _conversation.Messages);
    }

    [Fact]
    public void Regenerate_answers_again_and_leaves_one_answer()
    {
        string? first = null;
        Run(
            () => "the cat",
            () =>
            {
                first = _conversation.Messages[1].Content;
                return "/regenerate";
            });
        Assert.Equal(["user", "assistant"], _conversation.Messages.Select(message => message.Role));
        Assert.NotEqual(first, _conversation.Messages[1].Content);
    }

    [Fact]
    public void Regenerate_keeps_a_loaded_question_that_cannot_be_answered()
    {
        _conversation.Load("[{\"role\": \"user\", \"content\": \"" + new string('x', Context) + "\"}]", "test");
        Run(() => "/regenerate");
        Assert.True(_conversation.IsWaitingForAnswer);
    }

    [Fact]
    public void Regenerate_needs_a_question()
    {
        _conversation.Load("[{\"role\": \"assistant\", \"content\": \"hello\"}]", "test");
        Run(() => "/regenerate");
        Assert.Equal("hello", Assert.Single(_conversation.Messages).Content);
    }

    public void Dispose()
    {
        _engine.Dispose();
        _model.Dispose();
        _workers.Dispose();
    }

    private void Run(params Func<string>[] lines)
    {
        using ChatView view = View(lines);
        Run(view);
    }

    private void Run(ChatView view) =>
        Assert.Equal(0, new ChatLoop(_engine, _conversation, new GenerationOptions { MaxTokens = 12, StopsAtEndOfText = false }, 12, view).Run());

    private static ChatView View(params Func<string>[] lines) => new(new Script(lines), Stream.Null, isJson: false, isInteractive: true);

    /// <summary>Lines that are made when they are wanted.</summary>
    private sealed class Script(Func<string>[] lines) : TextReader
    {
        private int _next;

        public override string? ReadLine() => _next < lines.Length ? lines[_next++]() : null;
    }
}
