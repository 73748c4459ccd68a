using System.Text.Json;
using MoeSharp.Verification;
using MoeSharp.Verification.Routing;

namespace MoeSharp.Tests.Classic;

/// <summary>The classic cases of the shared routing fixtures, every expected field.</summary>
public sealed class ClassicFixtureTests
{
    [Theory]
    [InlineData("mixture", 11)]
    [InlineData("mixture_equal_experts", 11)]
    [InlineData("mixture_far_target", 11)]
    [InlineData("hme_e_step_flat", 4)]
    [InlineData("hme_e_step_two_by_two", 4)]
    [InlineData("hme_m_step_flat", 7)]
    [InlineData("hme_m_step_two_by_two", 7)]
    [InlineData("hme_em_flat", 5)]
    [InlineData("hme_em_two_by_two", 5)]
    public void Every_expected_field_is_met(string name, int fields)
    {
        using JsonDocument fixture = JsonDocument.Parse(File.ReadAllText(Path.Combine(Root(), name + ".json")));
        IReadOnlyList<VerificationCheck> checks = ClassicCases.Compare(fixture.RootElement);
        Assert.Equal(fields, checks.Count);
        Assert.All(checks, check => Assert.True(check.Passed, check.ToString()));
    }

    [Fact]
    public void A_wrong_value_and_a_missing_field_fail()
    {
        string text = File.ReadAllText(Path.Combine(Root(), "hme_e_step_flat.json")).Replace("-106.0262926", "-106.0362926", StringComparison.Ordinal).Replace("posterior_joint", "posterior_other", StringComparison.Ordinal);
        using JsonDocument fixture = JsonDocument.Parse(text);
        IEnumerable<string> failed = ClassicCases.Compare(fixture.RootElement).Where(check => !check.Passed).Select(check => check.Name);
        Assert.Equal(["posterior_other", "log_likelihood"], failed);
    }

    private static string Root()
    {
        string? root = Environment.GetEnvironmentVariable("MOE_FIXTURES");
        string folder = Path.Combine(root ?? "", "routing", "classic");
        if (root is null || !Directory.Exists(folder))
        {
            Assert.Skip("MOE_FIXTURES is not set, or has no routing/classic");
        }

        return folder;
    }
}
