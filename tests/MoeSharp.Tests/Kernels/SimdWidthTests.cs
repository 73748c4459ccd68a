using System.Diagnostics;
using System.Runtime.Intrinsics;

namespace MoeSharp.Tests.Kernels;

/// <summary>Reruns the kernel tests in child processes whose runtime has SIMD widths switched off.</summary>
/// <remarks>Add a kernel's test class to <see cref="Classes"/> and it runs with AVX-512 off, with AVX2 off and without any SIMD.</remarks>
public sealed class SimdWidthTests
{
    private static readonly Type[] Classes =
    [
        typeof(MatMulTests),
        typeof(GroupedMatMulTests),
        typeof(VectorMathTests),
        typeof(RmsNormTests),
        typeof(SwiGluTests),
        typeof(SoftmaxTests),
        typeof(CrossEntropyTests),
        typeof(TopKTests),
        typeof(PermutationTests),
        typeof(ElementwiseTests),
        typeof(ElementwiseRowTests),
        typeof(LightningAttentionTests),
        typeof(RotaryTests),
        typeof(AdamWTests),
        typeof(CausalAttentionTests),
        typeof(AttentionOptionTests),
        typeof(BlockDecoderTests),
        typeof(BlockEncoderBytesTests),
    ];

    [Theory]
    [InlineData(256, "EnableAVX512", "EnableAVX512F")] // the switch has had both names
    [InlineData(128, "EnableAVX2")]
    [InlineData(0, "EnableHWIntrinsic")]
    public async Task Kernels_pass_their_tests_with_narrower_registers(int width, params string[] switches)
    {
        if (SimdWidthProbeTests.Width <= width)
        {
            Assert.Skip($"this machine has no more than {width} bits");
        }

        ProcessStartInfo start = new(Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet")
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.ArgumentList.Add(typeof(SimdWidthTests).Assembly.Location);
        foreach (Type type in Classes.Append(typeof(SimdWidthProbeTests)))
        {
            start.ArgumentList.Add("-class");
            start.ArgumentList.Add(type.FullName!);
        }

        start.Environment[SimdWidthProbeTests.ExpectedWidthVariable] = $"{width}";
        start.Environment["DOTNET_TieredPGO"] = "0";
        foreach (string name in switches)
        {
            start.Environment[$"DOTNET_{name}"] = "0";
        }

        using Process child = Process.Start(start)!; // null only for shell execution
        Task<string> errors = child.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        string output = await child.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        await child.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.True(child.ExitCode == 0, $"exit code {child.ExitCode} with {string.Join(", ", switches)} off:\n{output}\n{await errors}");
        Assert.Contains("Failed: 0", output, StringComparison.Ordinal);
    }
}

/// <summary>Asserts in a child process that the width is really off; elsewhere, that widths nest.</summary>
public sealed class SimdWidthProbeTests
{
    public const string ExpectedWidthVariable = "MOE_TEST_SIMD_WIDTH";

    /// <summary>Widest accelerated register in bits, 0 without SIMD.</summary>
    public static int Width =>
        Vector512.IsHardwareAccelerated ? 512 : Vector256.IsHardwareAccelerated ? 256 : Vector128.IsHardwareAccelerated ? 128 : 0;

    [Fact]
    public void Width_is_the_one_asked_for()
    {
        string? expected = Environment.GetEnvironmentVariable(ExpectedWidthVariable);
        if (expected is not null)
        {
            Assert.Equal(int.Parse(expected, System.Globalization.CultureInfo.InvariantCulture), Width);
        }

        Assert.True(!Vector512.IsHardwareAccelerated || Vector256.IsHardwareAccelerated);
    }
}
