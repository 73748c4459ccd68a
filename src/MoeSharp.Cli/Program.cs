return MoeSharp.Cli.CommandLine.Run(args);
