using System.Text;
using MoeSharp.Data.Synthetic;
using MoeSharp.Kernels;

namespace MoeSharp.Data;

/// <summary>The embedded corpus: an endless, seeded stream of documents of six kinds about one invented world.</summary>
/// <remarks>
/// Facts in English and Chinese ask for memory, arithmetic and programs for rules, records and dialogue for form; all share one <see cref="FactTable"/>.
/// Document i of a seed is the same on every platform and for every corpus size.
/// </remarks>
public sealed class SyntheticCorpus
{
    /// <summary>Entities of each kind unless told otherwise: 768 facts, each met often in a few megabytes.</summary>
    public const int DefaultEntitiesPerKind = 32;

    private const int NumDomains = 6;

    private static readonly string[] DomainNames = ["english", "chinese", "arithmetic", "json", "program", "dialogue"];
    private static readonly int[] Shares = [30, 20, 12, 12, 12, 14]; // percent of the bytes; arbitrary, memory weighs most

    private readonly FactWriter _english;
    private readonly FactWriter _chinese;
    private readonly ArithmeticWriter _arithmetic = new();
    private readonly RecordWriter _records;
    private readonly ProgramWriter _programs = new();
    private readonly DialogueWriter _dialogue;

    /// <summary>Builds the world of a seed.</summary>
    /// <param name="seed">Any number.</param>
    /// <param name="entitiesPerKind">Entities of each of the six kinds, 4 to 100.</param>
    /// <exception cref="ConfigurationException"><paramref name="entitiesPerKind"/> is out of range.</exception>
    public SyntheticCorpus(ulong seed, int entitiesPerKind = DefaultEntitiesPerKind)
    {
        Seed = seed;
        Facts = FactTable.Create(seed, entitiesPerKind);
        _english = new FactWriter(Facts, Language.English);
        _chinese = new FactWriter(Facts, Language.Chinese);
        _records = new RecordWriter(Facts);
        _dialogue = new DialogueWriter(Facts);
    }

    /// <summary>The names of the six domains.</summary>
    public static IReadOnlyList<string> Domains => DomainNames;

    /// <summary>The seed.</summary>
    public ulong Seed { get; }

    /// <summary>What is true in this world.</summary>
    public FactTable Facts { get; }

    /// <summary>Generates documents of at least <paramref name="approximateBytes"/> bytes of UTF-8 in all, over by at most one document.</summary>
    public static IReadOnlyList<Document> Generate(ulong seed, long approximateBytes)
    {
        List<Document> documents = [.. new SyntheticCorpus(seed).Documents(approximateBytes)];
        return documents;
    }

    /// <summary>Generates documents, the most behind domain first, until they hold <paramref name="approximateBytes"/> bytes of UTF-8.</summary>
    public IEnumerable<Document> Documents(long approximateBytes)
    {
        long[] bytes = new long[NumDomains];
        StringBuilder text = new(16 * 1024);
        long total = 0;
        for (ulong number = 0; total < approximateBytes; number++)
        {
            int domain = MostBehind(bytes);
            text.Clear();
            SplitMix64 random = new(Seed, number);
            Write(domain, text, ref random);
            Document document = new(text.ToString(), DomainNames[domain], $"synthetic:{Seed}:{number}");
            int length = Encoding.UTF8.GetByteCount(document.Text);
            bytes[domain] += length;
            total += length;
            yield return document;
        }
    }

    /// <summary>A beginning of text of each domain, to let a model continue.</summary>
    public IReadOnlyList<ExamplePrompt> ExamplePrompts()
    {
        Fact captain = Facts.Facts.First(fact => fact.Attribute == "captain");
        Fact home = Facts.Facts.First(fact => fact.Attribute == "home");
        Phrasebook english = Phrasebook.For(Language.English);
        string question = english.Of(captain.Rule).Questions[1].Fill(new Slot('e', captain.Subject.Mention(Language.English)));
        return
        [
            new("english", home.Prompt(Language.English)),
            new("chinese", home.Prompt(Language.Chinese)),
            new("arithmetic", "387 + 456\n"),
            new("json", $"{{\"kind\": \"ship\", \"name\": \"{captain.Subject.Name(Language.English)}\","),
            new("program", "# py\ndef scale(x, y):\n"),
            new("dialogue", $"{english.Lines("dialogue.user")[0]}: {question}\n{english.Lines("dialogue.assistant")[0]}:"),
        ];
    }

    private static int MostBehind(long[] bytes)
    {
        int behind = 0;
        for (int domain = 1; domain < NumDomains; domain++)
        {
            if (bytes[domain] * Shares[behind] < bytes[behind] * Shares[domain])
            {
                behind = domain;
            }
        }

        return behind;
    }

    private void Write(int domain, StringBuilder text, ref SplitMix64 random)
    {
        switch (domain)
        {
            case 0:
                _english.Write(text, ref random);
                break;
            case 1:
                _chinese.Write(text, ref random);
                break;
            case 2:
                _arithmetic.Write(text, ref random);
                break;
            case 3:
                _records.Write(text, ref random);
                break;
            case 4:
                _programs.Write(text, ref random);
                break;
            default:
                _dialogue.Write(text, ref random);
                break;
        }
    }
}

/// <summary>A beginning of text for a model to continue.</summary>
/// <param name="Domain">The domain it belongs to.</param>
/// <param name="Text">The beginning.</param>
public sealed record ExamplePrompt(string Domain, string Text);
