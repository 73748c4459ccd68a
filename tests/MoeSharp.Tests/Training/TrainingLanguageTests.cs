using System.Text.Json.Nodes;
using MoeSharp.Data;
using MoeSharp.Data.Synthetic;
using MoeSharp.Execution;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Training;

namespace MoeSharp.Tests.Training;

public sealed class TrainingLanguageTests : IDisposable
{
    private static readonly PairSettings s_settings = new() { Factors = 2, Values = 3, Symbols = 6, LineSymbols = 5 };

    private readonly WorkerPool _workers = new(1);

    public void Dispose() => _workers.Dispose();

    [Fact]
    public void A_model_that_knows_nothing_is_as_far_from_the_truth_as_the_entropy_says()
    {
        TrainingLanguage source = Source();
        TrainingConfig config = source.Fit(Config());
        using LanguageModel model = new(config.Model!); // all weights 0: uniform over the 6 symbols, which alone can be next
        using ForwardContext context = new(_workers);

        ValidationResult result = source.OpenHeldOut(model, config.Batch, context).Measure(0, 3, 5);

        Assert.Equal(Math.Log(6), result.Loss, 5);
        Assert.Equal(Math.Log(6) - source.HeldOut.Entropy, result.Regret!.Value, 5);
        Assert.Equal(50 * 4, result.NumTokens);
        Assert.InRange(result.Recall!.Value, 0, 0.5); // always symbol 0
    }

    [Fact]
    public void Regret_is_the_loss_on_endless_targets_without_the_entropy()
    {
        TrainingLanguage source = Source(lines: 2);
        TrainingConfig config = source.Fit(Config());
        using LanguageModel model = new(config.Model!);
        WeightInit.Initialize(model, 1, WeightInitScheme.FanIn, _workers);
        using ForwardContext context = new(_workers);
        double[] expected = new double[2];
        double regret = source.OpenHeldOut(model, config.Batch, context).Measure(0, 0, 0).Regret!.Value;

        // The same by the definition of cross-entropy: every symbol as target in turn, weighed by its true probability.
        KnownLanguage language = source.HeldOut.Language;
        float[] losses = new float[2 * (language.LineTokens - 1)];
        for (int symbol = 0; symbol < language.NumSymbols; symbol++)
        {
            TokenBatch batch = new();
            batch.Resize(losses.Length, language.LineTokens - 1);
            for (int line = 0; line < 2; line++)
            {
                LineBatches.AddLine(language, source.HeldOut.Line(line), batch, line);
            }

            for (int row = 0; row < batch.Count; row++)
            {
                batch.Targets[row] = batch.Targets[row] < 0 ? -1 : symbol;
            }

            model.Loss(batch, losses, context);
            for (int row = 0; row < batch.Count; row++)
            {
                int target = (row % (language.LineTokens - 1)) - (language.FirstTarget - 1);
                if (target >= 0)
                {
                    int line = row / (language.LineTokens - 1);
                    expected[line] += source.HeldOut.Of(line, target)[symbol] * losses[row];
                }
            }
        }

        Assert.Equal((expected.Sum() / (2 * language.TargetsPerLine)) - source.HeldOut.Entropy, regret, 4);
    }

    [Fact]
    public void Loads_are_those_of_every_held_out_token()
    {
        TrainingLanguage source = Source();
        TrainingConfig config = source.Fit(Config());
        using LanguageModel model = new(config.Model!);
        WeightInit.Initialize(model, 1, WeightInitScheme.FanIn, _workers);
        using ForwardContext context = new(_workers);
        Dictionary<(int Layer, int Expert), int> slots = [];
        context.MoeObserver = (in MoeView view) =>
        {
            foreach (int expert in view.ExpertIds)
            {
                slots[(view.Layer, expert)] = slots.GetValueOrDefault((view.Layer, expert)) + 1;
            }
        };

        LoadSummary load = source.OpenHeldOut(model, config.Batch, context).Measure(0, 0, 0).Load!.Value;

        int experts = config.Model!.Moe!.NumExperts;
        int layers = slots.Keys.Select(key => key.Layer).Distinct().Count();
        Assert.Equal(50 * (source.HeldOut.Language.LineTokens - 1) * config.Model.Moe.TopK * layers, slots.Values.Sum()); // several passes
        Assert.Equal(slots.GroupBy(slot => slot.Key.Layer).Max(layer => layer.Max(slot => slot.Value) * (double)experts / layer.Sum(slot => slot.Value)), load.MaxOverMean, 9);
        Assert.Equal((layers * experts) - slots.Count, load.NumIdle);
        Assert.Equal(load, source.OpenHeldOut(model, config.Batch, context).Measure(0, 0, 0).Load); // starts from nothing each time
    }

