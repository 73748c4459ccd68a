using System.Text.Json;

namespace MoeSharp.Verification.Routing;

/// <summary>One small numeric case: settings and inputs for a router, a loss, a capacity rule or a layer, and every value expected of it.</summary>
/// <remarks>
/// A checker reads settings and inputs, runs the production code and hands over each expected field. A field that nobody hands over, or whose shape differs,
/// counts as failed. Lists are row-major and flattened, whatever their depth.
/// </remarks>
internal sealed class RoutingCase
{
    /// <summary>What the format field of such a file says.</summary>
    public const string Format = "moe-routing-fixture/1";

    private readonly JsonElement _root;
    private readonly List<VerificationCheck> _checks;
    private readonly HashSet<string> _compared = new(StringComparer.Ordinal);

    /// <summary>Opens a case.</summary>
    /// <param name="root">The file's object; must outlive the case.</param>
    /// <param name="checks">Receives a comparison per expected field.</param>
    public RoutingCase(JsonElement root, List<VerificationCheck> checks)
    {
        (_root, _checks) = (root, checks);
        (Name, Kind) = (root.GetProperty("name").GetString() ?? "", root.GetProperty("kind").GetString() ?? "");
    }

    /// <summary>Name of the case.</summary>
    public string Name { get; }

    /// <summary>What it is a case of, for example <c>router/top_k</c>.</summary>
    public string Kind { get; }

    private JsonElement Config => _root.GetProperty("config");

    private JsonElement Inputs => _root.GetProperty("inputs");

    private JsonElement Expected => _root.GetProperty("expected");

    /// <summary>A whole number of the settings.</summary>
    public int Int(string setting) => Config.GetProperty(setting).GetInt32();

    /// <summary>A whole number of the settings, null where it is null or absent.</summary>
    public int? OptionalInt(string setting) => Has(Config, setting) ? Int(setting) : null;

    /// <summary>A number of the settings.</summary>
    public double Number(string setting) => Config.GetProperty(setting).GetDouble();

    /// <summary>A number of the settings, null where it is null or absent.</summary>
    public double? OptionalNumber(string setting) => Has(Config, setting) ? Number(setting) : null;

    /// <summary>A switch of the settings.</summary>
    public bool Flag(string setting) => Config.GetProperty(setting).GetBoolean();

    /// <summary>A text of the settings.</summary>
    public string Text(string setting) => Config.GetProperty(setting).GetString() ?? "";

    /// <summary>Lists of whole numbers of the settings, for example the experts of each device.</summary>
    public int[][] Lists(string setting) => [.. Config.GetProperty(setting).EnumerateArray().Select(list => list.EnumerateArray().Select(item => item.GetInt32()).ToArray())];

    /// <summary>Whether a setting is there and not null.</summary>
    public bool HasSetting(string setting) => Has(Config, setting);

    /// <summary>Whether an input is there and not null.</summary>
    public bool HasInput(string input) => Has(Inputs, input);

    /// <summary>Whether a field is expected.</summary>
    public bool Expects(string field) => Expected.TryGetProperty(field, out _);

    /// <summary>Numbers of an input, flattened.</summary>
    public double[] Doubles(string input) => [.. Flatten(Inputs.GetProperty(input)).Select(item => item.GetDouble())];

    /// <summary>Numbers of an input as floats, flattened; they are exact.</summary>
    public float[] Floats(string input) => [.. Flatten(Inputs.GetProperty(input)).Select(item => item.GetSingle())];

    /// <summary>Whole numbers of an input, flattened.</summary>
    public int[] Ids(string input) => [.. Flatten(Inputs.GetProperty(input)).Select(item => item.GetInt32())];

    /// <summary>Sizes of an input's lists, the outermost first, by the first element of each.</summary>
    public int[] Sizes(string input)
    {
        List<int> sizes = [];
        for (JsonElement element = Inputs.GetProperty(input); element.ValueKind == JsonValueKind.Array; element = element[0])
        {
            sizes.Add(element.GetArrayLength());
            if (element.GetArrayLength() == 0)
            {
                break;
            }
        }

        return [.. sizes];
    }

