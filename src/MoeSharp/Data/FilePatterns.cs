using System.IO.Enumeration;

namespace MoeSharp.Data;

/// <summary>Turns what a user names (files, folders, globs) into a list of files in a fixed order.</summary>
/// <remarks>
/// <c>*</c> and <c>?</c> match within a name, <c>**</c> any number of folders. A folder means every file below it.
/// Names that begin with a dot, and folders that are links, are passed over unless named. Order: as given, then by path, ordinal.
/// </remarks>
internal static class FilePatterns
{
    /// <summary>Every file that the patterns name, once.</summary>
    /// <exception cref="ConfigurationException">A pattern matches nothing.</exception>
    public static IReadOnlyList<string> Expand(IReadOnlyList<string> patterns)
    {
        if (patterns.Count == 0)
        {
            throw new ConfigurationException("no data: name a file, a folder or a pattern, for example --data book.txt");
        }

        List<string> files = [];
        HashSet<string> seen = new(StringComparer.Ordinal);
        foreach (string pattern in patterns)
        {
            List<string> found = FilesOf(pattern);
            found.Sort(StringComparer.Ordinal);
            if (found.Count == 0)
            {
                throw new ConfigurationException(Directory.Exists(pattern)
                    ? $"data folder '{pattern}' holds no files"
                    : $"data '{pattern}' matches no file (looked in {Directory.GetCurrentDirectory()}); check the path, or quote the pattern so that the shell leaves it alone");
            }

            files.AddRange(found.Where(seen.Add));
        }

        return files;
    }

    private static List<string> FilesOf(string pattern)
    {
        if (pattern.Length == 0)
        {
            return [];
        }

        List<string> found = [];
        if (File.Exists(pattern))
        {
            found.Add(Path.GetFullPath(pattern));
        }
        else if (Directory.Exists(pattern))
        {
            AddMatches(Path.GetFullPath(pattern), ["**"], 0, found);
        }
        else if (pattern.AsSpan().ContainsAny('*', '?'))
        {
            string[] parts = pattern.Replace(Path.DirectorySeparatorChar, '/').Split('/');
            int firstWild = Array.FindIndex(parts, part => part.AsSpan().ContainsAny('*', '?'));
            string root = string.Join('/', parts[..firstWild]);
            root = firstWild == 0 ? "." : root.Length == 0 ? "/" : root;
            if (Directory.Exists(root))
            {
                AddMatches(Path.GetFullPath(root), parts[firstWild..].Where(part => part.Length > 0).ToArray(), 0, found);
            }
        }

        return found.Distinct(StringComparer.Ordinal).ToList();
    }

    private static void AddMatches(string folder, string[] parts, int at, List<string> found)
    {
        string part = parts[at];
        bool isLast = at == parts.Length - 1;
        if (part == "**")
        {
            if (!isLast)
            {
                AddMatches(folder, parts, at + 1, found); // no folder at all
            }

            foreach (DirectoryInfo inner in new DirectoryInfo(folder).EnumerateDirectories().Where(inner => inner.Name[0] != '.' && inner.LinkTarget is null))
            {
                AddMatches(inner.FullName, parts, at, found);
            }
        }

        if (isLast)
        {
            found.AddRange(Directory.EnumerateFiles(folder).Where(file => Matches(part, Path.GetFileName(file))));
        }
        else if (part != "**")
        {
            foreach (string inner in Directory.EnumerateDirectories(folder).Where(inner => Matches(part, Path.GetFileName(inner))))
            {
                AddMatches(inner, parts, at + 1, found);
            }
        }
    }

    private static bool Matches(string pattern, string name) =>
        (name[0] != '.' || pattern[0] == '.') && FileSystemName.MatchesSimpleExpression(pattern == "**" ? "*" : pattern, name, ignoreCase: false);
}
