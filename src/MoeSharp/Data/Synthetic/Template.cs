using System.Text;

namespace MoeSharp.Data.Synthetic;

/// <summary>What stands in place of a one-letter slot.</summary>
internal readonly record struct Slot(char Name, string Text);

/// <summary>A line of text with one-letter slots, such as <c>{e} lives in {v}.</c>, split once and filled often.</summary>
internal sealed class Template
{
    private readonly List<string> _literals = [];
    private readonly List<char> _slots = [];

    /// <summary>Splits a line.</summary>
    public Template(string line)
    {
        int begin = 0;
        for (int at = line.IndexOf('{'); at >= 0; at = line.IndexOf('{', begin))
        {
            _literals.Add(line[begin..at]);
            _slots.Add(line[at + 1]);
            begin = at + 3;
        }

        _literals.Add(line[begin..]);
    }

    /// <summary>Appends the filled text.</summary>
    public void AppendTo(StringBuilder to, params ReadOnlySpan<Slot> slots)
    {
        to.Append(_literals[0]);
        for (int i = 0; i < _slots.Count; i++)
        {
            to.Append(TextOf(_slots[i], slots)).Append(_literals[i + 1]);
        }
    }

    /// <summary>The filled text.</summary>
    public string Fill(params ReadOnlySpan<Slot> slots)
    {
        StringBuilder text = new();
        AppendTo(text, slots);
        return text.ToString();
    }

    /// <summary>The filled text up to <paramref name="slot"/>, and the literal that follows it.</summary>
    public string FillUpTo(char slot, params ReadOnlySpan<Slot> slots)
    {
        StringBuilder text = new(_literals[0]);
        for (int i = 0; i < _slots.Count && _slots[i] != slot; i++)
        {
            text.Append(TextOf(_slots[i], slots)).Append(_literals[i + 1]);
        }

        return text.ToString();
    }

    /// <summary>Characters after the slot, a measure of how near the end of the sentence it stands; negative when another slot follows.</summary>
    public int TailLength(char slot) => _slots.Count > 0 && _slots[^1] == slot ? _literals[^1].Length : -1;

    private static string TextOf(char name, ReadOnlySpan<Slot> slots)
    {
        foreach (Slot slot in slots)
        {
            if (slot.Name == name)
            {
                return slot.Text;
            }
        }

        throw new InvalidOperationException($"a template asks for slot {name}, which its writer does not fill");
    }
}
