namespace MoeSharp.Classic.Vowels;

/// <summary>The four vowels of the 1991 comparison, in two pairs that overlap within and hardly between.</summary>
public enum Vowel
{
    /// <summary>As in heed.</summary>
    Heed,

    /// <summary>As in hid.</summary>
    Hid,

    /// <summary>As in hod.</summary>
    Hod,

    /// <summary>As in hud.</summary>
    Hud,
}

/// <summary>Groups of speakers, whose vocal tracts differ in length.</summary>
public enum SpeakerGroup
{
    /// <summary>Men.</summary>
    Man,

    /// <summary>Women.</summary>
    Woman,

    /// <summary>Children.</summary>
    Child,
}

/// <summary>Mean and deviation of two formants.</summary>
/// <param name="F1">Mean first formant in Hz.</param>
/// <param name="F1Deviation">Its standard deviation over speakers and repetitions.</param>
/// <param name="F2">Mean second formant in Hz.</param>
/// <param name="F2Deviation">Its standard deviation.</param>
/// <param name="Correlation">Correlation of the two within group and vowel.</param>
public readonly record struct FormantStatistics(double F1, double F1Deviation, double F2, double F2Deviation, double Correlation);

/// <summary>Formants of American English vowels as measured by Peterson and Barney: what the demonstration's samples are drawn from.</summary>
/// <remarks>
/// G. E. Peterson, H. L. Barney: Control methods used in a study of the vowels, J. Acoust. Soc. Am. 24, 175-184, 1952. 76 speakers said every word twice. Means and
/// deviations are those of the published measurements of the four words, by group; no measurement itself is kept here.
/// </remarks>
public static class VowelStatistics
{
    /// <summary>Share of a formant's variance (about the mean of group and vowel) that a speaker has in all vowels: the measurements give 0.22 to 0.26.</summary>
    internal const double SpeakerShare = 0.24;

    /// <summary>Share that the speaker has in one vowel, in both repetitions: 0.44 to 0.50. The rest differs between repetitions.</summary>
    internal const double SpeakerVowelShare = 0.47;

    // [group, vowel]
    private static readonly FormantStatistics[] s_formants =
    [
        new(266.7, 36.9, 2293.8, 136.2, 0.0), new(392.3, 49.7, 1993.4, 125.8, 0.0), new(718.4, 54.3, 1090.9, 97.1, 0.6), new(630.6, 46.6, 1191.9, 109.3, 0.2),
        new(310.4, 47.4, 2782.6, 132.1, 0.0), new(441.0, 46.9, 2473.6, 151.3, 0.0), new(864.1, 95.2, 1228.8, 98.7, 0.6), new(758.2, 67.8, 1408.8, 119.4, 0.2),
        new(360.2, 69.6, 3177.8, 219.2, 0.0), new(533.8, 73.8, 2744.0, 207.2, 0.0), new(1030.0, 127.5, 1383.0, 162.6, 0.6), new(855.4, 118.3, 1591.7, 103.2, 0.2),
    ];

    /// <summary>All vowels.</summary>
    public static IReadOnlyList<Vowel> Vowels { get; } = Enum.GetValues<Vowel>();

    /// <summary>Speakers of each group among the 75 that are generated; the original had one child more.</summary>
    public static int NumSpeakers(SpeakerGroup group) => group switch
    {
        SpeakerGroup.Man => 33,
        SpeakerGroup.Woman => 28,
        _ => 14,
    };

    /// <summary>The statistics of a vowel in a group.</summary>
    public static FormantStatistics Of(SpeakerGroup group, Vowel vowel) => s_formants[((int)group * 4) + (int)vowel];

    /// <summary>The sign of the International Phonetic Alphabet, in ASCII where it has one.</summary>
    public static string Sign(Vowel vowel) => vowel switch
    {
        Vowel.Heed => "i",
        Vowel.Hid => "\u026A",
        Vowel.Hod => "a",
        _ => "\u028C",
    };
}
