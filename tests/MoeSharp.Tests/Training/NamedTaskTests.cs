using System.Text;
using MoeSharp.Data;
using MoeSharp.Execution;
using MoeSharp.Inference;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Model.Routers;
using MoeSharp.Tests.Checkpoints;
using MoeSharp.Training;

namespace MoeSharp.Tests.Training;

/// <summary>Texts that name their tasks: from the data to the router.</summary>
public sealed class NamedTaskTests : IDisposable
{
    private const int SequenceLength = 16;

    private readonly string _folder = Directory.CreateTempSubdirectory("moe-tasks").FullName;
    private readonly TrainingText _text;
    private readonly int _code;
    private readonly int _prose;

    public NamedTaskTests()
    {
        Document[] documents =
        [
            .. Enumerable.Range(0, 30).Select(i => new Document($"The number {i} is followed by {i + 1}, and both are whole numbers of a long sentence.", "prose", "test")),
            .. Enumerable.Range(0, 30).Select(i => new Document($"if (x == {i}) {{ x = {i + 1}; }} else {{ x = 0; }} return x + x + x + x;", "code", "test")),
        ];
        _text = TrainingText.Prepare(new DocumentList(documents, "test"), null, new DatasetConfig { VocabSize = 300, ValidationShare = 0.2, TaskFrom = TaskNaming.Field }, _folder, _ => { }, CancellationToken.None);
        NamedTask[] tasks = [.. TaskTokens.In(_text.Tokenizer)];
        Assert.Equal(["code", "prose"], tasks.Select(task => task.Name));
        (_code, _prose) = (tasks[0].Token, tasks[1].Token);
    }

    public void Dispose()
    {
        _text.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public void Every_segment_of_training_and_validation_knows_the_task_of_its_document()
    {
        TokenBatch batch = new();
        BatchLoader loader = new(_text.Dataset, SequenceLength, 4, seed: 1);
        int continued = 0;
        for (int pass = 0; pass < 20; pass++)
        {
            loader.Next(batch);
            continued += Check(batch);
        }

        SequentialBatches all = new(_text.Dataset.Validation, SequenceLength, 4);
        while (all.Next(batch))
        {
            continued += Check(batch);
        }

        Assert.True(continued > 50); // documents are longer than a sequence, so most segments do not hold the token itself
    }

    // The letters of a segment tell its task: braces, semicolons and 'x' are code alone.
    private int Check(TokenBatch batch)
    {
        int continued = 0;
        for (int index = 0; index < batch.NumSegments; index++)
        {
            AttentionSegment segment = batch.Segments[index];
            ReadOnlySpan<int> ids = batch.TokenIds.Slice(segment.QueryBegin, segment.QueryCount);
            if (batch.Targets[segment.QueryBegin] < 0)
            {
                continue; // fills up the last batch
            }

            string text = _text.Tokenizer.Decode(ids, skipSpecialTokens: true);
            int told = batch.FirstTokens[index];
            Assert.True(told == _code || told == _prose);
            if (text.Length > 8)
            {
                Assert.Equal(text.AsSpan().ContainsAny("{};x=") ? _code : _prose, told);
            }

            Assert.False(ids[1..].ContainsAny(_code, _prose));
            continued += ids[0] == told ? 0 : 1;
        }

        return continued;
    }

    [Fact]
    public void A_task_level_router_takes_its_tasks_from_the_text()
    {
        TaskLevelRouterConfig router = Assert.IsType<TaskLevelRouterConfig>(_text.Fit(Config(new TaskLevelRouterConfig())).Model!.Moe!.Router);

        Assert.Equal(2, router.NumTasks);
        Assert.Equal([_code, _prose], router.TaskTokens);
        Assert.Null(router.DecodingRefusal);
        Assert.IsType<TopKRouterConfig>(_text.Fit(Config(new TopKRouterConfig())).Model!.Moe!.Router); // reads the tokens as part of the text
    }

    [Theory]
    [InlineData(3, new int[0])]
    [InlineData(2, new[] { 5, 6 })]
    public void Tasks_that_are_not_those_of_the_text_are_refused_by_name(int numTasks, int[] tokens)
    {
        TrainingConfig config = Config(new TaskLevelRouterConfig { NumTasks = numTasks, TaskTokens = tokens });

        Assert.Contains("code, prose", Assert.Throws<ConfigurationException>(() => _text.Fit(config)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_given_tokenizer_must_have_the_tokens()
    {
        Document[] documents = [.. Enumerable.Range(0, 20).Select(i => new Document($"Text {i}", "verse", "test"))];
        DatasetConfig config = new() { TaskFrom = TaskNaming.Field };

        ConfigurationException error = Assert.Throws<ConfigurationException>(() =>
            TrainingText.Prepare(new DocumentList(documents, "other"), _text.TokenizerFolder, config, _folder, _ => { }, CancellationToken.None));

        Assert.Contains("<|task:verse|>", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Every_window_of_a_long_text_is_scored_with_its_task()
    {
        const string Text = "if (x == 1) { x = 2; } else { x = 0; } return x + x;";
        const int Window = 8;
        using WorkerPool workers = new(1);
        using LanguageModel model = new(_text.Fit(Config(new TaskLevelRouterConfig())).Model!);
        WeightInit.Initialize(model, 3, WeightInitScheme.FanIn, workers);
        using Evaluator evaluator = new(model, _text.Tokenizer, new EvaluationOptions { ContextLength = Window, Stride = Window, BeginToken = _prose }, workers);
        evaluator.Add(Encoding.UTF8.GetBytes(Text), TestContext.Current.CancellationToken);
        int[] ids = [.. TaskTokens.Announce(_prose, Text, _text.Tokenizer), _text.Tokenizer.EosTokenId!.Value]; // the trained tokenizer has one

        double loss = evaluator.Finish(TestContext.Current.CancellationToken).Loss;

        Assert.True(ids.Length > 3 * Window);
        Assert.Equal(LossOf(1), loss, 1e-6);
        Assert.NotEqual(LossOf(0), loss, 1e-6);

        // The same windows, each said to be of a task.
        double LossOf(int task)
        {
            using ForwardContext context = new(workers);
            TokenBatch batch = new();
            double sum = 0;
            for (int begin = 0; begin < ids.Length - 1; begin += Window)
            {
                int rows = Math.Min(Window, ids.Length - 1 - begin);
                batch.Resize(rows, rows);
                batch.AddSegment(new AttentionSegment(0, rows, 0, rows), 0);
                batch.SetTaskIds([task]);
                ids.AsSpan(begin, rows).CopyTo(batch.TokenIds);
                ids.AsSpan(begin + 1, rows).CopyTo(batch.Targets);
                sum += model.Loss(batch, new float[rows], context);
            }

            return sum / (ids.Length - 1);
        }
    }

    private static TrainingConfig Config(RouterConfig router)
    {
        ModelConfig model = TestModel.Small;
        return new TrainingConfig { Model = model with { Moe = model.Moe! with { Router = router } }, Data = new DatasetConfig { TaskFrom = TaskNaming.Field } };
    }
}
