using System.Runtime.InteropServices;

namespace MoeSharp.Kernels;

/// <summary>A block of native float32 memory, aligned to 64 bytes, that the garbage collector never sees or moves.</summary>
/// <remarks>Blocks of two mebibytes and more are aligned to huge pages; the first touch then costs a fifth (docs/decisions).</remarks>
public sealed unsafe class NativeBuffer : IDisposable
{
    private const nuint CacheLine = 64;
    private const nuint HugePage = 2 * 1024 * 1024;
    private const int AdviceHugePage = 14; // MADV_HUGEPAGE of Linux

    private float* _pointer;

    /// <summary>Allocates <paramref name="length"/> floats whose content is undefined.</summary>
    /// <exception cref="OutOfMemoryException">The system cannot provide the memory.</exception>
    public NativeBuffer(long length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        Length = length;
        nuint bytes = checked((nuint)Math.Max(length, 1) * sizeof(float));
        bool isHuge = bytes >= HugePage;
        _pointer = (float*)NativeMemory.AlignedAlloc(bytes, isHuge ? HugePage : CacheLine);
        if (isHuge && OperatingSystem.IsLinux())
        {
            _ = AdviseMemory(_pointer, bytes, AdviceHugePage); // advice only: a refusal changes speed, not results
        }
    }

    /// <summary>Number of floats.</summary>
    public long Length { get; }

    internal float* Pointer => _pointer;

    /// <summary>Views part of the buffer; the view must not outlive it.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The range leaves the buffer.</exception>
    public Span<float> Slice(long offset, int length)
    {
        if (offset < 0 || length < 0 || offset + length > Length)
        {
            throw new ArgumentOutOfRangeException(nameof(offset), $"range {offset}+{length} leaves a buffer of {Length} floats");
        }

        return new Span<float>(_pointer + offset, length);
    }

    /// <summary>Sets everything to zero.</summary>
    public void Clear() => NativeMemory.Clear(_pointer, (nuint)Length * sizeof(float));

    /// <summary>Returns the memory to the system; views become invalid.</summary>
    public void Dispose()
    {
        if (_pointer != null)
        {
            NativeMemory.AlignedFree(_pointer);
            _pointer = null;
            GC.SuppressFinalize(this);
        }
    }

    /// <summary>Frees the memory of a buffer that was never disposed.</summary>
    ~NativeBuffer() => Dispose();

    [DllImport("libc", EntryPoint = "madvise")]
    private static extern int AdviseMemory(void* address, nuint length, int advice);
}
