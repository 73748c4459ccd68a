using MoeSharp.Training;

namespace MoeSharp.Tests.Training;

public sealed class LearningRateScheduleTests
{
    private static readonly ScheduleConfig s_paper = new() { Kind = ScheduleKind.Steps, LearningRate = 1f, WarmupSteps = 10 };

    [Theory]
    [InlineData(1, 0.1)] // linear warm-up
    [InlineData(5, 0.5)]
    [InlineData(10, 1)]
    [InlineData(11, 1)]
    [InlineData(80, 1)] // 79 of 100 steps are done
    [InlineData(81, 0.316)] // 80 % are done
    [InlineData(90, 0.316)]
    [InlineData(91, 0.099856)] // 0.316 squared
    [InlineData(100, 0.099856)]
    public void Steps_follow_the_paper(long step, double expected) =>
        Assert.Equal(expected, LearningRateSchedule.At(s_paper, step, LearningRateSchedule.Progress(100, null, step - 1, 0)), 1e-6);

    [Theory]
    [InlineData(0, 1)]
    [InlineData(0.5, 0.55)] // halfway between 1 and 0.1
    [InlineData(1, 0.1)]
    public void Cosine_ends_at_its_final_share(double progress, double expected) =>
        Assert.Equal(expected, LearningRateSchedule.At(s_paper with { Kind = ScheduleKind.Cosine, FinalShare = 0.1 }, 1000, progress), 1e-6);

    [Fact]
    public void Constant_stays_after_its_warm_up()
    {
        ScheduleConfig constant = s_paper with { Kind = ScheduleKind.Constant, WarmupSteps = 2 };

        Assert.Equal([0.5f, 1f, 1f, 1f], new[] { 1L, 2, 3, 1000 }.Select(step => LearningRateSchedule.At(constant, step, step / 1000.0)));
    }

    [Fact]
    public void No_warm_up_starts_at_the_full_rate() => Assert.Equal(1f, LearningRateSchedule.At(s_paper with { WarmupSteps = 0 }, 1, 0));

    [Theory]
    [InlineData(100L, null, 25L, 0.0, 0.25)]
    [InlineData(null, 60.0, 25L, 45.0, 0.75)]
    [InlineData(100L, 60.0, 25L, 45.0, 0.75)] // the limit that is nearest decides
    [InlineData(100L, 60.0, 90L, 45.0, 0.9)]
    [InlineData(null, 60.0, 1L, 90.0, 1.0)]
    public void Progress_is_the_largest_share(long? steps, double? seconds, long done, double elapsed, double expected) =>
        Assert.Equal(expected, LearningRateSchedule.Progress(steps, seconds, done, elapsed), 1e-12);
}
