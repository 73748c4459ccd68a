using System.Text;

namespace MoeSharp.Training.Report;

/// <summary>Text as it may stand in an HTML page or attribute.</summary>
internal static class Html
{
    /// <summary>Escapes markup; control characters that HTML does not allow become visible.</summary>
    public static string Text(string text)
    {
        StringBuilder escaped = new(text.Length);
        foreach (char character in text)
        {
            _ = character switch
            {
                '&' => escaped.Append("&amp;"),
                '<' => escaped.Append("&lt;"),
                '>' => escaped.Append("&gt;"),
                '"' => escaped.Append("&quot;"),
                '\'' => escaped.Append("&#39;"),
                '\n' or '\t' => escaped.Append(character),
                < ' ' or '\u007f' => escaped.Append('\ufffd'),
                _ => escaped.Append(character),
            };
        }

        return escaped.ToString();
    }
}
