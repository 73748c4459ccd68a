using System.CommandLine;
using MoeSharp.Inference;

namespace MoeSharp.Cli;

/// <summary>The options that say how tokens are drawn.</summary>
/// <remarks>What the user leaves out is taken from the model's generation_config.json, else from <see cref="s_usual"/>.</remarks>
internal sealed class SamplingArguments
{
    private static readonly SamplingOptions s_usual = new() { Temperature = 0.8f, TopP = 0.95f };

    private readonly Option<float?> _temperature = new("--temperature") { Description = "0 always takes the most probable token; 1 draws from the model's own distribution. This and the next four: the model's own (generation_config.json) unless given, else 0.8, with top-p 0.95." };
    private readonly Option<int?> _topK = new("--top-k") { Description = "Draw from this many most probable tokens only; 0 is off." };
    private readonly Option<float?> _topP = new("--top-p") { Description = "Draw from the most probable tokens that together reach this probability; 1 is off." };
    private readonly Option<float?> _minP = new("--min-p") { Description = "Draw from tokens at least this fraction as probable as the most probable one; 0 is off." };
    private readonly Option<float?> _repetitionPenalty = new("--repetition-penalty") { Description = "Above 1, tokens that the text already has become less probable; 1 is off." };
    private readonly Option<ulong?> _seed = new("--seed") { Description = "Same seed, same text. Without it, a random one is taken and shown." };

    /// <summary>Gives the options to a command.</summary>
    public void AddTo(Command command)
    {
        foreach (Option option in (Option[])[_temperature, _topK, _topP, _minP, _repetitionPenalty, _seed])
        {
            command.Options.Add(option);
        }
    }

    /// <summary>Refuses what is out of range before a model is loaded.</summary>
    /// <exception cref="ConfigurationException">Some values are; the message names all of them.</exception>
    public void Check(ParseResult parsed) => Over(parsed, s_usual).Validate();

    /// <summary>Their values, completed by what the model brings.</summary>
    /// <param name="parsed">The arguments.</param>
    /// <param name="modelPath">Folder or file of the model.</param>
    public SamplingOptions Read(ParseResult parsed, string modelPath) => Over(parsed, PublishedSampling.Of(modelPath) ?? s_usual);

    private SamplingOptions Over(ParseResult parsed, SamplingOptions usual) => new()
    {
        Temperature = parsed.GetValue(_temperature) ?? usual.Temperature,
        TopK = parsed.GetValue(_topK) ?? usual.TopK,
        TopP = parsed.GetValue(_topP) ?? usual.TopP,
        MinP = parsed.GetValue(_minP) ?? usual.MinP,
        RepetitionPenalty = parsed.GetValue(_repetitionPenalty) ?? usual.RepetitionPenalty,
        Seed = parsed.GetValue(_seed) ?? (ulong)Random.Shared.Next(1_000_000),
    };
}
