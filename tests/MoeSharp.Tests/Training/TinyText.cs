using MoeSharp.Data;
using MoeSharp.Training;

namespace MoeSharp.Tests.Training;

/// <summary>A little text of the embedded corpus, as bytes, with settings for runs of a few steps.</summary>
internal sealed class TinyText : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("moe-text").FullName;

    public TinyText() => Text = TrainingText.Prepare(new DocumentList(SyntheticCorpus.Generate(3, 20_000), "corpus"), null, Config().Data, _folder, _ => { }, CancellationToken.None);

    /// <summary>Settings for 6 steps of 4 sequences of 32 tokens.</summary>
    public static string[] Settings { get; } =
    [
        "model.hidden_size=32", "model.num_attention_heads=2", "model.num_key_value_heads=2", "model.n_routed_experts=8", "model.moe_intermediate_size=16", "model.intermediate_size=64",
        "data.vocab_size=258", "batch.sequence_length=32", "batch.tokens=128", "budget.steps=6", "schedule.warmup_steps=2", "log_every_steps=1",
        "validation.every_steps=2", "validation.tokens=256", "data.validation_share=0.1",
    ];

    public TrainingText Text { get; }

    public int VocabSize => Text.Tokenizer.VocabSize;

    public static TrainingConfig Config(params string[] settings) => TrainingConfigJson.Load("nano", null, [.. Settings, .. settings]);

    public BatchLoader Loader(TrainingConfig config) => new(Text.Dataset, config.Batch.SequenceLength, config.Batch.TokensPerPass / config.Batch.SequenceLength, config.Seed);

    public void Dispose()
    {
        Text.Dispose();
        Directory.Delete(_folder, recursive: true);
    }
}
