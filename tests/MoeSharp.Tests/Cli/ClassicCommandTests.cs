using System.Text.Json;
using MoeSharp.Cli;

namespace MoeSharp.Tests.Cli;

public sealed class ClassicCommandTests
{
    [Theory]
    [InlineData("classic", "vowels", "--runs", "0")]
    [InlineData("classic", "arm", "--branches", "2,x")]
    [InlineData("classic", "arm", "--joints", "0")]
    [InlineData("classic", "arm", "--branches", "2000,2000,2000,2000")]
    [InlineData("classic", "birds")]
    public void Wrong_input_exits_with_2(params string[] arguments) => Assert.Equal(CommandLine.WrongInput, CommandLine.Run(arguments));

    [Fact]
    public void Runs_that_reach_nothing_and_runs_with_hardly_a_case_are_shown_without_figures_that_are_none()
    {
        string folder = Directory.CreateTempSubdirectory("moe-classic-").FullName;
        try
        {
            MoeOutcome vowels = MoeProcess.Run(folder, "classic", "vowels", "--runs", "1", "--max-epochs", "2", "--out", folder);
            Assert.Contains("in no run did both reach the criterion", vowels.Output, StringComparison.Ordinal);
            MoeOutcome arm = MoeProcess.Run(folder, "classic", "arm", "--runs", "1", "--train-cases", "10", "--test-cases", "2", "--tree-passes", "1", "--online-passes", "1", "--batch-passes", "1", "--out", folder);
            Assert.True(vowels.ExitCode == 0 && arm.ExitCode == 0, arm.Error);
            foreach (string text in (string[])[vowels.Output, arm.Output, File.ReadAllText(Path.Combine(folder, "vowels.html")), File.ReadAllText(Path.Combine(folder, "arm.html"))])
            {
                Assert.DoesNotContain("NaN", text, StringComparison.Ordinal);
            }

            Assert.Contains("not reached", File.ReadAllText(Path.Combine(folder, "vowels.html")), StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public void A_page_that_cannot_be_written_is_refused_before_the_runs()
    {
        string file = Path.GetTempFileName();
        try
        {
            MoeOutcome outcome = MoeProcess.Run(Path.GetTempPath(), "classic", "vowels", "--runs", "10000", "--out", file); // would take hours
            Assert.Equal(2, outcome.ExitCode);
            Assert.Contains($"--out {file}", outcome.Error, StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public void Json_is_one_document_and_the_page_is_written()
    {
        string folder = Directory.CreateTempSubdirectory("moe-classic-").FullName;
        try
        {
            MoeOutcome vowels = MoeProcess.Run(folder, "classic", "vowels", "--runs", "2", "--max-epochs", "5", "--json", "--out", folder);
            using JsonDocument document = JsonDocument.Parse(vowels.Output);
            Assert.Equal(["4 experts", "8 experts", "6 hidden units", "12 hidden units"], document.RootElement.GetProperty("systems").EnumerateArray().Select(system => system.GetProperty("name").GetString()));
            Assert.Equal(JsonValueKind.Null, document.RootElement.GetProperty("systems")[0].GetProperty("epochs").GetProperty("mean").ValueKind); // nothing was reached in five epochs
            Assert.True(File.Exists(document.RootElement.GetProperty("picture").GetString()));

            MoeOutcome arm = MoeProcess.Run(folder, "classic", "arm", "--joints", "2", "--runs", "1", "--train-cases", "200", "--test-cases", "100", "--branches", "2", "--tree-passes", "3", "--online-passes", "1", "--batch-passes", "1", "--json");
            using JsonDocument armDocument = JsonDocument.Parse(arm.Output);
            Assert.Equal(3, armDocument.RootElement.GetProperty("systems")[1].GetProperty("first_run").GetArrayLength());
            Assert.Equal(2, armDocument.RootElement.GetProperty("experts").GetArrayLength());
            Assert.False(armDocument.RootElement.TryGetProperty("picture", out _));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
