using System.Text;
using MoeSharp.Kernels;

namespace MoeSharp.Data.Synthetic;

/// <summary>Tells facts of the table in one language: portraits, surveys, chains, questions with answers, comparisons.</summary>
internal sealed class FactWriter(FactTable table, Language language)
{
    private readonly Phrasebook _book = Phrasebook.For(language);
    private readonly string _space = language == Language.English ? " " : "";

    /// <summary>Writes one document.</summary>
    public void Write(StringBuilder text, ref SplitMix64 random)
    {
        switch (random.Below(10))
        {
            case < 3:
                WritePortrait(text, ref random);
                break;
            case < 5:
                WriteSurvey(text, ref random);
                break;
            case < 6:
                WriteChains(text, ref random);
                break;
            case < 9:
                WriteQuestions(text, ref random);
                break;
            default:
                WriteComparisons(text, ref random);
                break;
        }
    }

    /// <summary>Appends a sentence that tells the fact.</summary>
    public void AppendStatement(StringBuilder text, Fact fact, ref SplitMix64 random) =>
        Phrasebook.AppendSentence(text, random.Pick<Template>(_book.Of(fact.Rule).Statements), new Slot('e', fact.Subject.Mention(language)), new Slot('v', fact.Value(language)));

    /// <summary>Appends a question for the fact.</summary>
    public void AppendQuestion(StringBuilder text, Fact fact, string subject, ref SplitMix64 random) =>
        Phrasebook.AppendSentence(text, random.Pick<Template>(_book.Of(fact.Rule).Questions), new Slot('e', subject));

    /// <summary>Any fact of the table.</summary>
    public Fact AnyFact(ref SplitMix64 random) => table.Facts[random.Below(table.Facts.Count)];

    /// <summary>The attribute as part of a sentence: the home port of the Karomi.</summary>
    public string NounPhrase(Fact fact) => _book.Of(fact.Rule).NounPhrase.Fill(new Slot('e', fact.Subject.Mention(language)));

    private void WritePortrait(StringBuilder text, ref SplitMix64 random)
    {
        int numEntities = random.Between(1, 3);
        for (int i = 0; i < numEntities; i++)
        {
            Entity entity = table.Entities[random.Below(table.Entities.Count)];
            AppendTitle(text, entity, ref random);
            AppendAllFacts(text, entity, ref random);
        }
    }

    private void AppendTitle(StringBuilder text, Entity entity, ref SplitMix64 random)
    {
        if (text.Length > 0)
        {
            text.Append('\n');
        }

        Phrasebook.AppendSentence(text, random.Pick<Template>(_book.Templates("form.title")), new Slot('e', entity.Mention(language)));
        text.Append('\n');
    }

    private void AppendAllFacts(StringBuilder text, Entity entity, ref SplitMix64 random)
    {
        Span<int> order = [0, 1, 2, 3];
        random.Shuffle(order);
        ReadOnlySpan<Fact> facts = table.ArrayOf(entity);
        for (int i = 0; i < facts.Length; i++)
        {
            text.Append(i == 0 ? "" : _space);
            AppendStatement(text, facts[order[i]], ref random);
        }

        text.Append('\n');
    }

    private void WriteSurvey(StringBuilder text, ref SplitMix64 random)
    {
        Fact first = AnyFact(ref random);
        string kinds = _book.Lines("kind." + first.Subject.Kind)[1];
        Phrasebook.AppendSentence(text, random.Pick<Template>(_book.Templates("form.survey")), new Slot('k', kinds));
        text.Append('\n');
        ReadOnlySpan<Fact> facts = table.SameAttribute(first);
        int count = random.Between(4, 9);
        for (int i = 0; i < count; i++)
        {
            text.Append("- ");
            AppendStatement(text, random.Pick(facts), ref random);
            text.Append('\n');
        }
    }

    private void WriteChains(StringBuilder text, ref SplitMix64 random)
    {
        int count = random.Between(1, 3);
        for (int i = 0; i < count; i++)
        {
            AppendChain(text, ref random);
        }
    }

