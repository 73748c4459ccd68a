using System.Text.Json;
using MoeSharp.Analysis.Study;
using MoeSharp.Execution;
using MoeSharp.Inference;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Model.Routers;
using MoeSharp.Moe.Dispatch;
using MoeSharp.Training;

namespace MoeSharp.Tests.Analysis.Study;

public sealed class ModelStudyTests
{
    [Fact]
    public void Experiments_are_the_losses_under_their_interventions_with_paired_errors()
    {
        using StudyBench bench = new();
        StudyText text = StudyBench.Text();
        StudyResult result = bench.Study(text);
        Assert.Equal([0, 1 / 6.0, 2 / 6.0], result.Curves.Masked.Select(point => point.X)); // of 6 experts, sixteenths round to 0, 1 and 2
        Assert.Equal([1, 2], result.Curves.Fewer.Select(point => point.X));
        Assert.Equal(2, result.Curves.Shared.Count);

        (double[] losses, int[] documents) = Losses(bench, text, null);
        Assert.Equal(losses.Average(), result.Curves.Baseline.Loss.Mean, 1e-6);
        foreach (StudyPoint point in result.Curves.Masked.Concat(result.Curves.Shared).Concat(result.Curves.Fewer).Where(point => point.Intervention is not null))
        {
            double[] changed = Losses(bench, text, point.Intervention).Losses;
            Assert.Equal(changed.Average(), point.Loss.Mean, 1e-6);
            double[] differences = [.. changed.Zip(losses, (a, b) => a - b)];
            double mean = differences.Average();
            double squares = documents.Distinct().Sum(document => Math.Pow(differences.Where((_, row) => documents[row] == document).Sum(d => d - mean), 2));
            Assert.Equal(mean, point.Increase.Mean, 1e-6);
            Assert.Equal(Math.Sqrt(squares * 14 / 13) / losses.Length, point.Increase.StandardError, 1e-6);
        }
    }

    [Fact]
    public void The_loss_and_its_error_are_those_of_an_evaluation()
    {
        using WorkerPool workers = new(2);
        MoeSharp.Tokenization.Tokenizer tokenizer = MoeSharp.Tokenization.BpeTrainer.Train(["abab"u8.ToArray()], new MoeSharp.Tokenization.BpeTrainerOptions { VocabSize = 258 });
        using StudyBench bench = new(StudyBench.Config with { VocabSize = tokenizer.VocabSize, MaxPositionEmbeddings = 16 });
        using Evaluator evaluator = new(bench.Model, tokenizer, new EvaluationOptions(), workers);
        List<StudyDocument> documents = [];
        foreach (int index in Enumerable.Range(0, 12))
        {
            byte[] utf8 = System.Text.Encoding.UTF8.GetBytes(string.Concat(Enumerable.Repeat($"text {index} ", 1 + (index % 5))));
            evaluator.Add(utf8, TestContext.Current.CancellationToken);
            List<int> ids = [tokenizer.BosTokenId!.Value];
            tokenizer.Encode(utf8, ids);
            ids.Add(tokenizer.EosTokenId!.Value);
            documents.Add(StudyDocument.Of([.. ids], "", utf8.Length));
        }

        Evaluation evaluation = evaluator.Finish(TestContext.Current.CancellationToken);
        StudyText text = new(documents, evaluator.ContextLength, evaluator.Stride, 2048);
        StudyLosses losses = bench.Passes(text).Run(null, new RoutingStatistics(text, bench.Model.Config, bench.Workers));
        Assert.Equal(evaluation.Tokens, text.NumScored);
        Assert.Equal(evaluation.Loss, losses.Loss.Mean, 1e-9);
        Assert.Equal(evaluation.StandardError, losses.Loss.StandardError, 1e-9);
        Assert.Equal(evaluation.BitsPerByte, losses.BitsPerByte, 1e-9);
        Assert.Equal(ErrorUnit.Document, losses.ErrorUnit);
    }

