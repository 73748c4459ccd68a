namespace MoeSharp.Tests.Tokenization;

/// <summary>A folder that is deleted with its content.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("moesharp-").FullName;

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