    /// <summary>Follows relations from entity to entity and tells two facts of each.</summary>
    private void AppendChain(StringBuilder text, ref SplitMix64 random)
    {
        Entity? entity = random.Pick(table.OfKind(random.Pick<string>(["ship", "book", "compound", "person"])));
        for (int links = 0; entity is not null && links < 4; links++)
        {
            ReadOnlySpan<Fact> facts = table.ArrayOf(entity);
            int other = random.Below(facts.Length);
            int relation = IndexOfRelation(facts, ref random);
            text.Append(links == 0 ? "" : _space);
            AppendStatement(text, facts[other], ref random);
            entity = null;
            if (relation >= 0)
            {
                entity = facts[relation].Related;
                if (relation != other)
                {
                    text.Append(_space);
                    AppendStatement(text, facts[relation], ref random);
                }
            }
        }

        text.Append('\n');
    }

    private static int IndexOfRelation(ReadOnlySpan<Fact> facts, ref SplitMix64 random)
    {
        int start = random.Below(facts.Length);
        for (int i = 0; i < facts.Length; i++)
        {
            int at = (start + i) % facts.Length;
            if (facts[at].Related is not null)
            {
                return at;
            }
        }

        return -1;
    }

    private void WriteQuestions(StringBuilder text, ref SplitMix64 random)
    {
        int count = random.Between(4, 9);
        for (int i = 0; i < count; i++)
        {
            Fact fact = AnyFact(ref random);
            string subject = fact.Subject.Mention(language);
            if (fact.Related is not null && random.Chance(50))
            {
                subject = NounPhrase(fact); // two steps: a fact of the entity that the first fact names
                fact = random.Pick(table.ArrayOf(fact.Related));
            }

            AppendQuestionLine(text, fact, subject, ref random);
            AppendAnswerLine(text, fact, ref random);
        }
    }

    private void AppendQuestionLine(StringBuilder text, Fact fact, string subject, ref SplitMix64 random)
    {
        Template question = random.Pick<Template>(_book.Of(fact.Rule).Questions);
        text.Append(_book.Templates("form.question")[0].FillUpTo('q'));
        Phrasebook.AppendSentence(text, question, new Slot('e', subject));
        text.Append('\n');
    }

    private void AppendAnswerLine(StringBuilder text, Fact fact, ref SplitMix64 random)
    {
        text.Append(_book.Templates("form.answer")[0].FillUpTo('v'));
        if (random.Chance(50))
        {
            AppendStatement(text, fact, ref random);
        }
        else
        {
            int begin = text.Length;
            text.Append(fact.Value(language));
            Phrasebook.Capitalise(text, begin);
            text.Append(language == Language.English ? "." : "\u3002");
        }

        text.Append('\n');
    }

    private void WriteComparisons(StringBuilder text, ref SplitMix64 random)
    {
        int count = random.Between(3, 5);
        for (int i = 0; i < count; i++)
        {
            Fact first = AnyNumber(ref random);
            Fact second = random.Pick(table.SameAttribute(first));
            if (first.Number == second.Number)
            {
                continue; // nothing to compare; a later pair fills the document
            }

            AppendStatement(text, first, ref random);
            text.Append(_space);
            AppendStatement(text, second, ref random);
            text.Append(_space);
            AppendConclusion(text, first.Number < second.Number ? first : second, first.Number < second.Number ? second : first, ref random);
        }

        if (text.Length == 0)
        {
            WriteQuestions(text, ref random);
        }
    }

    private void AppendConclusion(StringBuilder text, Fact less, Fact greater, ref SplitMix64 random)
    {
        text.Append(random.Pick<Template>(_book.Templates("form.compare")).FillUpTo('c'));
        random.Pick<Template>(_book.Of(less.Rule).Comparisons).AppendTo(text, new Slot('a', less.Subject.Mention(language)), new Slot('b', greater.Subject.Mention(language)));
        text.Append('\n');
    }

    private Fact AnyNumber(ref SplitMix64 random)
    {
        while (true)
        {
            Fact fact = AnyFact(ref random);
            if (fact.Number is not null)
            {
                return fact;
            }
        }
    }
}
