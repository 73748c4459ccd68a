using System.Globalization;
using System.Text;
using MoeSharp.Inference;
using MoeSharp.Tokenization.Chat;

namespace MoeSharp.Cli;

/// <summary>The turns of a conversation: questions, answers, and the commands that begin with a slash.</summary>
/// <param name="engine">Writes the answers.</param>
/// <param name="conversation">The messages.</param>
/// <param name="options">How answers are drawn; answer n of a session takes seed + n.</param>
/// <param name="defaultMaxTokens">Most tokens of an answer when the options leave it open.</param>
/// <param name="view">Where it is read and shown.</param>
internal sealed class ChatLoop(Engine engine, ChatConversation conversation, GenerationOptions options, int defaultMaxTokens, ChatView view)
{
    private const string Help = """
        /help            this
        /reset           forget the conversation
        /system TEXT     what the model is told before the conversation; without TEXT, nothing any more
        /regenerate      answer the last question again, with another seed
        /save FILE       write the conversation as JSON
        /load FILE       go on with a conversation
        /stats           speed of the last answer, and what the cache holds
        /exit            leave; so does the end of the input
        A line that begins with // is sent with one slash less; a line that ends in \ goes on in the next.
        Ctrl-C stops an answer; what was written stays.
        """;

    private ulong _numAnswers;
    private GenerationResult? _last;

    /// <summary>Runs to the end of the input.</summary>
    /// <returns>The exit code.</returns>
    public int Run()
    {
        if (view.IsInteractive)
        {
            view.Notice("/help shows the commands");
        }

        while (view.ReadLine() is { } line)
        {
            try
            {
                if (!Take(line))
                {
                    break;
                }
            }
            catch (Exception exception) when (view.IsInteractive && exception is MoeSharpException or IOException or UnauthorizedAccessException)
            {
                view.Notice($"moe: {exception.Message}");
            }
        }

        return CommandLine.Done;
    }

    // False when the user leaves.
    private bool Take(string line)
    {
        if (!line.StartsWith('/') || line.StartsWith("//", StringComparison.Ordinal))
        {
            string text = line.StartsWith('/') ? line[1..] : line;
            if (text.Trim().Length > 0)
            {
                conversation.AddUser(text);
                Answer();
            }

            return true;
        }

        string[] parts = line.Split(' ', 2, StringSplitOptions.TrimEntries);
        return TakeCommand(parts[0], parts.Length > 1 ? parts[1] : "");
    }

    private bool TakeCommand(string name, string argument)
    {
        switch (name)
        {
            case "/help":
                view.Notice(Help);
                break;
            case "/reset":
                conversation.Clear();
                break;
            case "/system":
                conversation.System = argument.Length > 0 ? argument : null;
                break;
            case "/regenerate":
                Regenerate();
                break;
            case "/save":
                File.WriteAllText(CheckPath(name, argument), conversation.ToJson());
                view.Notice($"saved to {argument}");
                break;
            case "/load":
                Load(CheckPath(name, argument));
                break;
            case "/stats":
                ShowStatistics();
                break;
            case "/exit" or "/quit":
                return false;
            default:
                throw new ConfigurationException($"there is no command {name}; /help shows them, and a line that begins with // is sent with one slash less");
        }

        return true;
    }

    private void Regenerate()
    {
        if (!conversation.IsAnswered && !conversation.IsWaitingForAnswer)
        {
            throw new ConfigurationException("there is no answer to give again");
        }

        ChatMessage[] before = [.. conversation.Messages];
        if (conversation.IsAnswered)
        {
            conversation.RemoveLast();
        }

        try
        {
            Answer();
        }
        finally
        {
            if (conversation.Messages.Count < before.Length)
            {
                conversation.Restore(before); // no new answer came: the old one stays
            }
        }
    }

    private void Load(string path)
    {
        conversation.Load(TextFile.Read(path, "Give a conversation that /save has written."), path);
        view.Notice($"{conversation.Messages.Count} messages");
    }

    private void Answer()
    {
        ulong seed = options.Sampling.Seed + _numAnswers++;
        StringBuilder text = new();
        try
        {
            Generation generation = engine.Submit(Request(seed), view.BeginAnswer());
            GenerationResult result = generation.ReadToEndAsync(piece =>
            {
                text.Append(piece);
                view.ShowPiece(piece);
            }).GetAwaiter().GetResult();
            _last = result;
            conversation.AddAnswer(text.ToString());
            view.ShowEnd(text.ToString(), result, seed);
            if (result.FinishReason == FinishReason.Length)
            {
                view.Notice($"(the answer ended at {result.Ids.Count} tokens)");
            }
        }
        catch (OperationCanceledException)
        {
            view.ShowEnd(text.ToString(), null, seed);
            KeepPart(text.ToString());
        }
        catch (MoeSharpException)
        {
            conversation.RemoveLast(); // a question that cannot be answered is not asked
            throw;
        }
        finally
        {
            view.EndAnswer();
        }
    }

    // Of an answer that was stopped, the conversation keeps what was shown; one without a word was never asked for.
    private void KeepPart(string text)
    {
        if (text.Length > 0)
        {
            conversation.AddAnswer(text);
        }
        else
        {
            conversation.RemoveLast();
        }
    }

    private GenerationRequest Request(ulong seed)
    {
        IReadOnlyList<int> prompt = conversation.EncodePrompt();
        int room = engine.ContextLength - prompt.Count;
        if (room < 1)
        {
            throw new ConfigurationException($"the conversation has {prompt.Count} tokens and the context holds {engine.ContextLength}: there is no room for an answer. /reset begins anew.");
        }

        int most = Math.Min(room, options.MaxTokens ?? defaultMaxTokens);
        return new GenerationRequest(prompt, options with { MaxTokens = most, Sampling = options.Sampling with { Seed = seed } });
    }

    private void ShowStatistics()
    {
        EngineStatistics statistics = engine.Statistics;
        view.Notice(_last is { } last ? GenerationOutput.Rates(last) : "no answer yet");
        view.Notice(string.Create(CultureInfo.InvariantCulture, $"{conversation.Messages.Count} messages; context of {engine.ContextLength} tokens; {statistics.CacheBytes / 1e6:F1} MB of keys and values; {statistics.CachedTokens} prompt tokens were known, {statistics.Rows} went through the model"));
    }

    private static string CheckPath(string command, string path) => path.Length > 0 ? path : throw new ConfigurationException($"{command} needs a file");
}
