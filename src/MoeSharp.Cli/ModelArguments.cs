using System.CommandLine;
using MoeSharp.Checkpoints;
using MoeSharp.Cli.Training;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Tokenization;

namespace MoeSharp.Cli;

/// <summary>The options of every verb that runs a model.</summary>
internal sealed class ModelArguments
{
    private readonly Option<string> _model = new("--model") { Description = "A run folder (its latest valid checkpoint), a checkpoint, or a Hugging Face model folder.", Required = true };
    private readonly Option<int> _threads = RunOptions.Threads();

    /// <summary>Gives the options to a command.</summary>
    public void AddTo(Command command)
    {
        command.Options.Add(_model);
        command.Options.Add(_threads);
    }

    /// <summary>Loads the model that the user named; damaged checkpoints that were passed over are reported on standard error.</summary>
    public OpenedModel Open(ParseResult parsed)
    {
        FoundModel found = ModelPath.Find(parsed.GetRequiredValue(_model));
        foreach (DamagedCheckpoint damaged in found.Damaged)
        {
            Console.Error.WriteLine($"moe: {damaged.Folder} is damaged and passed over: {damaged.Reason}");
        }

        return new OpenedModel(found.Folder, RunOptions.CheckThreads(parsed.GetValue(_threads)));
    }
}

/// <summary>A model ready to run, with its workers.</summary>
internal sealed class OpenedModel : IDisposable
{
    /// <summary>Loads the model.</summary>
    public OpenedModel(string folder, int threads)
    {
        Folder = folder;
        Model = ModelFolder.Load(folder);
        Workers = new WorkerPool(threads);
    }

    /// <summary>Folder of its files.</summary>
    public string Folder { get; }

    /// <summary>The model.</summary>
    public LanguageModel Model { get; }

    /// <summary>Its workers.</summary>
    public WorkerPool Workers { get; }

    /// <summary>The tokenizer saved beside the weights.</summary>
    public Tokenizer LoadTokenizer() => Tokenizer.Load(Folder);

    /// <inheritdoc/>
    public void Dispose()
    {
        Model.Dispose();
        Workers.Dispose();
    }
}
