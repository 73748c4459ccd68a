namespace MoeSharp.Classic;

/// <summary>What a unit of a small network does with its weighted sum.</summary>
public enum UnitKind
{
    /// <summary>Nothing.</summary>
    Linear,

    /// <summary>1 / (1 + exp(-s)).</summary>
    Logistic,

    /// <summary>tanh(s).</summary>
    Tanh,
}

/// <summary>The functions of <see cref="UnitKind"/> and their slopes.</summary>
internal static class UnitFunction
{
    /// <summary>f(s).</summary>
    public static double Value(UnitKind kind, double sum) => kind switch
    {
        UnitKind.Logistic => 1 / (1 + Math.Exp(-sum)),
        UnitKind.Tanh => Math.Tanh(sum),
        _ => sum,
    };

    /// <summary>f'(s), given f(s).</summary>
    public static double Slope(UnitKind kind, double value) => kind switch
    {
        UnitKind.Logistic => value * (1 - value),
        UnitKind.Tanh => 1 - (value * value),
        _ => 1,
    };
}
