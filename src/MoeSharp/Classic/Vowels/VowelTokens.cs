namespace MoeSharp.Classic.Vowels;

/// <summary>One spoken vowel.</summary>
/// <param name="Speaker">Number of the speaker, from 0.</param>
/// <param name="Group">The speaker's group.</param>
/// <param name="Vowel">What was said.</param>
/// <param name="F1">First formant in Hz.</param>
/// <param name="F2">Second formant in Hz.</param>
public readonly record struct VowelToken(int Speaker, SpeakerGroup Group, Vowel Vowel, double F1, double F2);

/// <summary>Generated recordings: 75 speakers, four vowels, two repetitions.</summary>
/// <remarks>
/// A formant is mean + deviation (sqrt(a) s + sqrt(b) v + sqrt(1 - a - b) r) with standard normal s of the speaker, v of the speaker's vowel and r of the
/// repetition; v and r of the two formants are correlated so that the whole has the published correlation. The first 50 speakers train, the other 25 test.
/// </remarks>
public static class VowelTokens
{
    /// <summary>Speakers to train on.</summary>
    public const int NumTrainingSpeakers = 50;

    private const int Repetitions = 2;
    private const double HertzPerUnit = 1000; // the paper divides formants by 1000

    /// <summary>Generates the recordings of a seed; speakers are in random order.</summary>
    public static IReadOnlyList<VowelToken> Generate(ulong seed)
    {
        SeededNumbers random = new(seed, 1);
        SpeakerGroup[] groups = [.. Enum.GetValues<SpeakerGroup>().SelectMany(group => Enumerable.Repeat(group, VowelStatistics.NumSpeakers(group)))];
        random.Shuffle(groups.AsSpan());
        List<VowelToken> tokens = [];
        for (int speaker = 0; speaker < groups.Length; speaker++)
        {
            (double tract1, double tract2) = (random.Normal(), random.Normal());
            foreach (Vowel vowel in VowelStatistics.Vowels)
            {
                FormantStatistics formants = VowelStatistics.Of(groups[speaker], vowel);
                (double own1, double own2) = Pair(random, formants.Correlation);
                for (int repetition = 0; repetition < Repetitions; repetition++)
                {
                    (double said1, double said2) = Pair(random, formants.Correlation);
                    double f1 = formants.F1 + (formants.F1Deviation * Mix(tract1, own1, said1));
                    double f2 = formants.F2 + (formants.F2Deviation * Mix(tract2, own2, said2));
                    tokens.Add(new VowelToken(speaker, groups[speaker], vowel, f1, f2));
                }
            }
        }

        return tokens;
    }

    /// <summary>Cases for a mixture or a network: inputs 1, F1 and F2 in kHz; target 1 for the outer vowel of each pair, 0 for the inner one.</summary>
    /// <param name="tokens">Recordings.</param>
    public static CaseSet Cases(IReadOnlyList<VowelToken> tokens) => new(
        [.. tokens.SelectMany(token => new[] { 1, token.F1 / HertzPerUnit, token.F2 / HertzPerUnit })], 3, [.. tokens.Select(token => TargetOf(token.Vowel))], 1);

    /// <summary>1 for heed and hod, 0 for hid and hud.</summary>
    public static double TargetOf(Vowel vowel) => vowel is Vowel.Heed or Vowel.Hod ? 1 : 0;

    private static double Mix(double speaker, double vowel, double repetition) =>
        (Math.Sqrt(VowelStatistics.SpeakerShare) * speaker) + (Math.Sqrt(VowelStatistics.SpeakerVowelShare) * vowel)
        + (Math.Sqrt(1 - VowelStatistics.SpeakerShare - VowelStatistics.SpeakerVowelShare) * repetition);

    // The speaker's own part is uncorrelated, so the others carry the correlation of the whole.
    private static (double First, double Second) Pair(SeededNumbers random, double correlation)
    {
        double within = correlation / (1 - VowelStatistics.SpeakerShare);
        double first = random.Normal();
        return (first, (within * first) + (Math.Sqrt(1 - (within * within)) * random.Normal()));
    }
}
