using MoeSharp.Tokenization;

namespace MoeSharp.Data;

/// <summary>What says of which task a text is.</summary>
public enum TaskNaming
{
    /// <summary>Nothing: texts have no tasks.</summary>
    None,

    /// <summary>The name of its file, without the ending.</summary>
    File,

    /// <summary>The name of the folder that its file is in.</summary>
    Folder,

    /// <summary>The field <c>domain</c> of its .jsonl record.</summary>
    Field,
}

/// <summary>A task that a vocabulary has a token for.</summary>
/// <param name="Name">Name, for example of a folder of texts.</param>
/// <param name="Token">Token that begins its texts.</param>
public readonly record struct NamedTask(string Name, int Token);

/// <summary>Special tokens that announce tasks: <c>&lt;|task:NAME|&gt;</c> stands before a text of the task NAME, in place of the token that begins a text.</summary>
public static class TaskTokens
{
    private const string Prefix = "<|task:";
    private const string Suffix = "|>";

    /// <summary>The token of a task, as a vocabulary spells it.</summary>
    public static string Spell(string name) => Prefix + name + Suffix;

    /// <summary>The tasks that a vocabulary knows, by id.</summary>
    public static IReadOnlyList<NamedTask> In(Tokenizer tokenizer) =>
    [
        .. tokenizer.AddedTokens
            .Where(token => token.Content.StartsWith(Prefix, StringComparison.Ordinal) && token.Content.EndsWith(Suffix, StringComparison.Ordinal))
            .Select(token => new NamedTask(token.Content[Prefix.Length..^Suffix.Length], token.Id))
            .OrderBy(task => task.Token),
    ];

    /// <summary>The token of a task; null where the vocabulary has none.</summary>
    public static int? Find(Tokenizer tokenizer, string name) => tokenizer.FindToken(Spell(name));

    /// <summary>A text to be continued, as training texts of its task begin.</summary>
    /// <param name="token">Token of the task.</param>
    /// <param name="text">The text.</param>
    /// <param name="tokenizer">Its tokenizer.</param>
    public static int[] Announce(int token, string text, Tokenizer tokenizer) => [token, .. tokenizer.Encode(text, addSpecialTokens: false)];
}
