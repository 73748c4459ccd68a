using System.Diagnostics;
using MoeSharp.Checkpoints;

namespace MoeSharp.Tests.Checkpoints;

/// <summary>Kills a process that writes checkpoints, again and again.</summary>
[Trait("Category", "Slow")]
public sealed class CheckpointKillTests
{
    private const int Rounds = 15;

    [Fact]
    public async Task A_killed_process_leaves_a_whole_checkpoint()
    {
        using TemporaryFolder run = new();
        Random random = new(11);
        long before = 0;
        for (int round = 0; round < Rounds; round++)
        {
            using Process child = StartWriter(run.Path);
            while (!child.HasExited && (CheckpointStore.LatestValid(run.Path).Latest?.Step ?? 0) <= before)
            {
                await Task.Delay(20, TestContext.Current.CancellationToken);
            }

            await Task.Delay(random.Next(0, 120), TestContext.Current.CancellationToken);
            Assert.False(child.HasExited, "the writer stopped by itself");
            child.Kill();
            await child.WaitForExitAsync(TestContext.Current.CancellationToken);

            CheckpointSearch search = CheckpointStore.LatestValid(run.Path);
            Assert.Empty(search.Damaged);
            Assert.NotNull(search.Latest);
            Assert.True(search.Latest.Step > before, $"round {round}: {search.Latest.Step} after {before}");
            before = search.Latest.Step;
            Assert.Equal(before, search.Latest.ReadState().Step);
            Assert.InRange(Directory.GetDirectories(Path.Combine(run.Path, "checkpoints"), "step-*").Length, 1, 3);
        }
    }

    private static Process StartWriter(string run)
    {
        ProcessStartInfo start = new(Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet") { RedirectStandardOutput = true };
        start.ArgumentList.Add(typeof(CheckpointKillTests).Assembly.Location);
        start.ArgumentList.Add("-class");
        start.ArgumentList.Add(typeof(CheckpointWriterProcess).FullName!);
        start.Environment[CheckpointWriterProcess.RunVariable] = run;
        return Process.Start(start)!; // null only for shell execution
    }
}

/// <summary>What the killed process does; elsewhere it saves one checkpoint.</summary>
[Trait("Category", "Slow")]
public sealed class CheckpointWriterProcess
{
    public const string RunVariable = "MOE_TEST_CHECKPOINT_RUN";

    [Fact]
    public void Checkpoints_are_written_until_the_process_is_killed()
    {
        string? run = Environment.GetEnvironmentVariable(RunVariable);
        using TemporaryFolder folder = new();
        using CheckpointStore store = CheckpointStore.Open(run ?? folder.Path, keepLast: 2);
        long step = CheckpointStore.LatestValid(run ?? folder.Path).Latest?.Step ?? 0;
        do
        {
            store.Save(TestModel.Content(TestModel.Small, ++step));
        }
        while (run is not null);

        Assert.Equal(1, CheckpointStore.LatestValid(folder.Path).Latest?.Step);
    }
}
