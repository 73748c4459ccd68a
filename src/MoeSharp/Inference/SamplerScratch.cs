namespace MoeSharp.Inference;

/// <summary>Memory that a draw needs while it lasts: 20 bytes per token of the vocabulary. Texts that draw one after the other share one.</summary>
/// <param name="vocabSize">Number of logits.</param>
public sealed class SamplerScratch(int vocabSize)
{
    /// <summary>Logits after the repetition penalty, [vocab].</summary>
    internal float[] Logits { get; } = new float[vocabSize];

    /// <summary>Probabilities relative to that of the most probable token, [vocab]; only those of candidates are set.</summary>
    internal double[] Probabilities { get; } = new double[vocabSize];

    /// <summary>Sort keys of the tokens still in the race, [vocab].</summary>
    internal ulong[] Candidates { get; } = new ulong[vocabSize];
}
