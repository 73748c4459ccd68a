using MoeSharp.Kernels;

namespace MoeSharp.Data.Synthetic;

/// <summary>Invents the entities and draws their attributes.</summary>
internal sealed class FactTableBuilder
{
    private const ulong Stream = 0xFAC7; // arbitrary: keeps the table's random numbers apart from the documents'
    private const int NumCountries = 12; // arbitrary
    private const int NumFamilies = 12; // arbitrary

    private readonly HashSet<string> _used = [];
    private readonly Dictionary<string, List<Entity>> _entities = [];
    private readonly List<Fact> _facts = [];
    private readonly string[][] _families = new string[NumFamilies][];
    private readonly string[][] _countries = new string[NumCountries][];
    private SplitMix64 _random;

    private FactTableBuilder(ulong seed) => _random = new SplitMix64(seed, Stream);

    /// <summary>Builds the table.</summary>
    public static FactTable Build(ulong seed, int entitiesPerKind)
    {
        if (entitiesPerKind is < 4 or > 100)
        {
            throw new ConfigurationException($"the synthetic corpus has {entitiesPerKind} entities of each kind; use 4 to 100");
        }

        FactTableBuilder builder = new(seed);
        builder.Fill(entitiesPerKind);
        Entity[] entities = AttributeRule.Kinds.SelectMany(kind => builder._entities[kind]).ToArray();
        return new FactTable(entities, builder._facts);
    }

    private static string[] Both(Func<Phrasebook, string> text) => [text(Phrasebook.For(Language.English)), text(Phrasebook.For(Language.Chinese))];

    private static string Upper(string name) => char.ToUpperInvariant(name[0]) + name[1..];

    private void Fill(int entitiesPerKind)
    {
        for (int i = 0; i < NumFamilies; i++)
        {
            _families[i] = Invent(2);
        }

        for (int i = 0; i < NumCountries; i++)
        {
            _countries[i] = Named("country", 0, Invent(2), isMention: false);
        }

        foreach (string kind in AttributeRule.Kinds)
        {
            List<Entity> entities = _entities[kind] = [];
            while (entities.Count < entitiesPerKind)
            {
                entities.Add(InventEntity(kind));
            }

            foreach (Entity entity in entities)
            {
                foreach (AttributeRule rule in AttributeRule.All.Where(rule => rule.Kind == kind))
                {
                    _facts.Add(Draw(entity, rule));
                }
            }
        }
    }

    private Entity InventEntity(string kind)
    {
        if (kind == "book")
        {
            return InventBook();
        }

        string[] name = Invent(kind == "person" ? 2 : _random.Between(2, 3));
        int variant = _random.Below(Phrasebook.For(Language.English).Lines("name." + kind).Length / 2);
        string[] family = _families[_random.Below(NumFamilies)];
        return new Entity(kind, Named(kind, variant, name, isMention: false, family), Named(kind, variant, name, isMention: true, family));
    }

    private Entity InventBook()
    {
        while (true)
        {
            int adjective = _random.Below(Phrasebook.For(Language.English).Words("title_adjective").Length);
            int noun = _random.Below(Phrasebook.For(Language.English).Words("title_noun").Length);
            string[] title = Both(book => book.Templates("name.book")[0].Fill(
                new Slot('x', Title(book, book.Words("title_adjective")[adjective])), new Slot('y', Title(book, book.Words("title_noun")[noun]))));
            if (_used.Add(title[0]))
            {
                return new Entity("book", title, title);
            }
        }

        static string Title(Phrasebook book, string word) => book.Language == Language.English ? Upper(word) : word;
    }

    /// <summary>A name of a few syllables that nothing else bears: [English, Chinese].</summary>
    private string[] Invent(int numSyllables)
    {
        int[] syllables = new int[numSyllables];
        while (true)
        {
            for (int i = 0; i < numSyllables; i++)
            {
                syllables[i] = _random.Below(Phrasebook.For(Language.English).Syllables.Length);
            }

            string[] name = Both(book => string.Concat(syllables.Select(syllable => book.Syllables[syllable])));
            if (_used.Add(name[0]))
            {
                return name;
            }
        }
    }

    private static string[] Named(string kind, int variant, string[] name, bool isMention, string[]? family = null) => Both(book =>
    {
        string bare = name[(int)book.Language];
        string last = family is null ? "" : family[(int)book.Language];
        return book.Templates("name." + kind)[2 * variant + (isMention ? 1 : 0)].Fill(
            new Slot('s', Upper(bare)), new Slot('l', bare), new Slot('y', last.Length == 0 ? last : Upper(last)));
    });

    private Fact Draw(Entity subject, AttributeRule rule)
    {
        if (rule.Words is not null)
        {
            int word = _random.Below(Phrasebook.For(Language.English).Words(rule.Words).Length);
            return new Fact(subject, rule, Both(book => book.Words(rule.Words)[word]), null, null);
        }

        if (rule.Entities is not null)
        {
            List<Entity> candidates = _entities[rule.Entities];
            Entity related = candidates[_random.Below(candidates.Count)];
            return new Fact(subject, rule, Both(book => related.Mention(book.Language)), related, null);
        }

        if (rule.Names is not null)
        {
            string[] values = rule.Names == "country" ? _countries[_random.Below(NumCountries)] : Named(rule.Names, 0, Invent(2), isMention: false);
            return new Fact(subject, rule, values, null, null);
        }

        int number = _random.Between(rule.Least, rule.Most);
        string digits = number.ToString(System.Globalization.CultureInfo.InvariantCulture);
        return new Fact(subject, rule, [digits, digits], null, number);
    }
}
