using System.Runtime.InteropServices;
using System.Text;
using MoeSharp.Inference;

namespace MoeSharp.Cli;

/// <summary>Where a conversation is read and shown: a terminal, or lines in and lines out.</summary>
internal sealed class ChatView : IDisposable
{
    private const string Prompt = "> ";

    private readonly TextReader _input;
    private readonly Stream _output;
    private readonly bool _isJson;
    private PosixSignalRegistration? _interrupt;
    private readonly object _gate = new();
    private CancellationTokenSource? _answer; // while an answer is being written
    private bool _wasInterrupted; // since the last line was read

    /// <summary>Shows a conversation anywhere.</summary>
    /// <param name="input">Lines.</param>
    /// <param name="output">Takes the answers; closed with the view.</param>
    /// <param name="isJson">Whether answers are JSON documents, on standard output.</param>
    /// <param name="isInteractive">Whether a person sits at the other end.</param>
    public ChatView(TextReader input, Stream output, bool isJson, bool isInteractive) => (_input, _output, _isJson, IsInteractive) = (input, output, isJson, isInteractive);

    /// <summary>Whether a person sits at the other end, for whom a mistake is not the end.</summary>
    public bool IsInteractive { get; }

    /// <summary>Takes over standard input and output, and interrupts.</summary>
    public static ChatView Open(bool isJson)
    {
        TextReader input = Console.IsInputRedirected ? new StreamReader(Console.OpenStandardInput(), new UTF8Encoding(false)) : Console.In;
        ChatView view = new(input, Console.OpenStandardOutput(), isJson, isInteractive: !Console.IsInputRedirected && !isJson);
        view._interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, context =>
        {
            view.Interrupt();
            context.Cancel = true;
        });
        return view;
    }

    /// <summary>The next line, or null at the end. A line that ends in a backslash goes on in the next one.</summary>
    public string? ReadLine()
    {
        StringBuilder text = new();
        while (true)
        {
            if (IsInteractive)
            {
                Write(text.Length == 0 ? Prompt : "  ");
            }

            if (_input.ReadLine() is not { } line)
            {
                return text.Length == 0 ? null : text.ToString();
            }

            _wasInterrupted = false;
            if (!line.EndsWith('\\'))
            {
                return text.Append(line).ToString();
            }

            text.Append(line, 0, line.Length - 1).Append('\n');
        }
    }

    /// <summary>From now on an interrupt stops the answer.</summary>
    public CancellationToken BeginAnswer()
    {
        lock (_gate)
        {
            _answer = new CancellationTokenSource();
            return _answer.Token;
        }
    }

    /// <summary>From now on an interrupt is meant for the program.</summary>
    public void EndAnswer()
    {
        lock (_gate)
        {
            _answer?.Dispose();
            _answer = null;
        }
    }

    /// <summary>What Ctrl-C does: the first one stops the answer; without an answer, or a second time, it ends the program.</summary>
    public void Interrupt()
    {
        lock (_gate)
        {
            if (_answer is { IsCancellationRequested: false } answer)
            {
                answer.Cancel();
            }
            else if (_wasInterrupted || _answer is not null || !IsInteractive)
            {
                Environment.Exit(CommandLine.Interrupted);
            }
            else
            {
                _wasInterrupted = true;
                Notice("\n/exit, or Ctrl-C again, leaves");
                Write(Prompt);
            }
        }
    }

    /// <summary>Shows a piece of an answer.</summary>
    public void ShowPiece(string piece)
    {
        if (!_isJson)
        {
            Write(piece);
        }
    }

    /// <summary>Shows the end of an answer.</summary>
    /// <param name="content">The whole answer.</param>
    /// <param name="result">What the engine says about it; null for an answer that was stopped.</param>
    /// <param name="seed">Seed of its draw.</param>
    public void ShowEnd(string content, GenerationResult? result, ulong seed)
    {
        if (!_isJson)
        {
            Write("\n");
            return;
        }

        JsonDocumentOutput.Write(json =>
        {
            json.WriteStartObject();
            json.WriteString("role", "assistant");
            json.WriteString("content", content);
            json.WriteString("finish_reason", result is null ? "stopped" : result.FinishReason == FinishReason.Stop ? "stop" : "length");
            if (result is not null)
            {
                json.WriteStartObject("usage");
                json.WriteNumber("prompt_tokens", result.PromptTokens);
                json.WriteNumber("cached_tokens", result.CachedTokens);
                json.WriteNumber("completion_tokens", result.Ids.Count);
                json.WriteEndObject();
            }

            json.WriteNumber("seed", seed);
            json.WriteEndObject();
        });
    }

    /// <summary>Says something that is no part of the conversation.</summary>
    public void Notice(string text) => Console.Error.WriteLine(text);

    /// <inheritdoc/>
    public void Dispose()
    {
        _interrupt?.Dispose();
        _output.Dispose();
    }

    private void Write(string text)
    {
        _output.Write(Encoding.UTF8.GetBytes(text));
        _output.Flush();
    }
}
