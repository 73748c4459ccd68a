using System.CommandLine;
using MoeSharp.Checkpoints;

namespace MoeSharp.Cli.Commands;

/// <summary><c>moe convert</c>: Hugging Face folders to GGUF files and back, with a receipt.</summary>
internal static class ConvertCommand
{
    /// <summary>Builds the verb.</summary>
    public static Command Create()
    {
        ExportArguments arguments = new();
        Option<string> weights = new("--weights")
        {
            Description = $"Formats of the matrices in the new file: {string.Join(", ", WeightTarget.All.Select(target => target.Name))}; a folder holds f32 or bf16. native keeps those of the model where it can.",
            DefaultValueFactory = _ => WeightTarget.Native.Name,
        };
        Command command = new("convert", "Writes a model in another form: a Hugging Face folder as a GGUF file, or the other way.") { weights };
        arguments.AddTo(command, calibrates: false);
        command.SetAction(parsed => arguments.Run(parsed, WeightTarget.Parse(parsed.GetRequiredValue(weights)), calibrates: false));
        return command;
    }
}
