using System.Globalization;

namespace MoeSharp.Checkpoints;

/// <summary>The names of the files of a split model: <c>name-00001-of-00003.gguf</c> and so on, all in one folder.</summary>
/// <remarks>Names come from the path that the user gave alone; nothing inside a file decides which other file is opened.</remarks>
internal sealed class GgufSplit
{
    private const string Extension = ".gguf";
    private const string Middle = "-of-";
    private const int Digits = 5;
    private const string NumberKey = "split.no";
    private const string CountKey = "split.count";
    private const string TensorsKey = "split.tensors.count";

    private readonly string _path;
    private readonly string? _prefix; // null: one file

    private GgufSplit(string path, string? prefix, int count)
    {
        _path = path;
        _prefix = prefix;
        Count = count;
    }

    /// <summary>Number of files, 1 for a model that is not split.</summary>
    public int Count { get; }

    /// <summary>Reads a file name.</summary>
    public static GgufSplit Of(string path)
    {
        int tail = 1 + Digits + Middle.Length + Digits + Extension.Length;
        ReadOnlySpan<char> end = path.Length >= tail ? path.AsSpan(path.Length - tail) : [];
        bool isSplit = !end.IsEmpty
            && end[0] == '-'
            && end.Slice(1 + Digits, Middle.Length).SequenceEqual(Middle)
            && end.EndsWith(Extension, StringComparison.Ordinal)
            && int.TryParse(end.Slice(1, Digits), NumberStyles.None, CultureInfo.InvariantCulture, out int number)
            && int.TryParse(end.Slice(1 + Digits + Middle.Length, Digits), NumberStyles.None, CultureInfo.InvariantCulture, out int count)
            && number >= 1 && number <= count;
        return isSplit
            ? new GgufSplit(path, path[..^tail], int.Parse(end.Slice(1 + Digits + Middle.Length, Digits), NumberStyles.None, CultureInfo.InvariantCulture))
            : new GgufSplit(path, null, 1);
    }

    /// <summary>Path of a part.</summary>
    public string PathOf(int part) => _prefix is null ? _path : string.Create(CultureInfo.InvariantCulture, $"{_prefix}-{part + 1:d5}{Middle}{Count:d5}{Extension}");

    /// <summary>A part must say the same about the split as its name.</summary>
    /// <exception cref="FileFormatException">It does not.</exception>
    public void CheckPart(GgufMetadata metadata, string path, int part)
    {
        long count = metadata.GetInteger(CountKey, Count == 1 ? 1 : 0);
        if (count != Count && !(count == 0 && Count == 1))
        {
            throw new FileFormatException($"{path}: {CountKey} is {count}, but the file name says {Count}; keep the names that the files were published under (name-00001-of-0000N.gguf)");
        }

        long number = metadata.GetInteger(NumberKey, part);
        if (number != part)
        {
            throw new FileFormatException($"{path}: {NumberKey} is {number}, but by its name the file is part {part} (counted from 0)");
        }
    }

    /// <summary>All parts together must hold the promised number of tensors.</summary>
    /// <exception cref="FileFormatException">They do not.</exception>
    public void CheckTensors(GgufMetadata metadata, string path, int tensors)
    {
        long promised = metadata.GetInteger(TensorsKey, tensors);
        if (Count > 1 && promised != tensors)
        {
            throw new FileFormatException($"{path}: {TensorsKey} is {promised}, but the {Count} files hold {tensors} tensors");
        }
    }
}
