using System.CommandLine;
using MoeSharp.Data;
using MoeSharp.Tokenization;

namespace MoeSharp.Cli;

/// <summary>The flag <c>--task</c>: of which task a text is, for models that were trained on texts of named tasks.</summary>
internal sealed class TaskArgument
{
    private readonly Option<string?> _task = new("--task") { Description = "Task of the text, for a model that was trained on texts of named tasks (data.task_from)." };

    /// <summary>Adds the flag.</summary>
    public void AddTo(Command command) => command.Options.Add(_task);

    /// <summary>The token that announces the task; null where none is given.</summary>
    /// <exception cref="ConfigurationException">The model does not know the task.</exception>
    public int? Token(ParseResult parsed, Tokenizer tokenizer)
    {
        IReadOnlyList<NamedTask> tasks = TaskTokens.In(tokenizer);
        string known = string.Join(", ", tasks.Select(task => task.Name));
        if (parsed.GetValue(_task) is { } name)
        {
            return TaskTokens.Find(tokenizer, name) ?? throw new ConfigurationException(tasks.Count == 0
                ? $"--task {name}: this model was not trained on texts of named tasks. Leave it out."
                : $"--task {name}: this model does not know that task. It knows {known}.");
        }

        if (tasks.Count > 0)
        {
            Console.Error.WriteLine($"moe: this model was trained on texts of named tasks; say with --task which of them the text is: {known}");
        }

        return null;
    }
}
