using System.Globalization;

namespace MoeSharp.Planning;

/// <summary>How much memory programs can get here, the limits of a container included.</summary>
public static class MachineMemory
{
    private const long NoLimit = long.MaxValue / 2; // version 1 of control groups writes a number near 2^63 for none

    /// <summary>Memory that can be taken without swapping, in bytes.</summary>
    public static long FreeBytes()
    {
        long total = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
        long free = Field("/proc/meminfo", "MemAvailable:") is { } kilobytes ? kilobytes * 1024 : total;
        return Math.Max(0, Math.Min(Math.Min(free, total), FreeInControlGroups("/proc/self/cgroup", "/sys/fs/cgroup")));
    }

    /// <summary>What the control groups of a process leave, or a very large number.</summary>
    /// <param name="membership">Lines "number:controllers:path".</param>
    /// <param name="root">Where control groups are mounted.</param>
    internal static long FreeInControlGroups(string membership, string root)
    {
        long free = NoLimit;
        foreach (string line in File.Exists(membership) ? File.ReadAllLines(membership) : [])
        {
            string[] fields = line.Split(':', 3);
            if (fields.Length < 3 || (fields[1].Length > 0 && !fields[1].Split(',').Contains("memory")))
            {
                continue;
            }

            bool isOld = fields[1].Length > 0;
            string mount = isOld ? Path.Combine(root, "memory") : root;
            for (string? path = fields[2].TrimStart('/'); path is not null; path = path.Length == 0 ? null : Path.GetDirectoryName(path))
            {
                free = Math.Min(free, FreeIn(Path.Combine(mount, path), isOld));
            }
        }

        return free;
    }

    private static long FreeIn(string group, bool isOld)
    {
        long? limit = Number(Path.Combine(group, isOld ? "memory.limit_in_bytes" : "memory.max"));
        long? used = Number(Path.Combine(group, isOld ? "memory.usage_in_bytes" : "memory.current"));
        if (limit is null or >= NoLimit || used is null)
        {
            return NoLimit;
        }

        // Cached pages of files count as used, and go when somebody needs them.
        string statistics = Path.Combine(group, "memory.stat");
        string prefix = isOld ? "total_" : "";
        long cached = (Field(statistics, prefix + "inactive_file") ?? 0) + (Field(statistics, prefix + "active_file") ?? 0);
        return limit.Value - Math.Max(used.Value - cached, 0);
    }

    private static long? Number(string path) =>
        File.Exists(path) && long.TryParse(File.ReadAllText(path).Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out long value) ? value : null;

    private static long? Field(string path, string name)
    {
        string? line = File.Exists(path) ? File.ReadLines(path).FirstOrDefault(text => text.StartsWith(name + " ", StringComparison.Ordinal) || text.StartsWith(name + "\t", StringComparison.Ordinal)) : null;
        return long.TryParse(line?.Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries).ElementAtOrDefault(1), NumberStyles.None, CultureInfo.InvariantCulture, out long value) ? value : null;
    }
}