    [Fact]
    public void Where_the_shared_expert_does_all_only_its_absence_costs()
    {
        using StudyBench bench = new();
        foreach (int layer in new[] { 1, 2 })
        {
            bench.Parameter($"layers.{layer}.moe.experts.down_projection").Value.Clear();
        }

        StudyResult result = bench.Study(StudyBench.Text());
        Assert.All(result.Curves.Masked.Concat(result.Curves.Fewer), point => Assert.Equal(new Estimate(0, 0), point.Increase));
        Assert.All(result.Curves.Shared, point => Assert.NotEqual(0, point.Increase.Mean));
        Assert.All(result.Statistics.Layers, layer => Assert.Equal(1, layer.SharedShare, 1e-9));
    }

    [Fact]
    public void Where_the_shared_expert_does_nothing_its_absence_costs_nothing()
    {
        using StudyBench bench = new();
        foreach (int layer in new[] { 1, 2 })
        {
            bench.Parameter($"layers.{layer}.moe.shared_experts.down_projection").Value.Clear();
        }

        StudyResult result = bench.Study(StudyBench.Text());
        Assert.Equal(new Estimate(0, 0), result.Curves.Shared[0].Increase);
        Assert.NotEqual(0, result.Curves.Masked[1].Increase.Mean);
        Assert.All(result.Statistics.Layers, layer => Assert.Equal(0, layer.SharedShare, 1e-9));
    }

    [Fact]
    public void One_expert_that_holds_everything_is_found()
    {
        // All experts of layer 1 but number 4 are empty: switching 4 off is the same as masking everything, switching another off changes little.
        using StudyBench bench = new(StudyBench.Config with { Moe = StudyBench.Config.Moe! with { NumSharedExperts = 0, FirstKDenseReplace = 2 } });
        Span<float> down = bench.Parameter("layers.2.moe.experts.down_projection").Value;
        int size = down.Length / StudyBench.Experts;
        for (int expert = 0; expert < StudyBench.Experts; expert++)
        {
            if (expert != 4)
            {
                down.Slice(expert * size, size).Clear();
            }
        }

        StudyText text = StudyBench.Text();
        double With(int expert) => bench.Study(text, new StudyRequest { Plan = StudyPlan.None, SwitchedOff = [new ExpertPlace(2, expert)] }).SwitchedOff!.Increase.Mean;
        double own = With(4);
        Assert.NotEqual(0, own);
        Assert.Equal(own, bench.Study(text, new StudyRequest { Plan = StudyPlan.None, SwitchedOff = [new ExpertPlace(2, 4), new ExpertPlace(2, 1)] }).SwitchedOff!.Increase.Mean, 1e-9);
        FactQuestion[] questions = [.. Enumerable.Range(0, 30).Select(index => new FactQuestion(index % 2 == 0 ? "even" : "odd", [index, index + 1, index + 2], 1, ""))];
        FactStudy facts = bench.Study(text, new StudyRequest { Plan = StudyPlan.None, Questions = questions }).Facts!;
        Assert.Equal(4, facts.Experts.MaxBy(loss => Math.Abs(loss.Increase.Mean))!.Place.Expert);
    }

