using MoeSharp.Checkpoints;
using MoeSharp.Kernels;
using MoeSharp.Verification;

namespace MoeSharp.Tests.Verification;

public sealed class FixtureVerifierTests : IDisposable
{
    private readonly WorkerPool _workers = new(2);
    private readonly string _folder = Directory.CreateTempSubdirectory("moe-verify-").FullName;

    [Theory]
    [InlineData("deepseek", 46)]
    [InlineData("deepseek_sharded_bf16", 16)]
    public void Every_expectation_of_the_reference_is_met(string name, int checks)
    {
        VerificationReport report = FixtureVerifier.Verify(Fixture(name), null, _workers);
        Assert.Null(report.Failure);
        Assert.All(report.Checks, check => Assert.True(check.Passed, check.ToString()));
        Assert.True(report.Passed);
        Assert.Equal(checks, report.Checks.Count);
    }

    [Theory]
    [InlineData("expected_logits.safetensors", "logits")]
    [InlineData("grads.safetensors", "gradients of total loss")]
    [InlineData("grads_ce_only.safetensors", "gradients of cross-entropy")]
    [InlineData("weights_after_steps.safetensors", "weights after steps")]
    public void One_wrong_expected_value_fails_its_comparison_alone(string file, string check)
    {
        string folder = CopyFixture();
        byte[] content = File.ReadAllBytes(Path.Combine(folder, file));
        content[^1] ^= 0x40; // the exponent of the last value
        File.WriteAllBytes(Path.Combine(folder, file), content);
        VerificationReport report = FixtureVerifier.Verify(folder, null, _workers);
        Assert.False(report.Passed);
        Assert.Equal([check], report.Checks.Where(result => !result.Passed).Select(result => result.Name).Distinct());
    }

    [Theory]
    [InlineData("\"next_token_ce_loss\": 6.475553089031485", "\"next_token_ce_loss\": 6.4757", "next_token_ce_loss")]
    [InlineData("\"grad_norm\": 3.9213456193181093", "\"grad_norm\": 3.9215", "step 2: grad_norm")]
    [InlineData("\n  22,\n  239,", "\n  22,\n  240,", "greedy_continuation")]
    public void A_wrong_expected_number_fails(string from, string to, string check)
    {
        string folder = CopyFixture();
        string path = Path.Combine(folder, "expected.json");
        string json = File.ReadAllText(path);
        Assert.Contains(from, json);
        File.WriteAllText(path, json.Replace(from, to, StringComparison.Ordinal));
        VerificationReport report = FixtureVerifier.Verify(folder, null, _workers);
        Assert.Equal([check], report.Checks.Where(result => !result.Passed).Select(result => result.Name));
    }

    [Fact]
    public void An_expectation_that_is_not_understood_is_a_failure()
    {
        string folder = CopyFixture();
        File.Copy(Path.Combine(folder, "grads.safetensors"), Path.Combine(folder, "grads_of_something.safetensors"));
        VerificationReport report = FixtureVerifier.Verify(folder, null, _workers);
        Assert.Equal(["grads_of_something.safetensors"], report.Checks.Where(result => !result.Passed).Select(result => result.Name));
    }

    [Fact]
    public void An_unsupported_model_is_a_failure_that_names_it()
    {
        string folder = CopyFixture();
        string path = Path.Combine(folder, "config.json");
        string config = File.ReadAllText(path)
            .Replace("\"deepseek\"", "\"unheard_of\"", StringComparison.Ordinal)
            .Replace("DeepseekForCausalLM", "UnheardOfForCausalLM", StringComparison.Ordinal);
        File.WriteAllText(path, config);
        VerificationReport report = FixtureVerifier.Verify(folder, null, _workers);
        Assert.False(report.Passed);
        Assert.Contains("unheard_of", report.Failure);
    }

    [Fact]
    public void A_loss_option_that_is_not_supported_is_a_failure_that_names_it()
    {
        string folder = CopyFixture();
        string path = Path.Combine(folder, "expected.json");
        File.WriteAllText(path, File.ReadAllText(path).Replace("\"alpha_expert\"", "\"alpha_fair\"", StringComparison.Ordinal));
        Assert.Contains("alpha_fair", FixtureVerifier.Verify(folder, null, _workers).Failure);
    }

    [Fact]
    public void A_folder_without_expectations_is_the_users_mistake()
    {
        Assert.Throws<ConfigurationException>(() => FixtureVerifier.Verify(Path.Combine(_folder, "nowhere"), null, _workers));
        Assert.Throws<ConfigurationException>(() => FixtureVerifier.Verify(_folder, null, _workers));
    }

    [Fact]
    public void The_dump_holds_the_computed_tensors_under_checkpoint_names()
    {
        string fixture = Fixture("deepseek");
        FixtureVerifier.Verify(fixture, _folder, _workers);
        foreach (string file in (string[])["grads.safetensors", "grads_ce_only.safetensors", "weights_after_steps.safetensors"])
        {
            using SafetensorsFile expected = SafetensorsFile.Open(Path.Combine(fixture, file));
            using SafetensorsFile dumped = SafetensorsFile.Open(Path.Combine(_folder, file));
            Assert.Equal(expected.Names.Order(), dumped.Names.Order());
            foreach (string name in expected.Names)
            {
                Assert.Equal(expected.Tensor(name).Shape, dumped.Tensor(name).Shape);
                (float[] wanted, float[] actual) = (new float[expected.Tensor(name).Length], new float[expected.Tensor(name).Length]);
                expected.ReadFloats(name, wanted);
                dumped.ReadFloats(name, actual);
                for (int i = 0; i < wanted.Length; i++)
                {
                    Assert.Equal(wanted[i], actual[i], 1e-3f); // the verifier's own tolerance for the largest weight difference
                }
            }
        }

        using SafetensorsFile logits = SafetensorsFile.Open(Path.Combine(_folder, "logits.safetensors"));
        Assert.Equal([2L, 20, 256], logits.Tensor("logits").Shape);
    }

    public void Dispose()
    {
        _workers.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    internal static string Fixture(string name) => Path.Combine(AppContext.BaseDirectory, "Fixtures", "hf", name);

    private string CopyFixture()
    {
        string copy = Path.Combine(_folder, "deepseek");
        Directory.CreateDirectory(copy);
        foreach (string file in Directory.EnumerateFiles(Fixture("deepseek")))
        {
            File.WriteAllBytes(Path.Combine(copy, Path.GetFileName(file)), File.ReadAllBytes(file));
        }

        return copy;
    }
}
