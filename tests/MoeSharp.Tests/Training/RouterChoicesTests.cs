using MoeSharp.Execution;
using MoeSharp.Training;

namespace MoeSharp.Tests.Training;

public sealed class RouterChoicesTests
{
    [Fact]
    public void Choices_are_compared_as_sets_and_survive_a_file()
    {
        RouterChoices early = Of([0, 1, 2, 3, -1, 5], [true, true, true]);
        RouterChoices late = Of([1, 0, 3, 4, -1, 6], [true, true, true]);
        using MemoryStream file = new();
        early.Write(file);
        file.Position = 0;

        SaturationPoint point = RouterChoices.Read(file)!.Against(7, late);

        Assert.Equal((7, 3), (point.Step, point.Layers[0]));
        Assert.Equal(3 / 6.0, point.Mean, 12); // 0 and 1, 3; a slot without an expert is no agreement
        Assert.Equal(2 / 2.0, Of([0, 1, 2, 3, -1, 5], [true, false, false]).Against(7, Of([1, 0, 9, 9, 9, 9], [true, false, false])).Mean, 12);
        Assert.Throws<ConfigurationException>(() => Of([0, 1], [true]).Against(7, late));
    }

    [Fact]
    public void Damaged_files_are_no_choices()
    {
        using MemoryStream file = new();
        Of([0, 1, 2, 3], [true, true]).Write(file);
        byte[] bytes = file.ToArray();

        Assert.NotNull(RouterChoices.Read(new MemoryStream(bytes)));
        for (int length = 0; length < bytes.Length; length++)
        {
            Assert.Null(RouterChoices.Read(new MemoryStream(bytes[..length])));
        }

        foreach (int place in (int[])[0, 4, 12, 16]) // magic, layers, top_k, count
        {
            byte[] wrong = [.. bytes];
            BitConverter.TryWriteBytes(wrong.AsSpan(place), int.MinValue);
            Assert.Null(RouterChoices.Read(new MemoryStream(wrong)));
            BitConverter.TryWriteBytes(wrong.AsSpan(place), int.MaxValue);
            Assert.True(place == 12 || RouterChoices.Read(new MemoryStream(wrong)) is null);
        }
    }

    private static RouterChoices Of(int[] experts, bool[] counts)
    {
        RouterChoices choices = new();
        choices.BeginPass();
        choices.Add(new MoeView { Layer = 3, NumExperts = 10, TopK = 2, ExpertIds = experts, RoutingWeights = [], Routed = [] }, counts);
        return choices;
    }
}
