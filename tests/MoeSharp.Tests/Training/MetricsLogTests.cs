using System.Text.Json;
using MoeSharp.Execution;
using MoeSharp.Training;

namespace MoeSharp.Tests.Training;

public sealed class MetricsLogTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("moe-metrics").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Losses_stand_apart_and_the_rate_has_its_limit_beside_it()
    {
        using (MetricsLog log = new(_folder, 0))
        {
            log.Step(Metrics(7) with { Loss = 3.25, Losses = Losses(1.5, 1.25, 0.5), Gflops = 50 }, peakGflops: 200);
        }

        JsonElement line = Assert.Single(MetricsLog.Read(_folder));
        Assert.Equal(7, line.GetProperty("step").GetInt64());
        Assert.Equal(3.25, line.GetProperty("loss").GetDouble());
        Assert.Equal(1.5, line.GetProperty("expert_loss").GetDouble());
        Assert.Equal(1.25, line.GetProperty("device_loss").GetDouble());
        Assert.Equal(0.5, line.GetProperty("z_loss").GetDouble());
        Assert.Equal(0.25, line.GetProperty("peak_share").GetDouble());
    }

    [Fact]
    public void Resuming_cuts_off_later_steps_and_a_torn_line()
    {
        using (MetricsLog log = new(_folder, 0))
        {
            for (int step = 1; step <= 5; step++)
            {
                log.Step(Metrics(step), 0);
            }
        }

        File.AppendAllText(Path.Combine(_folder, MetricsLog.FileName), "{\"step\":6,\"lo");
        using (MetricsLog log = new(_folder, 3))
        {
            log.Step(Metrics(4) with { Loss = 9 }, 0);
        }

        JsonElement[] lines = [.. MetricsLog.Read(_folder)];
        Assert.Equal([1, 2, 3, 4], lines.Select(line => line.GetProperty("step").GetInt32()));
        Assert.Equal(9, lines[3].GetProperty("loss").GetDouble());
    }

    [Fact]
    public void A_torn_last_line_is_not_read()
    {
        File.WriteAllText(Path.Combine(_folder, MetricsLog.FileName), "{\"step\":1,\"tokens\":2}\n{\"step\":2,\"tok");

        Assert.Single(MetricsLog.Read(_folder));
    }

    [Fact]
    public void Numbers_that_are_not_finite_become_null()
    {
        using (MetricsLog log = new(_folder, 0))
        {
            log.Step(Metrics(1) with { Loss = double.NaN }, 0);
        }

        Assert.Equal(JsonValueKind.Null, Assert.Single(MetricsLog.Read(_folder)).GetProperty("loss").ValueKind);
    }

    [Fact]
    public void Loads_are_counts_in_a_file_of_their_own()
    {
        LoadTable load = new();
        load.Add(Routing([4, 0, 2, 2], [1, 1, 1, 1]));
        load.Add(Routing([4, 0, 2, 2], [1, 1, 1, 1]));
        using (LoadLog log = new(_folder, 0))
        {
            log.Write(5, 50, load);
        }

        JsonElement line = Assert.Single(LoadLog.Read(_folder));
        Assert.Equal("[[8,0,4,4],[2,2,2,2]]", line.GetProperty("tokens_per_expert").GetRawText());
        Assert.Equal("[1,2]", line.GetProperty("layers").GetRawText());
        Assert.Equal(2, load.MaxOverMean());
        Assert.Equal(1, load.NumDead());
    }

    [Fact]
    public void Every_layer_has_its_loads_however_many_experts_there_are()
    {
        LoadTable load = new();
        long[] counts = [.. Enumerable.Repeat(1L, 9000)];
        load.Add(Routing(counts, counts, counts));
        using (LoadLog log = new(_folder, 0))
        {
            log.Write(5, 50, load);
        }

        JsonElement line = Assert.Single(LoadLog.Read(_folder));
        Assert.Equal(3, line.GetProperty("layers").GetArrayLength());
        Assert.Equal(3, line.GetProperty("tokens_per_expert").GetArrayLength());
    }

    [Fact]
    public void A_resumed_run_cuts_its_loads_off_as_well()
    {
        LoadTable load = new();
        load.Add(Routing([1, 2]));
        using (LoadLog log = new(_folder, 0))
        {
            log.Write(1, 10, load);
            log.Write(5, 50, load);
        }

        new LoadLog(_folder, 3).Dispose();
        Assert.Equal(1, Assert.Single(LoadLog.Read(_folder)).GetProperty("step").GetInt32());
    }

    internal static StepMetrics Metrics(long step) => new()
    {
        Step = step,
        Tokens = step * 100,
        Loss = 2,
        Losses = Losses(1, 0, 0),
        GradientNorm = 0.5,
        LearningRate = 1e-3f,
        LoadMaxOverMean = 1.2,
        NumDeadExperts = 0,
        Seconds = 0.1,
        TokensPerSecond = 1000,
        Gflops = 10,
    };

    private static AuxiliaryLosses Losses(double expert, double device, double z)
    {
        AuxiliaryLosses losses = default;
        (losses[AuxiliaryLoss.ExpertLevel], losses[AuxiliaryLoss.DeviceLevel], losses[AuxiliaryLoss.ZLoss]) = (expert, device, z);
        return losses;
    }

    internal static RoutingRecord Routing(params long[][] layers)
    {
        RoutingRecord record = new();
        for (int index = 0; index < layers.Length; index++)
        {
            layers[index].CopyTo(record.Next(index + 1, layers[index].Length).TokensPerExpert, 0);
        }

        return record;
    }
}
