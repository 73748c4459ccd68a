using System.Globalization;
using System.Text;
using MoeSharp.Kernels;

namespace MoeSharp.Data.Synthetic;

/// <summary>Writes entities as JSON: one record a line, an array, or an indented object with its relations nested.</summary>
internal sealed class RecordWriter(FactTable table)
{
    /// <summary>Writes one document: JSON as a whole, or JSON in every line.</summary>
    public void Write(StringBuilder text, ref SplitMix64 random)
    {
        switch (random.Below(3))
        {
            case 0:
                WriteLines(text, ref random);
                break;
            case 1:
                WriteArray(text, ref random);
                break;
            default:
                WriteNested(text, ref random);
                break;
        }
    }

    private static void AppendValue(StringBuilder text, Fact fact)
    {
        if (fact.Number is { } number)
        {
            text.Append(CultureInfo.InvariantCulture, $"{number}");
        }
        else
        {
            AppendString(text, fact.Related?.Name(Language.English) ?? fact.Value(Language.English));
        }
    }

    private static void AppendString(StringBuilder text, string value) => text.Append('"').Append(value).Append('"'); // names have nothing to escape

    private void WriteLines(StringBuilder text, ref SplitMix64 random)
    {
        ReadOnlySpan<Entity> entities = table.OfKind(random.Pick<string>(AttributeRule.Kinds));
        int count = random.Between(3, 6);
        for (int i = 0; i < count; i++)
        {
            AppendRecord(text, random.Pick(entities), ref random);
            text.Append('\n');
        }
    }

    private void WriteArray(StringBuilder text, ref SplitMix64 random)
    {
        int count = random.Between(3, 6);
        text.Append("[\n");
        for (int i = 0; i < count; i++)
        {
            text.Append("  ");
            AppendRecord(text, table.Entities[random.Below(table.Entities.Count)], ref random);
            text.Append(i == count - 1 ? "\n" : ",\n");
        }

        text.Append("]\n");
    }

    private void AppendRecord(StringBuilder text, Entity entity, ref SplitMix64 random)
    {
        text.Append("{\"kind\": ");
        AppendString(text, entity.Kind);
        text.Append(", \"name\": ");
        AppendString(text, entity.Name(Language.English));
        if (random.Chance(30))
        {
            text.Append(", \"name_zh\": ");
            AppendString(text, entity.Name(Language.Chinese));
        }

        Span<int> order = [0, 1, 2, 3];
        random.Shuffle(order);
        foreach (int at in order[..random.Between(2, 4)])
        {
            Fact fact = table.ArrayOf(entity)[at];
            text.Append(", \"").Append(fact.Attribute).Append("\": ");
            AppendValue(text, fact);
        }

        text.Append('}');
    }

    private void WriteNested(StringBuilder text, ref SplitMix64 random)
    {
        AppendNested(text, random.Pick(table.OfKind(random.Pick<string>(["ship", "book", "compound", "person"]))), 1);
        text.Append('\n');
    }

    private void AppendNested(StringBuilder text, Entity entity, int depth)
    {
        text.Append("{\n").Append(' ', 2 * depth).Append("\"kind\": ");
        AppendString(text, entity.Kind);
        text.Append(",\n").Append(' ', 2 * depth).Append("\"name\": ");
        AppendString(text, entity.Name(Language.English));
        foreach (Fact fact in table.ArrayOf(entity))
        {
            text.Append(",\n").Append(' ', 2 * depth).Append('"').Append(fact.Attribute).Append("\": ");
            if (fact.Related is not null && depth < 3)
            {
                AppendNested(text, fact.Related, depth + 1);
            }
            else
            {
                AppendValue(text, fact);
            }
        }

        text.Append('\n').Append(' ', 2 * (depth - 1)).Append('}');
    }
}
