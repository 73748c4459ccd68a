using MoeSharp.Data.Synthetic;

namespace MoeSharp.Data;

/// <summary>The invented world that the synthetic corpus talks about: entities, and what is true of them in both languages.</summary>
/// <remarks>Studies ask the model for these values, for example before and after an expert is switched off.</remarks>
public sealed class FactTable
{
    private readonly Dictionary<(Entity Subject, string Attribute), Fact> _bySubject = [];
    private readonly Dictionary<string, Entity[]> _byKind;
    private readonly Dictionary<(string Kind, string Attribute), Fact[]> _byAttribute;
    private readonly Dictionary<Entity, Fact[]> _byEntity;

    internal FactTable(IReadOnlyList<Entity> entities, IReadOnlyList<Fact> facts)
    {
        Entities = entities;
        Facts = facts;
        foreach (Fact fact in facts)
        {
            _bySubject.Add((fact.Subject, fact.Attribute), fact);
        }

        _byKind = entities.GroupBy(entity => entity.Kind).ToDictionary(group => group.Key, group => group.ToArray());
        _byAttribute = facts.GroupBy(fact => (fact.Subject.Kind, fact.Attribute)).ToDictionary(group => group.Key, group => group.ToArray());
        _byEntity = facts.GroupBy(fact => fact.Subject).ToDictionary(group => group.Key, group => group.ToArray());
    }

    /// <summary>People, cities, compounds, ships, books and birds; none of them exists.</summary>
    public IReadOnlyList<Entity> Entities { get; }

    /// <summary>Every fact: four for each entity.</summary>
    public IReadOnlyList<Fact> Facts { get; }

    /// <summary>Builds the table of a seed; the same on every platform.</summary>
    /// <param name="seed">Any number.</param>
    /// <param name="entitiesPerKind">Entities of each of the six kinds, 4 to 100.</param>
    /// <exception cref="ConfigurationException"><paramref name="entitiesPerKind"/> is out of range.</exception>
    public static FactTable Create(ulong seed, int entitiesPerKind) => FactTableBuilder.Build(seed, entitiesPerKind);

    /// <summary>The four facts of an entity.</summary>
    public IReadOnlyList<Fact> FactsOf(Entity entity) => _byEntity[entity];

    /// <summary>Looks up one fact; null where the entity has no such attribute.</summary>
    public Fact? Find(Entity subject, string attribute) => _bySubject.GetValueOrDefault((subject, attribute));

    internal ReadOnlySpan<Fact> ArrayOf(Entity entity) => _byEntity[entity];

    internal ReadOnlySpan<Entity> OfKind(string kind) => _byKind[kind];

    internal ReadOnlySpan<Fact> SameAttribute(Fact fact) => _byAttribute[(fact.Subject.Kind, fact.Attribute)];
}

/// <summary>Something that exists only in the corpus.</summary>
public sealed class Entity
{
    private readonly string[] _mentions;
    private readonly string[] _names;

    internal Entity(string kind, string[] names, string[] mentions)
    {
        Kind = kind;
        _names = names;
        _mentions = mentions;
    }

    /// <summary>person, city, compound, ship, book or bird.</summary>
    public string Kind { get; }

    /// <summary>The bare name, as in a table.</summary>
    public string Name(Language language) => _names[(int)language];

    /// <summary>The name as it stands within a sentence, with its article.</summary>
    public string Mention(Language language) => _mentions[(int)language];

    /// <inheritdoc/>
    public override string ToString() => $"{Kind} {_names[0]}";
}

/// <summary>One attribute of one entity.</summary>
public sealed class Fact
{
    private readonly string[] _values;

    internal Fact(Entity subject, AttributeRule rule, string[] values, Entity? related, int? number)
    {
        Subject = subject;
        Rule = rule;
        _values = values;
        Related = related;
        Number = number;
    }

    /// <summary>What the fact is about.</summary>
    public Entity Subject { get; }

    /// <summary>Name of the attribute, as in the JSON records: <c>birth_year</c>, <c>home_port</c>, ...</summary>
    public string Attribute => Rule.Name;

    /// <summary>The entity that the value names, or null for words and numbers.</summary>
    public Entity? Related { get; }

    /// <summary>The value of a numeric attribute, or null.</summary>
    public int? Number { get; }

    internal AttributeRule Rule { get; }

    /// <summary>The value as it stands in the text.</summary>
    public string Value(Language language) => _values[(int)language];

    /// <summary>The beginning of a sentence of the corpus whose continuation is <see cref="Value"/>: the question to ask a model that should know.</summary>
    /// <remarks>It ends without a blank; the continuation begins with one in English.</remarks>
    public string Prompt(Language language) => Phrasebook.For(language).Of(Rule).Prompt(this, language);

    /// <inheritdoc/>
    public override string ToString() => $"{Subject}: {Attribute} = {_values[0]}";
}
