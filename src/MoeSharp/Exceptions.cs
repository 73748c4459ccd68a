namespace MoeSharp;

/// <summary>Root of the errors that MoeSharp reports on purpose.</summary>
public abstract class MoeSharpException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>The user's input is wrong: a flag, a configuration, a text, a path. The message says what, where and how to fix it.</summary>
public sealed class ConfigurationException(string message, Exception? inner = null) : MoeSharpException(message, inner);

/// <summary>An intervention cannot be made in a model: its router does not choose by scores, or too few experts would remain.</summary>
public sealed class InterventionException(string message) : MoeSharpException(message);

/// <summary>A file from outside breaks the rules of its format, or a checkpoint is damaged. The message names the file and the rule.</summary>
public sealed class FileFormatException(string message, Exception? inner = null) : MoeSharpException(message, inner);

/// <summary>Training cannot go on: the loss or a gradient is not finite, or the disk refuses the checkpoint.</summary>
public sealed class TrainingException(string message, Exception? inner = null) : MoeSharpException(message, inner);

/// <summary>The engine has as many requests waiting as it may, or one has waited as long as it wanted to; the same request may succeed later.</summary>
public sealed class EngineBusyException(string message) : MoeSharpException(message);

/// <summary>An operation was given tensors that do not fit together.</summary>
public sealed class ShapeException(string message) : MoeSharpException(message)
{
    /// <summary>Throws with the operation, the argument and both shapes.</summary>
    [System.Diagnostics.CodeAnalysis.DoesNotReturn]
    public static void Throw(string operation, string argument, string expected, string actual) =>
        throw new ShapeException($"{operation}: {argument} has shape {actual}, expected {expected}");
}
