using MoeSharp.Tokenization;

namespace MoeSharp.Inference;

/// <summary>From tokens to pieces of text that may be shown: whole characters, never a part of a stop string.</summary>
/// <remarks>It keeps what is held back, not the text.</remarks>
/// <param name="tokenizer">The vocabulary.</param>
/// <param name="stops">Stop strings.</param>
public sealed class TextAssembler(Tokenizer tokenizer, IReadOnlyList<string> stops)
{
    private readonly IncrementalDecoder _decoder = new(tokenizer);
    private readonly StopStringFilter _filter = new(stops);
    private bool _isFinished;

    /// <summary>Whether a stop string was met.</summary>
    public bool IsStopped => _filter.IsStopped;

    /// <summary>Tokens of the prompt: they give no text, but what follows them depends on them (leading spaces).</summary>
    public void Skip(IReadOnlyList<int> ids)
    {
        foreach (int id in ids)
        {
            _decoder.Push(id);
        }
    }

    /// <summary>Adds a token.</summary>
    /// <returns>The text that is certain now; often empty.</returns>
    public string Push(int id) => _filter.Push(_decoder.Push(id));

    /// <summary>Ends the text.</summary>
    /// <returns>What was held back; empty after a stop string.</returns>
    public string Finish()
    {
        if (IsStopped || _isFinished)
        {
            return "";
        }

        _isFinished = true;
        string rest = _filter.Push(_decoder.Flush());
        return IsStopped ? rest : rest + _filter.Flush();
    }
}
