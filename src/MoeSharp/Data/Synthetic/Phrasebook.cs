using System.Text;

namespace MoeSharp.Data.Synthetic;

/// <summary>The words and sentence patterns of one language, read from the embedded file of its name.</summary>
/// <remarks>The files have the same sections and the same number of lines in each, so that line i of one translates line i of the other.</remarks>
internal sealed class Phrasebook
{
    private static readonly Phrasebook[] Books = [new(Language.English), new(Language.Chinese)];

    private readonly Dictionary<string, string[]> _lines = [];
    private readonly Dictionary<string, Template[]> _templates = [];
    private readonly AttributePhrases[] _attributes;

    private Phrasebook(Language language)
    {
        Language = language;
        Read(language == Language.English ? "english.txt" : "chinese.txt");
        foreach ((string key, string[] lines) in _lines)
        {
            _templates.Add(key, lines.Select(line => new Template(line)).ToArray());
        }

        _attributes = AttributeRule.All.Select(rule => new AttributePhrases(_lines[rule.Key])).ToArray();
        Syllables = _lines["syllables"][0].Split(' ');
    }

    /// <summary>The language.</summary>
    public Language Language { get; }

    /// <summary>Syllables of invented names.</summary>
    public string[] Syllables { get; }

    /// <summary>The book of a language.</summary>
    public static Phrasebook For(Language language) => Books[(int)language];

    /// <summary>Phrases of an attribute.</summary>
    public AttributePhrases Of(AttributeRule rule) => _attributes[rule.Index];

    /// <summary>Words of a list.</summary>
    public string[] Words(string list) => _lines["words." + list];

    /// <summary>Plain lines of a section.</summary>
    public string[] Lines(string key) => _lines[key];

    /// <summary>Patterns of a section.</summary>
    public Template[] Templates(string key) => _templates[key];

    /// <summary>Appends a filled pattern and gives its first letter the upper case.</summary>
    public static void AppendSentence(StringBuilder to, Template template, params ReadOnlySpan<Slot> slots)
    {
        int begin = to.Length;
        template.AppendTo(to, slots);
        Capitalise(to, begin);
    }

    /// <summary>Gives the letter at <paramref name="begin"/> the upper case; leaves anything but a-z as it is.</summary>
    public static void Capitalise(StringBuilder text, int begin)
    {
        if (begin < text.Length && char.IsAsciiLetterLower(text[begin]))
        {
            text[begin] = (char)(text[begin] - 'a' + 'A');
        }
    }

    private void Read(string file)
    {
        using Stream stream = typeof(Phrasebook).Assembly.GetManifestResourceStream("MoeSharp.Data.Synthetic." + file)
            ?? throw new InvalidOperationException($"the library was built without {file}");
        using StreamReader reader = new(stream, Encoding.UTF8);
        string section = "";
        List<string> lines = [];
        while (reader.ReadLine() is { } line)
        {
            if (line.StartsWith('['))
            {
                section = line[1..^1];
                lines.Clear();
            }
            else if (line.Length > 0)
            {
                lines.Add(line);
                _lines[section] = [.. lines];
            }
        }
    }
}

/// <summary>The sentence patterns of one attribute in one language.</summary>
internal sealed class AttributePhrases
{
    /// <summary>Sorts lines by their mark: none statement, ? question, @ noun phrase, &lt; comparison, 1 first person, 2 question to a person.</summary>
    public AttributePhrases(string[] lines)
    {
        Statements = lines.Where(line => !(line.Length > 2 && line[1] == ' ' && "?@<12".Contains(line[0]))).Select(line => new Template(line)).ToArray();
        Questions = Marked(lines, '?');
        NounPhrase = Marked(lines, '@')[0];
        Comparisons = Marked(lines, '<');
        FirstPerson = Marked(lines, '1');
        SecondPersonQuestions = Marked(lines, '2');
        PromptStatement = Statements.Where(template => template.TailLength('v') >= 0).MinBy(template => template.TailLength('v'))!; // every attribute has one
    }

    /// <summary>Sentences that tell the fact.</summary>
    public Template[] Statements { get; }

    /// <summary>Questions for it.</summary>
    public Template[] Questions { get; }

    /// <summary>The attribute as part of a sentence.</summary>
    public Template NounPhrase { get; }

    /// <summary>Sentences true when the first number is less than the second; empty for what is no number.</summary>
    public Template[] Comparisons { get; }

    /// <summary>Sentences in which a person tells the fact about themselves; empty for other kinds.</summary>
    public Template[] FirstPerson { get; }

    /// <summary>Questions put to the person.</summary>
    public Template[] SecondPersonQuestions { get; }

    private Template PromptStatement { get; }

    /// <summary>The beginning of a statement, up to its value.</summary>
    public string Prompt(Fact fact, Language language)
    {
        StringBuilder text = new(PromptStatement.FillUpTo('v', new Slot('e', fact.Subject.Mention(language))));
        Phrasebook.Capitalise(text, 0);
        return text.ToString().TrimEnd();
    }

    private static Template[] Marked(string[] lines, char mark) =>
        lines.Where(line => line[0] == mark && line[1] == ' ').Select(line => new Template(line[2..])).ToArray();
}
