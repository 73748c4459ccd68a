namespace MoeSharp.Kernels;

/// <summary>How cached keys and values are stored.</summary>
public enum CacheFormat
{
    /// <summary>As computed.</summary>
    Float32,

    /// <summary>Rounded to the nearest bfloat16: half the memory, and half of what a query over a long context reads.</summary>
    BFloat16,
}
