namespace MoeSharp.Training;

/// <summary>The learning rate as a pure function of the step and of the share of the run that is done.</summary>
public static class LearningRateSchedule
{
    /// <summary>The rate of one update.</summary>
    /// <remarks>
    /// rate = LearningRate * min(1, step / WarmupSteps) * shape(progress). The shape is a function of the whole run's progress,
    /// so a run that is limited by time follows the same curve as one that is limited by steps.
    /// </remarks>
    /// <param name="schedule">Shape and constants.</param>
    /// <param name="step">Number of the update, from 1.</param>
    /// <param name="progress">Share of the run that was done before this update, 0 to 1.</param>
    public static float At(ScheduleConfig schedule, long step, double progress)
    {
        double warmup = step >= schedule.WarmupSteps ? 1 : (double)step / schedule.WarmupSteps;
        double shape = schedule.Kind switch
        {
            ScheduleKind.Constant => 1,
            ScheduleKind.Cosine => schedule.FinalShare + ((1 - schedule.FinalShare) * 0.5 * (1 + Math.Cos(Math.PI * Math.Clamp(progress, 0, 1)))),
            _ when progress >= schedule.SecondDropAt => schedule.DropFactor * schedule.DropFactor,
            _ when progress >= schedule.FirstDropAt => schedule.DropFactor,
            _ => 1,
        };
        return (float)(schedule.LearningRate * warmup * shape);
    }

    /// <summary>Share of the run that is done: the largest of the shares of its limits.</summary>
    /// <param name="totalSteps">Steps that the budget allows, or null.</param>
    /// <param name="budgetSeconds">Seconds that the budget allows, or null.</param>
    /// <param name="stepsDone">Updates made.</param>
    /// <param name="secondsDone">Seconds trained.</param>
    public static double Progress(long? totalSteps, double? budgetSeconds, long stepsDone, double secondsDone)
    {
        double bySteps = totalSteps is { } steps ? (double)stepsDone / steps : 0;
        double byTime = budgetSeconds is { } seconds ? secondsDone / seconds : 0;
        return Math.Min(1, Math.Max(bySteps, byTime));
    }
}
