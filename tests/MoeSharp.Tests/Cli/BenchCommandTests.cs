using System.Text.Json;
using MoeSharp.Bench;
using MoeSharp.Cli;
using MoeSharp.Cli.Commands;

namespace MoeSharp.Tests.Cli;

public sealed class BenchCommandTests
{
    [Fact]
    public void Json_has_the_machine_and_each_result_with_its_limit()
    {
        BenchReport report = new(new BenchMachine(230, 33, 2, "512-bit"), [new BenchResult("matmul", 200, "GFLOP/s", 230, 0.87)]);
        using JsonDocument json = JsonDocument.Parse(JsonSerializer.Serialize(report, BenchJson.Default.BenchReport));
        JsonElement machine = json.RootElement.GetProperty("machine");
        Assert.Equal(230, machine.GetProperty("fma_gflops").GetDouble());
        Assert.Equal(33, machine.GetProperty("read_gbps").GetDouble());
        Assert.Equal(2, machine.GetProperty("threads").GetInt32());
        Assert.Equal("512-bit", machine.GetProperty("simd").GetString());
        JsonElement result = Assert.Single(json.RootElement.GetProperty("results").EnumerateArray());
        Assert.Equal("matmul", result.GetProperty("name").GetString());
        Assert.Equal(200, result.GetProperty("value").GetDouble());
        Assert.Equal("GFLOP/s", result.GetProperty("unit").GetString());
        Assert.Equal(230, result.GetProperty("limit").GetDouble());
        Assert.Equal(0.87, result.GetProperty("share").GetDouble());
    }

    [Theory]
    [InlineData("bench", "no-such-suite")]
    [InlineData("bench", "kernels", "--threads", "0")]
    [InlineData("bench", "kernels", "--threads", "5000")]
    [InlineData("bench", "decode", "--preset", "nano", "--threads", "1", "--prompt", "2000000000")]
    [InlineData("bench", "decode", "--preset", "nano", "--threads", "1", "--batch", "100000000")]
    [InlineData("bench", "decode", "--preset", "deepseek-v3", "--threads", "1", "--weights", "f32")] // 2.7 TB
    public void Wrong_input_exits_with_2(params string[] arguments) => Assert.Equal(CommandLine.WrongInput, CommandLine.Run(arguments));
}
