using System.Text.Json.Nodes;
using MoeSharp.Kernels;
using MoeSharp.Verification;

namespace MoeSharp.Tests.Verification;

public sealed class RoutingVerificationTests : IDisposable
{
    private readonly WorkerPool _workers = new(2);
    private readonly string _folder = Directory.CreateTempSubdirectory("moe-routing-").FullName;

    [Theory]
    [InlineData("router")]
    [InlineData("balance")]
    [InlineData("capacity")]
    [InlineData("layer")]
    [InlineData("placement")]
    [InlineData("classic")]
    public void Every_case_is_met(string family)
    {
        VerificationReport report = FixtureVerifier.Verify(Cases(family), null, _workers);
        Assert.Null(report.Failure);
        Assert.NotEmpty(report.Checks);
        Assert.All(report.Checks, check => Assert.True(check.Passed, check.ToString()));
    }

    [Theory]
    [InlineData("loss")]
    [InlineData("grad_logits")]
    [InlineData("expert_ids")]
    public void A_wrong_expected_value_fails_its_field_alone(string field)
    {
        JsonObject fixture = Load("balance", "expert_level_sequence");
        JsonNode value = fixture["expected"]![field]!;
        JsonNode changed = value is JsonArray rows ? rows[0]![0]! : value;
        changed.ReplaceWith(changed.GetValue<double>() + 1);
        Assert.Equal([$"expert_level_sequence: {field}"], Failures(fixture));
    }

    [Fact]
    public void A_family_that_is_not_supported_is_left_out_with_the_reason_and_fails_nothing()
    {
        JsonObject fixture = Load("balance", "z_loss");
        fixture["kind"] = "reshape/split";
        Assert.Empty(Failures(fixture));
        VerificationReport report = FixtureVerifier.Verify(_folder, null, _workers);
        Assert.Equal("reshaping of models is not supported", Assert.Single(report.Skipped).Reason);
        Assert.True(report.Passed);
    }

    [Fact]
    public void A_field_that_nothing_compares_fails()
    {
        JsonObject fixture = Load("balance", "z_loss");
        fixture["expected"]!["something"] = 1;
        fixture["tolerance"]!["something"] = "exact";
        Assert.Equal(["z_loss: something"], Failures(fixture));
    }

    [Fact]
    public void An_unknown_kind_fails()
    {
        JsonObject fixture = Load("balance", "z_loss");
        fixture["kind"] = "balance/of_another_kind";
        Assert.Equal(["z_loss"], Failures(fixture));
    }

    [Fact]
    public void Values_of_the_wrong_number_and_inputs_that_are_missing_fail()
    {
        JsonObject fixture = Load("balance", "z_loss");
        fixture["expected"]!["grad_logits"]!.AsArray().RemoveAt(0);
        Assert.Equal(["z_loss: grad_logits"], Failures(fixture));
        fixture["inputs"]!.AsObject().Remove("logits");
        Assert.Equal(["case.json"], Failures(fixture));
    }

    [Fact]
    public void A_case_that_expects_nothing_fails()
    {
        JsonObject fixture = Load("router", "hash_token");
        fixture["expected"] = new JsonObject();
        Assert.Single(Failures(fixture));
    }

    [Theory]
    [InlineData("router", "base_small", "cotangent", "[]")] // fewer numbers than tokens
    [InlineData("router", "base_small", "logits", "[[1, 2], [3]]")] // rows of unequal length
    [InlineData("capacity", "device_drop", "expert_ids", "[[99, 0]]")] // an expert that there is not
    [InlineData("placement", "dispatch_scattered_dropped", "tokens_per_rank", "[-1]")]
    public void Sizes_and_ids_that_do_not_fit_fail_the_case_and_not_the_program(string family, string name, string input, string value)
    {
        JsonObject fixture = Load(family, name);
        fixture["inputs"]![input] = JsonNode.Parse(value);
        Assert.NotEmpty(Failures(fixture));
    }

    [Fact]
    public void A_file_of_another_format_beside_cases_fails()
    {
        File.WriteAllText(Path.Combine(_folder, "other.json"), "{\"format\": \"something else\"}");
        Assert.Equal(["other.json"], Failures(Load("balance", "z_loss")));
    }

    public void Dispose()
    {
        _workers.Dispose();
        Directory.Delete(_folder, true);
    }

    private static string Cases(string family) => Path.Combine(AppContext.BaseDirectory, "Fixtures", "routing", family);

    private static JsonObject Load(string family, string name) => JsonNode.Parse(File.ReadAllText(Path.Combine(Cases(family), name + ".json")))!.AsObject();

    private IEnumerable<string> Failures(JsonObject fixture)
    {
        File.WriteAllText(Path.Combine(_folder, "case.json"), fixture.ToJsonString());
        return FixtureVerifier.Verify(_folder, null, _workers).Checks.Where(check => !check.Passed).Select(check => check.Name);
    }
}
