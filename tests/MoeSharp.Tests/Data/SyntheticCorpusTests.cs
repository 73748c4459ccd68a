using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using MoeSharp.Data;

namespace MoeSharp.Tests.Data;

public sealed class SyntheticCorpusTests
{
    private static readonly IReadOnlyList<Document> Sample = SyntheticCorpus.Generate(7, 400_000);
    private static readonly SyntheticCorpus World = new(7);

    [Fact]
    public void The_corpus_of_a_seed_never_changes()
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (Document document in SyntheticCorpus.Generate(1, 1_000_000))
        {
            hash.AppendData(Encoding.UTF8.GetBytes($"{document.Domain}\n{document.Text}\n\f"));
        }

        Assert.Equal("d6dad4f770dcce26f28260fce1e969c35eefbd4faee662fd7ea04724951abd84", Convert.ToHexStringLower(hash.GetCurrentHash()));
    }

    [Fact]
    public void A_larger_corpus_begins_with_the_smaller_one_and_sizes_are_kept()
    {
        IReadOnlyList<Document> larger = SyntheticCorpus.Generate(7, 500_000);
        Assert.Equal(Sample, larger.Take(Sample.Count));
        long bytes = Sample.Sum(document => (long)Encoding.UTF8.GetByteCount(document.Text));
        Assert.InRange(bytes, 400_000, 410_000);
        Assert.NotEqual(SyntheticCorpus.Generate(8, 10_000), SyntheticCorpus.Generate(7, 10_000));
    }

    [Fact]
    public void Every_domain_has_its_share()
    {
        Dictionary<string, long> bytes = Sample.GroupBy(document => document.Domain).ToDictionary(group => group.Key, group => group.Sum(document => (long)Encoding.UTF8.GetByteCount(document.Text)));
        Assert.Equal(SyntheticCorpus.Domains.Order(), bytes.Keys.Order());
        Assert.InRange(bytes["english"], 0.29 * 400_000, 0.31 * 400_000);
        Assert.InRange(bytes["arithmetic"], 0.11 * 400_000, 0.13 * 400_000);
    }

    [Fact]
    public void Every_entity_has_four_facts_with_values_in_both_languages_and_unique_names()
    {
        FactTable table = World.Facts;
        Assert.Equal(6 * SyntheticCorpus.DefaultEntitiesPerKind, table.Entities.Count);
        Assert.Equal(4 * table.Entities.Count, table.Facts.Count);
        foreach (Language language in Enum.GetValues<Language>())
        {
            Assert.Equal(table.Entities.Count, table.Entities.Select(entity => entity.Name(language)).Distinct().Count());
        }

        foreach (Fact fact in table.Facts)
        {
            Assert.Same(fact, table.Find(fact.Subject, fact.Attribute));
            Assert.All(fact.Value(Language.Chinese), letter => Assert.True(letter > 127 || char.IsAsciiDigit(letter)));
            Assert.All(fact.Value(Language.English), letter => Assert.True(letter < 128));
            Assert.Equal(fact.Number is not null, fact.Value(Language.English) == fact.Value(Language.Chinese));
            if (fact.Related is not null)
            {
                Assert.Equal(fact.Related.Mention(Language.English), fact.Value(Language.English));
                Assert.Equal(fact.Related.Mention(Language.Chinese), fact.Value(Language.Chinese));
            }
        }

        Assert.Null(table.Find(table.Entities[0], "captain"));
    }

    [Theory]
    [InlineData(Language.English, "english", @"[A-Z][a-z]+ [A-Z][a-z]+(?= lives in )", @" lives in ([A-Z][a-z]+)\.", "home")]
    [InlineData(Language.English, "english", @"The [A-Z][a-z]+(?= was launched in)", @" was launched in (\d+)\.", "launched")]
    [InlineData(Language.Chinese, "chinese", "\\w+\u00B7\\w+(?=\u4F4F\u5728\\w+\u3002)", "\u4F4F\u5728(\\w+)\u3002", "home")]
    [InlineData(Language.Chinese, "chinese", "\\w+\u53F7(?=\u4E8E\\d+\u5E74\u4E0B\u6C34\u3002)", "\u4E8E(\\d+)\u5E74\u4E0B\u6C34\u3002", "launched")]
    public void What_the_text_says_is_what_the_table_holds(Language language, string domain, string subject, string value, string attribute)
    {
        Dictionary<string, Entity> names = World.Facts.Entities.ToDictionary(entity => char.ToUpperInvariant(entity.Mention(language)[0]) + entity.Mention(language)[1..]);
        Regex sentence = new($"(?<subject>{subject}){value}");
        int found = 0;
        foreach (Document document in Sample.Where(document => document.Domain == domain))
        {
            foreach (Match match in sentence.Matches(document.Text))
            {
                Fact? fact = World.Facts.Find(names[match.Groups["subject"].Value], attribute);
                Assert.NotNull(fact);
                Assert.Equal(fact.Value(language), match.Groups[1].Value);
                found++;
            }
        }

        Assert.True(found >= 5, $"only {found} sentences of {attribute} in {domain}");
    }

    [Fact]
    public void Facts_recur_so_that_a_model_can_learn_them()
    {
        string english = string.Concat(SyntheticCorpus.Generate(7, 2_000_000).Where(document => document.Domain == "english").Select(document => document.Text));
        Fact captain = World.Facts.Facts.First(fact => fact.Attribute == "captain");
        int mentions = Regex.Matches(english, Regex.Escape(captain.Subject.Name(Language.English))).Count;
        Assert.InRange(mentions, 20, 1000);
    }

    [Fact]
    public void A_prompt_is_the_beginning_of_a_sentence_of_the_corpus()
    {
        Fact home = World.Facts.Facts.First(fact => fact.Attribute == "home");
        Assert.Equal($"{home.Subject.Name(Language.English)} lives in", home.Prompt(Language.English));
        Assert.Equal($"{home.Subject.Name(Language.Chinese)}\u4F4F\u5728", home.Prompt(Language.Chinese));
        Assert.Equal(SyntheticCorpus.Domains, World.ExamplePrompts().Select(prompt => prompt.Domain));
        Assert.All(World.Facts.Facts, fact => Assert.False(string.IsNullOrWhiteSpace(fact.Prompt(Language.English)) || fact.Prompt(Language.Chinese).Contains('{')));
    }

    [Fact]
    public void Every_line_of_arithmetic_is_true()
    {
        Regex equation = new(@"^\s*(?<left>\d+)(?: (?<op>[-+*]) (?<right>\d+))+ = (?<result>-?\d+)(?:, write (?<digit>\d)(?:, (?:carry|borrow) (?<moved>\d+))?)?$");
        int found = 0;
        foreach (string line in Sample.Where(document => document.Domain == "arithmetic").SelectMany(document => document.Text.Split('\n')))
        {
            Match match = equation.Match(line);
            if (!match.Success)
            {
                Assert.Matches(@"^$|^\d+ [-+*] \d+$|^  write \d$", line);
                continue;
            }

            Assert.Equal(Evaluate(match), int.Parse(match.Groups["result"].Value));
            if (match.Groups["digit"].Success)
            {
                Assert.Equal(int.Parse(match.Groups["result"].Value) % 10, int.Parse(match.Groups["digit"].Value));
            }

            found++;
        }

        Assert.True(found > 1000);
    }

    [Fact]
    public void Worked_steps_write_the_digits_of_the_result()
    {
        int found = 0;
        foreach (Document document in Sample.Where(document => document.Domain == "arithmetic"))
        {
            string digits = "";
            foreach (string line in document.Text.Split('\n'))
            {
                Match write = Regex.Match(line, @"write (\d)");
                digits = write.Success ? write.Groups[1].Value + digits : digits;
                if (!write.Success && line.Contains('=') && digits.Length > 0)
                {
                    Assert.Equal(line[(line.IndexOf('=') + 2)..], digits.TrimStart('0').PadLeft(1, '0'));
                    digits = "";
                    found++;
                }
            }
        }

        Assert.True(found > 200);
    }

    [Fact]
    public void Every_record_parses_and_agrees_with_the_table()
    {
        Dictionary<string, Entity> names = World.Facts.Entities.ToDictionary(entity => entity.Name(Language.English));
        int found = 0;
        foreach (Document document in Sample.Where(document => document.Domain == "json"))
        {
            bool isWhole = document.Text.StartsWith('[') || document.Text.StartsWith("{\n", StringComparison.Ordinal);
            foreach (string json in isWhole ? [document.Text] : document.Text.Split('\n', StringSplitOptions.RemoveEmptyEntries))
            {
                using JsonDocument parsed = JsonDocument.Parse(json);
                found += CheckRecord(parsed.RootElement, names);
            }
        }

        Assert.True(found > 300);
    }

    [Theory]
    [InlineData(3)]
    [InlineData(101)]
    public void A_wrong_number_of_entities_is_refused(int entities) =>
        Assert.Contains("4 to 100", Assert.Throws<ConfigurationException>(() => FactTable.Create(1, entities)).Message);

    private static int Evaluate(Match match)
    {
        int value = int.Parse(match.Groups["left"].Value);
        int product = value; // a product comes first in a worked line, so evaluation from the left is right
        for (int i = 0; i < match.Groups["op"].Captures.Count; i++)
        {
            int right = int.Parse(match.Groups["right"].Captures[i].Value);
            product = match.Groups["op"].Captures[i].Value switch { "+" => product + right, "-" => product - right, _ => product * right };
        }

        return product;
    }

    private static int CheckRecord(JsonElement element, Dictionary<string, Entity> names)
    {
        if (element.ValueKind == JsonValueKind.Array)
        {
            return element.EnumerateArray().Sum(item => CheckRecord(item, names));
        }

        Entity entity = names[element.GetProperty("name").GetString()!];
        int count = 1;
        foreach (JsonProperty property in element.EnumerateObject().Where(property => property.Name is not ("kind" or "name" or "name_zh")))
        {
            Fact fact = World.Facts.Find(entity, property.Name)!;
            if (property.Value.ValueKind == JsonValueKind.Object)
            {
                Assert.Equal(fact.Related!.Name(Language.English), property.Value.GetProperty("name").GetString());
                count += CheckRecord(property.Value, names);
            }
            else if (fact.Number is { } number)
            {
                Assert.Equal(number, property.Value.GetInt32());
            }
            else
            {
                Assert.Equal(fact.Related?.Name(Language.English) ?? fact.Value(Language.English), property.Value.GetString());
            }
        }

        return count;
    }
}