    /// <summary>Compares whole numbers, exactly.</summary>
    public void Compare(string field, ReadOnlySpan<int> actual)
    {
        int[] values = actual.ToArray();
        Compare(field, [.. values.Select(value => (double)value)]);
    }

    /// <summary>Compares floats.</summary>
    public void Compare(string field, ReadOnlySpan<float> actual)
    {
        float[] values = actual.ToArray();
        Compare(field, [.. values.Select(value => (double)value)]);
    }

    /// <summary>Compares one number.</summary>
    public void Compare(string field, double actual) => Compare(field, [actual]);

    /// <summary>Compares numbers; where the field expects null, NaN stands for it.</summary>
    public void Compare(string field, double[] actual)
    {
        _compared.Add(field);
        JsonElement[] expected = [.. Flatten(Expected.GetProperty(field))];
        string name = $"{Name}: {field}";
        if (expected.Length != actual.Length)
        {
            _checks.Add(new VerificationCheck(name, "length", double.PositiveInfinity, 0, Difference.Text($"{actual.Length} values for {expected.Length}")));
            return;
        }

        JsonElement tolerance = _root.GetProperty("tolerance").GetProperty(field);
        bool isExact = tolerance.ValueKind == JsonValueKind.String;
        double scale = isExact ? 0 : expected.Where(item => item.ValueKind == JsonValueKind.Number).Select(item => Math.Abs(item.GetDouble())).DefaultIfEmpty(0).Max();
        double allowed = isExact ? 0 : tolerance.GetProperty("abs").GetDouble() + (tolerance.GetProperty("rel").GetDouble() * scale);
        (double largest, int at) = (0, 0);
        for (int index = 0; index < expected.Length; index++)
        {
            double distance = Distance(expected[index], actual[index]);
            if (distance > largest)
            {
                (largest, at) = (distance, index);
            }
        }

        string detail = expected.Length == 0 ? "no values" : Difference.Text($"{expected.Length} values, worst at {at}: {actual[at]:G9} for {expected[at].GetRawText()}");
        _checks.Add(new VerificationCheck(name, isExact ? "exact" : "max abs", largest, allowed, detail));
    }

    /// <summary>Compares lists of lists of unequal length, exactly; inner lists may be lists themselves.</summary>
    /// <param name="field">Expected field.</param>
    /// <param name="actual">The lists as JSON would write them.</param>
    public void CompareLists(string field, object actual)
    {
        _compared.Add(field);
        string found = JsonSerializer.Serialize(actual);
        string expected = JsonSerializer.Serialize(Expected.GetProperty(field));
        _checks.Add(new VerificationCheck($"{Name}: {field}", "exact", found == expected ? 0 : double.PositiveInfinity, 0, found == expected ? "" : $"{found} for {expected}"));
    }

    /// <summary>Counts every expected field that was not compared as failed, and a case that expects nothing as well.</summary>
    public void Finish()
    {
        if (!Expected.EnumerateObject().Any())
        {
            _checks.Add(new VerificationCheck(Name, "not compared", double.PositiveInfinity, 0, "the case expects nothing"));
        }

        foreach (JsonProperty field in Expected.EnumerateObject())
        {
            if (!_compared.Contains(field.Name))
            {
                _checks.Add(new VerificationCheck($"{Name}: {field.Name}", "not compared", double.PositiveInfinity, 0, "no comparison is known for this field"));
            }
        }
    }

    private static double Distance(JsonElement expected, double actual)
    {
        if (expected.ValueKind == JsonValueKind.Null)
        {
            return double.IsNaN(actual) ? 0 : double.PositiveInfinity;
        }

        double distance = Math.Abs(expected.GetDouble() - actual);
        return double.IsNaN(distance) ? double.PositiveInfinity : distance;
    }

    private static bool Has(JsonElement element, string name) => element.TryGetProperty(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null;

    private static IEnumerable<JsonElement> Flatten(JsonElement element) =>
        element.ValueKind == JsonValueKind.Array ? element.EnumerateArray().SelectMany(Flatten) : [element];
}