    [Fact]
    public void Answers_are_scored_by_all_their_tokens()
    {
        using StudyBench bench = new();
        FactQuestion[] questions = [new("a", [1, 2, 3, 4], 2, ""), new("b", [7, 8], 1, ""), new("a", [9, 10, 11, 12, 13], 3, "")];
        using FactRecall recall = new(bench.Model, questions, bench.Workers, TestContext.Current.CancellationToken);
        FactScores scores = recall.Ask(null);
        using ForwardContext context = new(bench.Workers);
        for (int index = 0; index < questions.Length; index++)
        {
            TokenBatch batch = TokenBatch.FromSequences([questions[index].Ids]);
            float[] logits = new float[batch.Count * StudyBench.Config.VocabSize];
            bench.Model.Logits(batch, batch.Count, logits, context);
            double loss = 0;
            bool isRecalled = true;
            for (int place = questions[index].Ids.Length - questions[index].AnswerLength; place < questions[index].Ids.Length; place++)
            {
                double[] row = [.. logits.AsSpan((place - 1) * StudyBench.Config.VocabSize, StudyBench.Config.VocabSize).ToArray().Select(value => (double)value)];
                loss += Math.Log(row.Sum(Math.Exp)) - row[questions[index].Ids[place]];
                isRecalled &= row.Max() == row[questions[index].Ids[place]];
            }

            Assert.Equal(loss, scores.Losses[index], 1e-4);
            Assert.Equal(isRecalled, scores.Recalled[index]);
        }
    }

    [Fact]
    public void A_router_without_scores_is_counted_but_not_changed()
    {
        using StudyBench bench = new(StudyBench.Config with { Moe = StudyBench.Config.Moe! with { Router = new HashRouterConfig() } });
        StudyResult result = bench.Study(StudyBench.Text());
        Assert.Contains("does not choose by scores", result.Curves.Refusal, StringComparison.Ordinal);
        Assert.Equal(StudyBench.Text().NumScored * 2, result.Statistics.Layers[0].NumSlots);
        Assert.True(double.IsNaN(result.Statistics.Layers[0].RouterEntropy));
        Assert.Contains(StudySummary.Sentences(result), sentence => sentence.Contains("No choice was changed", StringComparison.Ordinal));
    }

    [Fact]
    public void Dropped_slots_are_those_of_the_capacity()
    {
        using StudyBench bench = new(StudyBench.Config with { Moe = StudyBench.Config.Moe! with { Capacity = new CapacityRule { EvaluationFactor = 0.5 } } });
        StudyText text = StudyBench.Text();
        StudyResult result = bench.Study(text);
        (long asked, long dropped) = (0, 0);
        using ForwardContext context = new(bench.Workers);
        TokenBatch batch = new();
        for (int pass = 0; pass < text.NumPasses; pass++)
        {
            text.Fill(pass, batch);
            bench.Model.Loss(batch, new float[batch.Count], context);
            asked += context.Routing.Layers[1].AskedSlots;
            dropped += context.Routing.Layers[1].DroppedSlots;
        }

        Assert.Equal(dropped / (double)asked, result.Statistics.Layers[1].DropRate);
        Assert.InRange(result.Statistics.Layers[1].DropRate, 0.3, 0.7);
        Assert.Contains(StudySummary.Sentences(result), sentence => sentence.Contains("have a capacity", StringComparison.Ordinal));
    }

    [Fact]
    public void Experts_that_choose_tokens_are_counted()
    {
        using StudyBench bench = new(StudyBench.Config with { Moe = StudyBench.Config.Moe! with { Router = new ExpertChoiceRouterConfig { AcknowledgesFutureLeak = true } } });
        StudyResult result = bench.Study(StudyBench.Text());
        Assert.NotNull(result.Curves.Refusal);
        Assert.Equal(0, result.Statistics.Layers[0].DropRate);
        Assert.InRange(result.Statistics.Layers[0].MaxViolation, 0, 0.5); // even over all rows; only scored ones count here
        Assert.DoesNotContain("NaN", MoeSharp.Analysis.Study.Report.StudyReport.Build(result), StringComparison.Ordinal);
    }

    [Fact]
    public void A_dense_model_has_a_loss_and_nothing_to_study()
    {
        using StudyBench bench = new(StudyBench.Config with { Moe = null });
        StudyResult result = bench.Study(StudyBench.Text());
        Assert.Empty(result.Statistics.Layers);
        Assert.Contains("no layer with routed experts", StudySummary.Sentences(result)[1], StringComparison.Ordinal);
    }

