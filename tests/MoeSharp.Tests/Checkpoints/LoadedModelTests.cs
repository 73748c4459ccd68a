using System.Text.Json;
using MoeSharp.Checkpoints;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;

namespace MoeSharp.Tests.Checkpoints;

/// <summary>A foreign checkpoint, loaded, computes what its independent reference computed.</summary>
public sealed class LoadedModelTests
{
    private static string Fixture(string name) => Path.Combine(AppContext.BaseDirectory, "Fixtures", "hf", name);

    [Theory]
    [InlineData("deepseek")]
    [InlineData("deepseek_sharded_bf16")]
    public void Logits_equal_the_reference(string name)
    {
        using LanguageModel model = ModelFolder.Load(Fixture(name));

        AssertLogits(model, name);
    }

    [Fact]
    public void A_saved_copy_computes_the_same()
    {
        using TemporaryFolder folder = new();
        using (LanguageModel model = ModelFolder.Load(Fixture("deepseek")))
        {
            ModelFolder.Save(model, folder["copy"], new ModelFolderOptions { LargestFileBytes = 100_000 });
        }

        using LanguageModel copy = ModelFolder.Load(folder["copy"]);

        AssertLogits(copy, "deepseek");
    }

    [Fact]
    public void The_name_table_knows_every_parameter_of_the_model()
    {
        using LanguageModel model = new(TestModel.Small);

        Assert.Equal(
            TestModel.Parameters(TestModel.Small, 1).Select(parameter => (parameter.Name, parameter.Shape)),
            model.Parameters.Select(parameter => (parameter.Name, parameter.Shape)));
    }

    [Fact]
    public void A_hostile_config_is_refused_before_memory_is_taken()
    {
        using TemporaryFolder folder = new();
        File.Copy(Path.Combine(Fixture("deepseek"), "model.safetensors"), folder["model.safetensors"]);
        string config = File.ReadAllText(Path.Combine(Fixture("deepseek"), "config.json"));
        foreach ((string key, string value) in (IEnumerable<(string, string)>)[("\"vocab_size\": 256", "\"vocab_size\": 16000000"), ("\"n_routed_experts\": 12", "\"n_routed_experts\": 16000000")])
        {
            Assert.Contains(key, config, StringComparison.Ordinal);
            File.WriteAllText(folder["config.json"], config.Replace(key, value, StringComparison.Ordinal));
            long before = GC.GetAllocatedBytesForCurrentThread();

            Assert.Throws<FileFormatException>(() => ModelFolder.Load(folder.Path));

            Assert.True(GC.GetAllocatedBytesForCurrentThread() - before < 4_000_000);
        }
    }

    private static void AssertLogits(LanguageModel model, string name)
    {
        using JsonDocument tokens = JsonDocument.Parse(File.ReadAllText(Path.Combine(Fixture(name), "tokens.json")));
        using SafetensorsFile file = SafetensorsFile.Open(Path.Combine(Fixture(name), "expected_logits.safetensors"));
        float[] expected = new float[file.Tensor("logits").Length]; // [batch, seq, vocab]
        file.ReadFloats("logits", expected);

        using WorkerPool workers = new(2);
        using ForwardContext context = new(workers);
        int first = 0;
        foreach (JsonElement sequence in tokens.RootElement.GetProperty("input_ids").EnumerateArray())
        {
            int[] ids = [.. sequence.EnumerateArray().Select(id => id.GetInt32())];
            float[] logits = new float[ids.Length * model.Config.VocabSize];
            model.Logits(TokenBatch.FromSequences([ids]), ids.Length, logits, context);
            for (int i = 0; i < logits.Length; i++)
            {
                Assert.True(Math.Abs(expected[first + i] - logits[i]) <= 1e-4, $"logit {i}: expected {expected[first + i]}, got {logits[i]}"); // float32 noise is 1e-5
            }

            first += logits.Length;
        }

        Assert.Equal(expected.Length, first);
    }
}