    [Fact]
    public void The_loss_of_a_step_is_the_mean_over_its_targets_alone()
    {
        TrainingLanguage source = Source();
        TrainingConfig config = source.Fit(Config());
        using LanguageModel model = new(config.Model!);
        using TrainingStep step = new(config, model, source.OpenBatches(config), _workers, TimeProvider.System);

        Assert.Equal(Math.Log(6), step.Run(0, 0).Loss, 5);
    }

    [Fact]
    public void Tags_are_never_next_in_training_in_files_and_after_loading()
    {
        TrainingLanguage source = Source();
        TrainingConfig config = source.Fit(Config());
        ModelConfig read = ModelConfigJson.Parse(ModelConfigJson.Write(config.Model!), "config.json");
        Assert.Equal(6, read.OutputTokens);
        using LanguageModel model = new(read);
        WeightInit.Initialize(model, 1, WeightInitScheme.FanIn, _workers);
        using TrainingStep step = new(config, model, source.OpenBatches(config), _workers, TimeProvider.System);
        step.Run(0, 0);

        float[] gradient = model.Parameters.Single(parameter => parameter.Name == "head").Gradient.ToArray();
        Assert.All(gradient[(6 * 32)..], value => Assert.Equal(0f, value));
        Assert.All(gradient[..(6 * 32)].Chunk(32), row => Assert.Contains(row, value => value != 0f));
        float[] logits = new float[18];
        model.Logits(TokenBatch.FromSequences([[6, 9, 12, 15, 0]]), 1, logits, step.Context);
        Assert.All(logits[6..], logit => Assert.Equal(float.NegativeInfinity, logit));
        Assert.All(logits[..6], logit => Assert.True(float.IsFinite(logit)));
    }

    [Fact]
    public void More_tokens_that_can_be_next_than_tokens_are_refused() =>
        Assert.Contains("moesharp_output_tokens", Assert.Throws<ConfigurationException>(() => (Source().Fit(Config()).Model! with { OutputTokens = 19 }).Validate()).Message);

    [Fact]
    public void Held_out_lines_are_none_of_the_training_lines()
    {
        KnownLanguage language = new PairLanguage(new PairSettings());
        HeldOutTruth truth = new TrainingLanguage(language, [], 50).HeldOut;
        HashSet<string> held = [.. Enumerable.Range(0, 50).Select(index => string.Join(' ', truth.Line(index).ToArray()))];
        TokenBatch batch = new();
        LineBatches batches = new(language, 200, seed: 2);
        for (int round = 0; round < 10; round++)
        {
            batches.Next(batch);
            for (int row = 0; row < batch.Count; row += 19)
            {
                string start = string.Join(' ', batch.TokenIds.Slice(row, 19).ToArray());
                Assert.DoesNotContain(held, line => line.StartsWith(start, StringComparison.Ordinal));
            }
        }
    }

    [Fact]
    public void A_sequence_must_be_a_line()
    {
        string message = Assert.Throws<ConfigurationException>(() => Source().Fit(Config("batch.sequence_length=4", "batch.tokens=40"))).Message;

        Assert.Contains("batch.sequence_length must be 8", message);
    }

    [Fact]
    public void No_held_out_line_is_refused() =>
        Assert.Contains("validation_lines 0", Assert.Throws<ConfigurationException>(() => Source(lines: 0)).Message);

    private static TrainingLanguage Source(int lines = 50) => new(new PairLanguage(s_settings), new JsonObject { ["kind"] = "pair" }, lines);

    private static TrainingConfig Config(params string[] settings) =>
        TrainingConfigJson.Load("nano", null, ["model.hidden_size=32", "model.num_attention_heads=2", "model.num_key_value_heads=2", "batch.sequence_length=8", "batch.tokens=80", "budget.steps=5", .. settings]);
}
