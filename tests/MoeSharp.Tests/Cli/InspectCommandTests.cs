using System.CommandLine;
using System.Text.Json;
using MoeSharp.Cli.Commands;
using MoeSharp.Tests.Checkpoints;

namespace MoeSharp.Tests.Cli;

/// <summary>The output of <c>moe inspect</c> that other programs rely on.</summary>
public sealed class InspectCommandTests
{
    [Fact]
    public void A_preset_is_shown_as_JSON()
    {
        using JsonDocument json = JsonDocument.Parse(Run("deepseek-moe-145b", "--sequence-length", "4096", "--json"));
        JsonElement root = json.RootElement;

        Assert.Equal(144_612_773_888, root.GetProperty("parameters").GetProperty("total").GetInt64());
        Assert.Equal(22_187_331_584, root.GetProperty("parameters").GetProperty("activated").GetInt64());
        Assert.Equal(21_767_901_184, root.GetProperty("parameters").GetProperty("activated_without_embedding").GetInt64());
        Assert.Equal(4096, root.GetProperty("flops").GetProperty("sequence_length").GetInt32());
        Assert.Equal(585.49, root.GetProperty("flops").GetProperty("paper").GetDouble() / 1e12, 0.005);
        Assert.True(root.GetProperty("flops").GetProperty("actual").GetDouble() > 0);
        Assert.Equal(4 * 144_612_773_888, root.GetProperty("memory").GetProperty("weight_bytes").GetInt64());
        Assert.Equal(2 * 62 * 4096 * 4, root.GetProperty("memory").GetProperty("kv_cache_bytes_per_token").GetInt64());
        Assert.True(root.GetProperty("memory").GetProperty("training_bytes").GetInt64() > 16 * 144_612_773_888);
    }

    [Fact]
    public void A_file_a_folder_and_a_run_are_shown()
    {
        string fixture = Path.Combine(AppContext.BaseDirectory, "Fixtures", "hf", "deepseek");
        using TemporaryFolder run = new();
        using (MoeSharp.Checkpoints.CheckpointStore store = MoeSharp.Checkpoints.CheckpointStore.Open(run.Path, keepLast: 1))
        {
            store.Save(TestModel.Content(TestModel.Small, 3));
        }

        Assert.Contains("243,648 in total", Run(fixture), StringComparison.Ordinal);
        Assert.Contains("243,648 in total", Run(Path.Combine(fixture, "config.json")), StringComparison.Ordinal);
        Assert.Contains("2 layers, hidden 8", Run(run.Path), StringComparison.Ordinal);
    }

    [Fact]
    public void A_damaged_checkpoint_is_named()
    {
        using TemporaryFolder run = new();
        using (MoeSharp.Checkpoints.CheckpointStore store = MoeSharp.Checkpoints.CheckpointStore.Open(run.Path, keepLast: 2))
        {
            store.Save(TestModel.Content(TestModel.Small, 3));
            store.Save(TestModel.Content(TestModel.Small, 4));
        }

        File.Delete(Path.Combine(run.Path, "checkpoints", "step-4", "model.safetensors"));
        using StringWriter warnings = new();

        Assert.Contains("2 layers, hidden 8", Run(warnings, run.Path), StringComparison.Ordinal);
        Assert.Contains("model.safetensors is missing", warnings.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void The_dense_model_to_compare_with_is_shown()
    {
        using JsonDocument json = JsonDocument.Parse(Run("nano", "--dense", "activated", "--json"));

        Assert.Equal(128, json.RootElement.GetProperty("config").GetProperty("intermediate_size").GetInt32()); // 1 shared and 3 routed experts of 32
        Assert.Equal(0, json.RootElement.GetProperty("dense_baseline").GetProperty("difference").GetInt64());
        Assert.Contains("--set model.n_routed_experts=null --set model.moesharp=null --set model.intermediate_size=512", Run("nano", "--dense", "total"), StringComparison.Ordinal);
        Assert.Contains("use activated or total", Assert.Throws<ConfigurationException>(() => Run("nano", "--dense", "half")).Message, StringComparison.Ordinal);
        Assert.Contains("use one of them", Assert.Throws<ConfigurationException>(() => Run("nano", "--dense", "total", "--weights", "q4_0")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_list_names_every_preset()
    {
        string list = Run("--list");

        Assert.All(MoeSharp.Model.ModelPresets.Names, name => Assert.Contains(name, list, StringComparison.Ordinal));
        Assert.Equal(MoeSharp.Model.ModelPresets.Names.Count, JsonDocument.Parse(Run("--list", "--json")).RootElement.GetArrayLength());
    }

    [Theory]
    [InlineData("did you mean 'tiny'?", "tinny")]
    [InlineData("--list", "")]
    [InlineData("at least 1", "tiny", "--sequence-length", "0")]
    [InlineData("needs a model")]
    public void Wrong_input_is_answered_with_a_remedy(string remedy, params string[] arguments)
    {
        ConfigurationException error = Assert.Throws<ConfigurationException>(() => Run(arguments));

        Assert.Contains(remedy, error.Message, StringComparison.Ordinal);
    }

    private static string Run(params string[] arguments) => Run(TextWriter.Null, arguments);

    private static string Run(TextWriter warnings, params string[] arguments)
    {
        using StringWriter output = new();
        int exitCode = InspectCommand.Create().Parse(arguments).Invoke(new InvocationConfiguration { Output = output, Error = warnings, EnableDefaultExceptionHandler = false });
        Assert.Equal(0, exitCode);
        return output.ToString();
    }
}
