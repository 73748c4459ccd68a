using System.Reflection;

namespace MoeSharp.Training;

/// <summary>The experiments of the folder <c>configs</c>, carried inside the library so that a name is enough to run one.</summary>
internal static class ExperimentFiles
{
    private const string Prefix = "configs/";

    /// <summary>Names, sorted.</summary>
    public static IReadOnlyList<string> Names { get; } =
    [
        .. Assembly.GetExecutingAssembly().GetManifestResourceNames()
            .Where(name => name.StartsWith(Prefix, StringComparison.Ordinal))
            .Select(name => name[Prefix.Length..])
            .Order(StringComparer.Ordinal),
    ];

    /// <summary>The JSON text of an experiment.</summary>
    public static string Read(string name)
    {
        using Stream stream = Assembly.GetExecutingAssembly().GetManifestResourceStream(Prefix + name)!; // callers check the name
        using StreamReader reader = new(stream);
        return reader.ReadToEnd();
    }
}
