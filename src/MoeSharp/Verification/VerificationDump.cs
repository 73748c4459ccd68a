using MoeSharp.Checkpoints;

namespace MoeSharp.Verification;

/// <summary>Where computed tensors are written for others to compare; nowhere, when nobody asked.</summary>
/// <param name="folder">Folder, created when the first file is written; null writes nothing.</param>
internal sealed class VerificationDump(string? folder)
{
    /// <summary>Writes one file.</summary>
    public void Write(string file, IReadOnlyList<NamedTensor> tensors)
    {
        if (folder is null)
        {
            return;
        }

        Directory.CreateDirectory(folder);
        SafetensorsWriter.WriteFile(Path.Combine(folder, file), tensors);
    }
}
