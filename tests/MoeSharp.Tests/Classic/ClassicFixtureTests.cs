using MoeSharp.Kernels;
using MoeSharp.Verification;

namespace MoeSharp.Tests.Classic;

/// <summary>The classic cases of the routing fixtures: every expected field, and cases that do not hold together.</summary>
public sealed class ClassicFixtureTests : IDisposable
{
    private static readonly string s_cases = Path.Combine(AppContext.BaseDirectory, "Fixtures", "routing", "classic");

    private readonly WorkerPool _workers = new(1);
    private readonly string _folder = Directory.CreateTempSubdirectory("moe-classic-").FullName;

    [Fact]
    public void Every_expected_field_is_met()
    {
        VerificationReport report = FixtureVerifier.Verify(s_cases, null, _workers);
        Assert.Equal((3 * 11) + (2 * 4) + (2 * 7) + (2 * 5), report.Checks.Count);
        Assert.All(report.Checks, check => Assert.True(check.Passed, check.ToString()));
        Assert.True(report.Passed);
    }

    [Theory]
    [InlineData("hme_e_step_flat", "-106.0262926", "-106.0362926", "hme_e_step_flat: log_likelihood")] // another value
    [InlineData("hme_e_step_flat", "\"num_branches_low\": 1", "\"num_branches_low\": 0", "case.json")]
    [InlineData("hme_e_step_flat", "\"input_size\": 2", "\"input_size\": 2000000000", "case.json")]
    [InlineData("hme_m_step_flat", "\"ridge\": 0.0001", "\"ridge\": 0", "case.json")]
    [InlineData("hme_em_flat", "\"em_iterations\": 10", "\"em_iterations\": 2000000000", "case.json")]
    [InlineData("mixture", "\"gate_logits\": [", "\"gate_logits\": [[1, 2, 3],", "case.json")]
    [InlineData("mixture", "\"expert_outputs\": [[[", "\"expert_outputs\": 3, \"others\": [[[", "case.json")]
    public void What_does_not_hold_together_fails(string name, string text, string replacement, string failed)
    {
        string content = File.ReadAllText(Path.Combine(s_cases, name + ".json"));
        Assert.Contains(text, content, StringComparison.Ordinal);
        File.WriteAllText(Path.Combine(_folder, "case.json"), content.Replace(text, replacement, StringComparison.Ordinal));
        VerificationReport report = FixtureVerifier.Verify(_folder, null, _workers);
        Assert.Equal([failed], report.Checks.Where(check => !check.Passed).Select(check => check.Name));
    }

    public void Dispose()
    {
        _workers.Dispose();
        Directory.Delete(_folder, recursive: true);
    }
}
