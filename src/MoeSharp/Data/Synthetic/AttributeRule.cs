namespace MoeSharp.Data.Synthetic;

/// <summary>Where the values of an attribute come from: a word list, a range of numbers, entities of a kind, or invented names.</summary>
internal sealed record AttributeRule(int Index, string Kind, string Name)
{
    /// <summary>Kinds in the order in which the table is built: a kind refers only to kinds before it.</summary>
    public static readonly string[] Kinds = ["city", "person", "compound", "ship", "book", "bird"];

    /// <summary>Every attribute.</summary>
    public static readonly AttributeRule[] All =
    [
        new(0, "city", "country") { Names = "country" },
        new(1, "city", "river") { Names = "river" },
        new(2, "city", "founded") { Least = 900, Most = 1699 },
        new(3, "city", "product") { Words = "product" },
        new(4, "person", "birth_year") { Least = 1700, Most = 1899 },
        new(5, "person", "home") { Entities = "city" },
        new(6, "person", "profession") { Words = "profession" },
        new(7, "person", "instrument") { Words = "instrument" },
        new(8, "compound", "colour") { Words = "colour" },
        new(9, "compound", "melting_point") { Least = 200, Most = 1999 },
        new(10, "compound", "purpose") { Words = "purpose" },
        new(11, "compound", "discoverer") { Entities = "person" },
        new(12, "ship", "captain") { Entities = "person" },
        new(13, "ship", "home_port") { Entities = "city" },
        new(14, "ship", "launched") { Least = 1800, Most = 1899 },
        new(15, "ship", "cargo") { Words = "cargo" },
        new(16, "book", "author") { Entities = "person" },
        new(17, "book", "published") { Least = 1750, Most = 1949 },
        new(18, "book", "subject") { Words = "subject" },
        new(19, "book", "pages") { Least = 80, Most = 699 },
        new(20, "bird", "colour") { Words = "colour" },
        new(21, "bird", "food") { Words = "food" },
        new(22, "bird", "habitat") { Words = "habitat" },
        new(23, "bird", "wingspan") { Least = 12, Most = 199 },
    ];

    /// <summary>Word list, or null.</summary>
    public string? Words { get; init; }

    /// <summary>Kind of entity, or null.</summary>
    public string? Entities { get; init; }

    /// <summary>Pattern of invented names, or null.</summary>
    public string? Names { get; init; }

    /// <summary>Least number.</summary>
    public int Least { get; init; }

    /// <summary>Greatest number; 0 for what is no number.</summary>
    public int Most { get; init; }

    /// <summary>The key of its phrases.</summary>
    public string Key => $"{Kind}.{Name}";
}
