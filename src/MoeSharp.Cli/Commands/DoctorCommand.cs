using System.CommandLine;

namespace MoeSharp.Cli.Commands;

/// <summary><c>moe doctor</c>: what this machine can do.</summary>
internal static class DoctorCommand
{
    /// <summary>Builds the verb.</summary>
    public static Command Create()
    {
        Command command = new("doctor", "Shows what this machine can do and what will fit.");
        command.SetAction(_ => CommandLine.Done);
        return command;
    }
}
