using MoeSharp.Kernels;

namespace MoeSharp.Tests.Kernels;

/// <summary>Seeds give these numbers for ever: checkpoints, corpora and samples were made with them.</summary>
public sealed class SeededNumbersTests
{
    [Fact]
    public void SplitMix64_gives_the_published_sequence()
    {
        SplitMix64 random = new(1234567);
        Assert.Equal(
            [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821],
            new[] { random.Next(), random.Next(), random.Next(), random.Next(), random.Next() });
    }

    [Fact]
    public void A_pair_of_seed_and_stream_gives_its_own_sequence()
    {
        SplitMix64 random = new(5, 9);
        Assert.Equal([4105691333863013879, 15287135298979571037], new[] { random.Next(), random.Next() });
    }

    [Fact]
    public void Fnv1a_gives_the_published_values_for_ASCII()
    {
        Assert.Equal(0xcbf29ce484222325, Fnv1a.Of(""));
        Assert.Equal(0xaf63dc4c8601ec8c, Fnv1a.Of("a"));
        Assert.Equal(0x85944171f73967e8, Fnv1a.Of("foobar"));
        Assert.Equal(3930451564670470635ul, Fnv1a.Of("layers.0.moe.router")); // weights of that name draw from it
    }

    [Theory]
    [InlineData(0, -0.5334888502818655)]
    [InlineData(1, 0.7335110758736805)]
    [InlineData(2, -1.0048393141871337)]
    [InlineData(4095, 0.811974514431106)] // the last of the first block
    [InlineData(4096, -0.29429067188363306)]
    [InlineData(5000, 0.622118259883833)]
    public void Normal_numbers_follow_from_their_seed(int index, double expected)
    {
        using WorkerPool workers = new(2);
        float[] values = new float[5001];
        NormalFill.Fill(workers, 42, 0.5f, values);
        Assert.Equal(expected, values[index], 1e-7); // rounded to float32; logarithm and sine may differ in the last bit between systems
    }
}
