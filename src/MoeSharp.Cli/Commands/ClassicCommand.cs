using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using MoeSharp.Classic;
using MoeSharp.Classic.Arm;
using MoeSharp.Classic.Vowels;

namespace MoeSharp.Cli.Commands;

/// <summary><c>moe classic vowels|arm</c>: the mixtures of 1991 and 1994 on data generated for them.</summary>
internal static class ClassicCommand
{
    /// <summary>Builds the verb.</summary>
    public static Command Create()
    {
        Command command = new("classic", "Repeats what the first mixtures of experts showed, in small.");
        command.Subcommands.Add(CreateVowels());
        command.Subcommands.Add(CreateArm());
        return command;
    }

    private static Command CreateVowels()
    {
        VowelStudyOptions defaults = new();
        Option<ulong> seed = new("--seed") { Description = "Seed of the first run; the others count on from it.", DefaultValueFactory = _ => defaults.Seed };
        Option<int> runs = new("--runs") { Description = "Runs, each with other speakers and other first weights.", DefaultValueFactory = _ => defaults.Runs };
        Option<double> criterion = new("--criterion") { Description = "Squared error on the training cases at which to stop.", DefaultValueFactory = _ => defaults.Criterion };
        Option<int> epochs = new("--max-epochs") { Description = "Epochs after which a run is given up.", DefaultValueFactory = _ => defaults.MaxEpochs };
        Option<string?> output = new("--out") { Description = "Folder for vowels.html: what each expert took." };
        Option<bool> json = new("--json") { Description = "Print one JSON document." };
        Command command = new("vowels", "Mixtures of 4 and 8 experts against networks with 6 and 12 hidden units (1991).") { seed, runs, criterion, epochs, output, json };
        command.SetAction(parsed =>
        {
            VowelStudyOptions options = new() { Seed = parsed.GetValue(seed), Runs = parsed.GetValue(runs), Criterion = parsed.GetValue(criterion), MaxEpochs = parsed.GetValue(epochs) };
            string? page = Page(parsed.GetValue(output), "vowels.html");
            using Interruption interruption = new();
            VowelStudy study = VowelStudy.Run(options, interruption.Token);
            string? picture = Save(page, () => VowelPicture.Page(study));
            if (parsed.GetValue(json))
            {
                ClassicReport.WriteJson(study, picture);
            }
            else
            {
                ClassicReport.Print(study, picture);
            }

            return CommandLine.Done;
        });
        return command;
    }

    private static Command CreateArm()
    {
        ArmStudyOptions defaults = new();
        Option<ulong> seed = new("--seed") { Description = "Seed of the first run; the others count on from it.", DefaultValueFactory = _ => defaults.Seed };
        Option<int> runs = new("--runs") { Description = "Runs, each with other states and other first weights.", DefaultValueFactory = _ => defaults.Runs };
        Option<int> joints = new("--joints") { Description = "Joints of the arm.", DefaultValueFactory = _ => defaults.Arm.Joints };
        Option<string> branches = new("--branches") { Description = "Branches of the tree, from the top level down.", DefaultValueFactory = _ => string.Join(',', defaults.Branches) };
        Option<int> train = new("--train-cases") { Description = "Cases to train on; the paper had 15000.", DefaultValueFactory = _ => defaults.TrainCases };
        Option<int> test = new("--test-cases") { Description = "Cases to test on; the paper had 5000.", DefaultValueFactory = _ => defaults.TestCases };
        Option<int> treePasses = new("--tree-passes") { Description = "Iterations of expectation maximisation.", DefaultValueFactory = _ => defaults.TreePasses };
        Option<int> onlinePasses = new("--online-passes") { Description = "Passes of the network with a step per case.", DefaultValueFactory = _ => defaults.OnlinePasses };
        Option<int> batchPasses = new("--batch-passes") { Description = "Passes of the network with a step per pass.", DefaultValueFactory = _ => defaults.BatchPasses };
        Option<string?> output = new("--out") { Description = "Folder for arm.html: what each expert took." };
        Option<bool> json = new("--json") { Description = "Print one JSON document." };
        Command command = new("arm", "A tree of experts by EM against a linear fit and networks, on the dynamics of an arm (1994).") { seed, runs, joints, branches, train, test, treePasses, onlinePasses, batchPasses, output, json };
        command.SetAction(parsed =>
        {
            ArmStudyOptions options = new()
            {
                Seed = parsed.GetValue(seed),
                Runs = parsed.GetValue(runs),
                Arm = new ArmOptions { Joints = parsed.GetValue(joints) },
                Branches = Branches(parsed.GetRequiredValue(branches)),
                TrainCases = parsed.GetValue(train),
                TestCases = parsed.GetValue(test),
                TreePasses = parsed.GetValue(treePasses),
                OnlinePasses = parsed.GetValue(onlinePasses),
                BatchPasses = parsed.GetValue(batchPasses),
            };
            string? page = Page(parsed.GetValue(output), "arm.html");
            using Interruption interruption = new();
            ArmStudy study = ArmStudy.Run(options, interruption.Token);
            string? picture = Save(page, () => ArmPicture.Page(study));
            if (parsed.GetValue(json))
            {
                ClassicReport.WriteJson(study, picture);
            }
            else
            {
                ClassicReport.Print(study, picture);
            }

            return CommandLine.Done;
        });
        return command;
    }

    private static int[] Branches(string text)
    {
        string[] parts = text.Split(',', StringSplitOptions.TrimEntries);
        int[] branches = new int[parts.Length];
        for (int level = 0; level < parts.Length; level++)
        {
            if (!int.TryParse(parts[level], NumberStyles.None, CultureInfo.InvariantCulture, out branches[level]) || branches[level] < 1)
            {
                throw new ConfigurationException($"--branches {text}: '{parts[level]}' is no number of branches; give one per level, for example 2,2,2,2");
            }
        }

        return branches;
    }

    // Where the page goes, tried before the runs: minutes of them would be lost.
    private static string? Page(string? folder, string name)
    {
        if (folder is null)
        {
            return null;
        }

        try
        {
            Directory.CreateDirectory(folder);
            string path = Path.Combine(folder, name);
            bool isThere = File.Exists(path);
            File.OpenWrite(path).Dispose(); // an older page stays until there is a new one
            if (!isThere)
            {
                File.Delete(path);
            }

            return path;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw new ConfigurationException($"--out {folder}: no page can be written there ({exception.Message}); name a folder that may be written to", exception);
        }
    }

    private static string? Save(string? path, Func<string> page)
    {
        if (path is not null)
        {
            File.WriteAllText(path, page());
        }

        return path;
    }
}
