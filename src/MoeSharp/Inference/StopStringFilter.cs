using System.Text;

namespace MoeSharp.Inference;

/// <summary>Lets text through except what may be the beginning of a stop string, and ends the stream at the first stop string.</summary>
/// <remarks>Holds back at most one character less than the longest stop string.</remarks>
public sealed class StopStringFilter
{
    private readonly string[] _stops;
    private readonly StringBuilder _held = new();

    /// <summary>Creates a filter for one stream.</summary>
    /// <param name="stops">Stop strings; none may be empty.</param>
    /// <exception cref="ConfigurationException">One is empty.</exception>
    public StopStringFilter(IEnumerable<string> stops)
    {
        _stops = [.. stops];
        if (_stops.Any(string.IsNullOrEmpty))
        {
            throw new ConfigurationException("a stop string is empty: it would end every text before it begins. Remove it.");
        }
    }

    /// <summary>Whether a stop string was met; no text follows.</summary>
    public bool IsStopped { get; private set; }

    /// <summary>Adds text.</summary>
    /// <returns>The text that is certain not to belong to a stop string; empty once stopped.</returns>
    public string Push(string text)
    {
        if (IsStopped)
        {
            return "";
        }

        if (_stops.Length == 0)
        {
            return text;
        }

        _held.Append(text);
        string held = _held.ToString();
        int end = FirstStop(held);
        if (end >= 0)
        {
            IsStopped = true;
            _held.Clear();
            return held[..end];
        }

        int certain = held.Length - LongestBeginning(held);
        _held.Remove(0, certain);
        return held[..certain];
    }

    /// <summary>Ends the stream.</summary>
    /// <returns>What was held back: it did not become a stop string.</returns>
    public string Flush()
    {
        string rest = _held.ToString();
        _held.Clear();
        return rest;
    }

    private int FirstStop(string text)
    {
        int first = -1;
        foreach (string stop in _stops)
        {
            int at = text.IndexOf(stop, StringComparison.Ordinal);
            if (at >= 0 && (first < 0 || at < first))
            {
                first = at;
            }
        }

        return first;
    }

    /// <summary>Length of the longest end of the text that begins a stop string.</summary>
    private int LongestBeginning(string text)
    {
        int longest = 0;
        foreach (string stop in _stops)
        {
            for (int length = Math.Min(stop.Length - 1, text.Length); length > longest; length--)
            {
                if (text.AsSpan(text.Length - length).SequenceEqual(stop.AsSpan(0, length)))
                {
                    longest = length;
                    break;
                }
            }
        }

        return longest;
    }
}