    [Fact]
    public void Saturation_is_the_share_of_choices_already_made()
    {
        using StudyBench early = new(seed: 1);
        using StudyBench late = new(seed: 2);
        StudyText text = StudyBench.Text();
        RouterChoices first = RouterSaturation.ChoicesOf(early.Model, text, early.Workers, TestContext.Current.CancellationToken);
        RouterChoices last = RouterSaturation.ChoicesOf(late.Model, text, late.Workers, TestContext.Current.CancellationToken);
        Assert.Equal([1, 1], last.Against(7, last).Shares);
        SaturationPoint point = first.Against(3, last);
        List<SeenRow> mine = early.Rows(text);
        List<SeenRow> theirs = late.Rows(text);
        for (int layer = 0; layer < 2; layer++)
        {
            Assert.Equal(mine.Zip(theirs, (a, b) => a.Experts[layer].Intersect(b.Experts[layer]).Count() / 2.0).Average(), point.Shares[layer], 1e-12);
        }
    }

    [Fact]
    public void A_second_model_is_compared_pair_by_pair()
    {
        using StudyBench bench = new();
        using StudyBench other = new(seed: 3);
        StudyText text = StudyBench.Text();
        StudyResult result = bench.Study(text, new StudyRequest { Rival = new StudySubject("other", other.Model) });
        double expected = Losses(other, text, null).Losses.Average() - Losses(bench, text, null).Losses.Average();
        Assert.Equal(expected, result.Rival!.Increase!.Value.Mean, 1e-6);
        Assert.Equal(result.Curves.Masked.Count, result.Rival.Curves.Masked.Count);
    }

    [Fact]
    public void Json_holds_every_part_and_no_number_that_json_lacks()
    {
        using StudyBench bench = new();
        FactQuestion[] questions = [new("a", [1, 2], 1, "<b>"), new("b", [3, 4], 1, "")];
        StudyResult result = bench.Study(StudyBench.Text(), new StudyRequest { Questions = questions, SwitchedOff = [new ExpertPlace(1, 0)] });
        using MemoryStream stream = new();
        using (Utf8JsonWriter json = new(stream))
        {
            StudyJson.Write(json, result);
        }

        using JsonDocument document = JsonDocument.Parse(stream.ToArray());
        JsonElement root = document.RootElement;
        Assert.Equal(result.Curves.Baseline.Loss.Mean, root.GetProperty("loss").GetDouble());
        Assert.Equal(3, root.GetProperty("masked").GetArrayLength());
        Assert.Equal(2, root.GetProperty("layers").GetArrayLength());
        Assert.Equal(StudyBench.Experts, root.GetProperty("layers")[0].GetProperty("co_activation").GetArrayLength());
        Assert.Equal(2 * StudyBench.Experts, root.GetProperty("facts").GetProperty("experts").GetArrayLength());
        Assert.True(root.GetProperty("switched_off").GetProperty("increase").GetDouble() != 0);
    }

    [Fact]
    public void Text_without_targets_is_refused() =>
        Assert.Throws<ConfigurationException>(() => new StudyText([new StudyDocument([1, 2], [-1, -1], "", 0)], 8, 8, 64));

    private static (double[] Losses, int[] Documents) Losses(StudyBench bench, StudyText text, RoutingIntervention? intervention)
    {
        using ForwardContext context = new(bench.Workers) { Intervention = intervention };
        List<double> losses = [];
        List<int> documents = [];
        TokenBatch batch = new();
        for (int pass = 0; pass < text.NumPasses; pass++)
        {
            text.Fill(pass, batch);
            float[] rows = new float[batch.Count];
            bench.Model.Loss(batch, rows, context);
            int row = 0;
            foreach (StudyWindow window in text.Windows(pass))
            {
                for (int index = 0; index < window.Rows; index++, row++)
                {
                    if (batch.Targets[row] >= 0)
                    {
                        losses.Add(rows[row]);
                        documents.Add(window.Document);
                    }
                }
            }
        }

        return ([.. losses], [.. documents]);
    }
}
