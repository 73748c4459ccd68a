using System.Globalization;
using System.Text;
using MoeSharp.Kernels;

namespace MoeSharp.Data.Synthetic;

/// <summary>Writes conversations: two people who ask each other for facts, guess, doubt and confirm; or a user and an assistant.</summary>
internal sealed class DialogueWriter(FactTable table)
{
    private readonly FactWriter[] _facts = [new(table, Language.English), new(table, Language.Chinese)];

    /// <summary>Writes one document, two thirds of them in English.</summary>
    public void Write(StringBuilder text, ref SplitMix64 random)
    {
        Language language = random.Chance(67) ? Language.English : Language.Chinese;
        if (random.Chance(35))
        {
            Phrasebook book = Phrasebook.For(language);
            Conversation talk = new(book, _facts[(int)language], book.Lines("dialogue.user")[0], book.Lines("dialogue.assistant")[0]);
            WriteTurns(text, talk, random.Between(2, 5), ref random);
            return;
        }

        WritePeople(text, language, ref random);
    }

    private void WritePeople(StringBuilder text, Language language, ref SplitMix64 random)
    {
        Entity asker = random.Pick(table.OfKind("person"));
        Entity other = random.Pick(table.OfKind("person"));
        while (ReferenceEquals(asker, other))
        {
            other = random.Pick(table.OfKind("person"));
        }

        Conversation talk = new(Phrasebook.For(language), _facts[(int)language], asker.Name(language), other.Name(language));
        talk.Say(text, isAsker: true, "dialogue.greeting", ref random);
        talk.Say(text, isAsker: false, "dialogue.greeting_reply", ref random);
        int personal = random.Between(0, 2);
        for (int i = 0; i < personal; i++)
        {
            WritePersonal(text, talk, random.Pick(table.ArrayOf(other)), ref random);
        }

        WriteTurns(text, talk, random.Between(1, 4), ref random);
        talk.Say(text, isAsker: true, "dialogue.closing", ref random);
        talk.Say(text, isAsker: false, "dialogue.closing_reply", ref random);
    }

    private static void WritePersonal(StringBuilder text, Conversation talk, Fact fact, ref SplitMix64 random)
    {
        AttributePhrases phrases = talk.Book.Of(fact.Rule);
        talk.Begin(text, isAsker: true);
        random.Pick<Template>(phrases.SecondPersonQuestions).AppendTo(text);
        text.Append('\n');
        talk.Begin(text, isAsker: false);
        random.Pick<Template>(phrases.FirstPerson).AppendTo(text, new Slot('v', fact.Value(talk.Book.Language)));
        text.Append('\n');
    }

    private void WriteTurns(StringBuilder text, Conversation talk, int count, ref SplitMix64 random)
    {
        for (int i = 0; i < count; i++)
        {
            if (random.Chance(15))
            {
                WriteSum(text, talk, ref random);
                continue;
            }

            Fact fact = talk.Facts.AnyFact(ref random);
            talk.Begin(text, isAsker: true);
            talk.Facts.AppendQuestion(text, fact, fact.Subject.Mention(talk.Book.Language), ref random);
            Fact other = random.Pick(table.SameAttribute(fact));
            bool isGuess = other.Value(Language.English) != fact.Value(Language.English) && random.Chance(30);
            if (isGuess)
            {
                text.Append(talk.Book.Language == Language.English ? " " : "");
                random.Pick<Template>(talk.Book.Templates("dialogue.guess")).AppendTo(text, new Slot('w', other.Value(talk.Book.Language)));
            }

            text.Append('\n');
            talk.SayFact(text, isGuess ? "dialogue.correction" : "", fact, ref random);
            if (random.Chance(20))
            {
                talk.Say(text, isAsker: true, "dialogue.doubt", ref random);
                talk.SayFact(text, "dialogue.confirm", fact, ref random);
            }

            if (random.Chance(40))
            {
                talk.Say(text, isAsker: true, "dialogue.thanks", ref random);
            }
        }
    }

    private static void WriteSum(StringBuilder text, Conversation talk, ref SplitMix64 random)
    {
        int x = random.Between(2, 99);
        int y = random.Between(2, 99);
        Slot first = new('x', x.ToString(CultureInfo.InvariantCulture));
        Slot second = new('y', y.ToString(CultureInfo.InvariantCulture));
        Slot sum = new('z', (x + y).ToString(CultureInfo.InvariantCulture));
        talk.Begin(text, isAsker: true);
        random.Pick<Template>(talk.Book.Templates("dialogue.sum")).AppendTo(text, first, second);
        text.Append('\n');
        talk.Begin(text, isAsker: false);
        random.Pick<Template>(talk.Book.Templates("dialogue.sum_reply")).AppendTo(text, first, second, sum);
        text.Append('\n');
    }

    /// <summary>Two speakers and a language.</summary>
    private sealed record Conversation(Phrasebook Book, FactWriter Facts, string Asker, string Other)
    {
        private readonly StringBuilder _sentence = new();

        public void Begin(StringBuilder text, bool isAsker) => text.Append(isAsker ? Asker : Other).Append(Book.Language == Language.English ? ": " : "\uFF1A");

        public void Say(StringBuilder text, bool isAsker, string section, ref SplitMix64 random)
        {
            Begin(text, isAsker);
            random.Pick<Template>(Book.Templates(section)).AppendTo(text, new Slot('a', Asker), new Slot('b', Other));
            text.Append('\n');
        }

        /// <summary>The second speaker tells the fact, wrapped in a phrase of the section where one is given.</summary>
        public void SayFact(StringBuilder text, string section, Fact fact, ref SplitMix64 random)
        {
            Begin(text, isAsker: false);
            if (section.Length == 0)
            {
                Facts.AppendStatement(text, fact, ref random);
            }
            else
            {
                _sentence.Clear();
                Facts.AppendStatement(_sentence, fact, ref random);
                random.Pick<Template>(Book.Templates(section)).AppendTo(text, new Slot('f', _sentence.ToString()), new Slot('b', Asker));
            }

            text.Append('\n');
        }
    }
}
