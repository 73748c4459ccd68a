using System.Diagnostics;
using MoeSharp.Cli;

namespace MoeSharp.Tests.Cli;

public sealed class TypedCommandTests
{
    [Theory]
    [InlineData("runs/mine", "runs/mine")]
    [InlineData("my runs/one", "\"my runs/one\"")]
    [InlineData("", "\"\"")]
    [InlineData("it's", "\"it's\"")]
    [InlineData("$HOME `ls` it's", "'$HOME `ls` it'\\''s'")]
    [InlineData("say \"hi\"!", "'say \"hi\"!'")]
    public void What_a_shell_would_take_apart_is_quoted(string argument, string expected)
    {
        Assert.Equal("./moe train " + expected, TypedCommand.Of("./moe", ["train", argument], isWindows: false));
        if (!OperatingSystem.IsWindows())
        {
            Assert.Equal(argument, Output("sh", "-c", "printf %s " + expected)); // what the shell makes of it
        }
    }

    [Theory]
    [InlineData(@"runs\mine", @"runs\mine")]
    [InlineData("my runs", "\"my runs\"")]
    [InlineData("say \"hi\"", "\"say \\\"hi\\\"\"")]
    public void Windows_knows_double_quotes_only(string argument, string expected) =>
        Assert.Equal("moe train " + expected, TypedCommand.Of("moe", ["train", argument], isWindows: true));

    [Theory]
    [InlineData("./moe", "./moe")]
    [InlineData("ROOT/moe", "ROOT/moe")]
    [InlineData("moe", "moe")] // found on PATH
    public void The_launcher_says_how_it_was_called(string typed, string expected)
    {
        string? launcher = Launcher();
        if (launcher is null)
        {
            Assert.Skip("the tests run outside the repository");
        }

        if (OperatingSystem.IsWindows())
        {
            Assert.Skip("the script is for other systems");
            return;
        }

        string folder = Directory.CreateTempSubdirectory("moe launcher").FullName;
        string tools = Path.Combine(folder, "tools");
        Directory.CreateDirectory(tools);
        File.Copy(launcher, Path.Combine(folder, "moe"));
        string dotnet = Path.Combine(tools, "dotnet"); // stands in for the build and for the program
        File.WriteAllText(dotnet, "#!/bin/sh\n[ \"$1\" = build ] || printf %s \"$MOE_COMMAND\"\n");
        File.SetUnixFileMode(dotnet, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        string search = typed == "moe" ? $"{tools}:{folder}:$PATH" : $"{tools}:$PATH";

        string said = Output("bash", "-c", $"cd '{folder}' && PATH=\"{search}\" '{typed.Replace("ROOT", folder, StringComparison.Ordinal)}'");

        Assert.Equal(expected.Replace("ROOT", folder, StringComparison.Ordinal), said);
        Directory.Delete(folder, recursive: true);
    }

    private static string? Launcher()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "MoeSharp.slnx")))
            {
                return Path.Combine(folder.FullName, "moe");
            }
        }

        return null;
    }

    private static string Output(string program, params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true })!; // UseShellExecute is off, so there is a process
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return output;
    }
}
