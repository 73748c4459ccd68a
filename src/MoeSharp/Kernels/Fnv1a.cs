namespace MoeSharp.Kernels;

/// <summary>A running 64-bit FNV-1a hash, the same on every platform and in every process, unlike <see cref="object.GetHashCode"/>. Not for security.</summary>
/// <remarks>Each unit that is added counts whole, up to 32 bits; the published hash adds bytes, so ASCII text gives the published values.</remarks>
public struct Fnv1a()
{
    private const ulong Prime = 1099511628211;

    /// <summary>Hash of what was added.</summary>
    public ulong Value { get; private set; } = 14695981039346656037; // the published offset basis

    /// <summary>Adds a unit.</summary>
    public void Add(uint unit) => Value = (Value ^ unit) * Prime;

    /// <summary>Hash of a text, one UTF-16 unit after another.</summary>
    public static ulong Of(ReadOnlySpan<char> text)
    {
        Fnv1a hash = new();
        foreach (char unit in text)
        {
            hash.Add(unit);
        }

        return hash.Value;
    }
}
