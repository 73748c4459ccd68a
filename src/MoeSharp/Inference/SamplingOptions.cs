namespace MoeSharp.Inference;

/// <summary>How the next token is drawn from the logits.</summary>
/// <remarks>
/// Applied in this order: repetition penalty, temperature, top-k, top-p (of what top-k left), min-p, draw. A temperature of 0 takes the
/// largest logit after the repetition penalty, the lowest id among equals, and ignores the rest.
/// </remarks>
public sealed record SamplingOptions
{
    /// <summary>Divides the logits; 0 is greedy, 1 the model's own distribution.</summary>
    public float Temperature { get; init; } = 1f;

    /// <summary>Keeps this many most probable tokens; 0 keeps all.</summary>
    public int TopK { get; init; }

    /// <summary>Keeps the most probable tokens until their probabilities sum to at least this (nucleus sampling, arXiv 1904.09751); 1 keeps all.</summary>
    public float TopP { get; init; } = 1f;

    /// <summary>Keeps tokens at least this fraction as probable as the most probable one; 0 keeps all.</summary>
    public float MinP { get; init; }

    /// <summary>Divides positive and multiplies negative logits of tokens that the text already has (CTRL, arXiv 1909.05858, section 4.1); 1 changes nothing.</summary>
    public float RepetitionPenalty { get; init; } = 1f;

    /// <summary>Start of the random sequence: the same seed, options and logits give the same tokens.</summary>
    public ulong Seed { get; init; }

    /// <summary>Checks every value.</summary>
    /// <exception cref="ConfigurationException">Some are out of range; the message names all of them.</exception>
    public void Validate()
    {
        List<string> problems = [];
        Require(problems, float.IsFinite(Temperature) && Temperature >= 0, $"temperature {Temperature} must be 0 (greedy) or more");
        Require(problems, TopK >= 0, $"top-k {TopK} must be 0 (off) or more");
        Require(problems, TopP is > 0 and <= 1, $"top-p {TopP} must be above 0 and at most 1 (off)");
        Require(problems, MinP is >= 0 and <= 1, $"min-p {MinP} must be from 0 (off) to 1");
        Require(problems, float.IsFinite(RepetitionPenalty) && RepetitionPenalty > 0, $"repetition-penalty {RepetitionPenalty} must be above 0; 1 is off");
        if (problems.Count > 0)
        {
            throw new ConfigurationException("sampling: " + string.Join("; ", problems));
        }
    }

    private static void Require(List<string> problems, bool condition, string problem)
    {
        if (!condition)
        {
            problems.Add(problem);
        }
    }
}
