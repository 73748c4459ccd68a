using System.CommandLine;
using MoeSharp.Checkpoints;

namespace MoeSharp.Cli.Commands;

/// <summary><c>moe quantize</c>: writes a model in a smaller format, weighted by calibration text if given, with a receipt.</summary>
internal static class QuantizeCommand
{
    /// <summary>Builds the verb.</summary>
    public static Command Create()
    {
        ExportArguments arguments = new();
        Option<string> weights = new("--weights") { Description = $"Format of the matrices: {string.Join(", ", WeightTarget.All.Where(target => target.Format is not null).Select(target => target.Name))}.", Required = true };
        Command command = new("quantize", "Writes a model in a smaller format.") { weights };
        arguments.AddTo(command, calibrates: true);
        command.SetAction(parsed =>
        {
            WeightTarget target = WeightTarget.Parse(parsed.GetRequiredValue(weights));
            if (target == WeightTarget.Native)
            {
                throw new ConfigurationException("--weights native changes nothing; use moe convert to write another form, or name a format");
            }

            return arguments.Run(parsed, target, calibrates: true);
        });
        return command;
    }
}
