using System.Globalization;
using MoeSharp.Model;

namespace MoeSharp.Checkpoints.Export;

/// <summary>Says what a layout loses of a model's architecture: the model before and after being written and read.</summary>
internal static class ConfigDifference
{
    private const int MostShown = 4;

    /// <summary>The first properties that differ, or null.</summary>
    public static string? Between(ModelConfig before, ModelConfig after)
    {
        // How weights were first drawn, and the ids that belong to the tokenizer, are no part of what the model computes.
        after = Rounded(after with { InitializerRange = before.InitializerRange, BosTokenId = before.BosTokenId, EosTokenId = before.EosTokenId });
        before = Rounded(before);
        if (before == after)
        {
            return null;
        }

        string[] expected = before.ToString().Split(", ");
        string[] found = after.ToString().Split(", ");
        IEnumerable<string> differences = expected.Zip(found).Where(pair => pair.First != pair.Second).Select(pair => $"{Shown(pair.First)} would be read as {Shown(pair.Second)}");
        string shown = string.Join("; ", differences.Take(MostShown));
        return shown.Length > 0 ? shown : "it would be read as another model";
    }

    // GGUF keeps float32 of some numbers that config.json has in decimals; and what is given may equal what is assumed.
    private static ModelConfig Rounded(ModelConfig config) => config with
    {
        AttentionOutputBias = config.AttentionOutputBias,
        Rope = config.Rope with
        {
            Theta = Rounded(config.Rope.Theta),
            Factor = Rounded(config.Rope.Factor),
            BetaFast = Rounded(config.Rope.BetaFast),
            BetaSlow = Rounded(config.Rope.BetaSlow),
            AttentionFactor = Rounded(config.Rope.AttentionFactor),
            MscaleAllDim = Rounded(config.Rope.MscaleAllDim),
        },
    };

    private static double Rounded(double value) => double.Parse(value.ToString("g6", CultureInfo.InvariantCulture), CultureInfo.InvariantCulture);

    private static string Shown(string property) => property.Trim('{', '}', ' ');
}
