using System.CommandLine;
using MoeSharp.Inference;

namespace MoeSharp.Cli.Commands;

/// <summary><c>moe logits</c>: writes the logits of given tokens, for comparison with other programs.</summary>
internal static class LogitsCommand
{
    /// <summary>Builds the verb.</summary>
    public static Command Create()
    {
        ModelArguments model = new();
        Option<string> tokens = new("--tokens") { Description = "A JSON array of token ids, or an array of such arrays.", Required = true };
        Option<string> output = new("--out") { Description = "File for the logits: little-endian float32, [tokens, vocab], one sequence after another.", Required = true };
        Command command = new("logits", "Writes the logits of given tokens to a file.") { tokens, output };
        model.AddTo(command);
        command.SetAction(parsed =>
        {
            int[][] sequences = TokenSequences.Read(parsed.GetRequiredValue(tokens));
            using OpenedModel opened = model.Open(parsed);
            TokenSequences.CheckVocabulary(sequences, opened.Model.Config.VocabSize, parsed.GetRequiredValue(tokens));
            int longest = sequences.Max(sequence => sequence.Length);
            if (longest > opened.Model.Config.MaxPositionEmbeddings)
            {
                Console.Error.WriteLine($"moe: a sequence has {longest} tokens, more than the {opened.Model.Config.MaxPositionEmbeddings} positions that the model is meant for");
            }

            using Interruption interruption = new();
            LogitsFile.Write(opened.Model, sequences, parsed.GetRequiredValue(output), opened.Workers, interruption.Token);
            Console.Error.WriteLine($"{sequences.Sum(sequence => sequence.Length)} x {opened.Model.Config.VocabSize} logits in {parsed.GetRequiredValue(output)}");
            return CommandLine.Done;
        });
        return command;
    }
}
