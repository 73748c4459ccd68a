using System.CommandLine;
using MoeSharp.Execution;
using MoeSharp.Inference;
using MoeSharp.Model;
using MoeSharp.Planning;
using MoeSharp.Tokenization;

namespace MoeSharp.Cli;

/// <summary>The options of the verbs that write texts: room for the text, and how much of a prompt goes through the model at once.</summary>
internal sealed class EngineArguments
{
    private const double CacheShareOfFreeMemory = 0.9; // the rest is for activations and other programs

    private readonly Option<int?> _context = new("--ctx") { Description = "Most tokens of the text, prompt included. Without it, what the model's positions allow; memory is only taken for tokens that are there." };
    private readonly Option<int> _chunk = new("--chunk") { Description = "Tokens of the prompt that go through the model at once; more are faster and take more memory.", DefaultValueFactory = _ => new EngineOptions().ChunkTokens };

    /// <summary>Gives the options to a command.</summary>
    public void AddTo(Command command)
    {
        command.Options.Add(_context);
        command.Options.Add(_chunk);
    }

    /// <summary>Tokens that the user wants room for, or null.</summary>
    /// <exception cref="ConfigurationException">There can be no text of that length.</exception>
    public int? Context(ParseResult parsed) => parsed.GetValue(_context) is < 1 and { } context ? throw new ConfigurationException($"--ctx {context} must be at least 1") : parsed.GetValue(_context);

    /// <summary>Starts an engine.</summary>
    /// <param name="parsed">The arguments.</param>
    /// <param name="opened">The model.</param>
    /// <param name="tokenizer">Its tokenizer.</param>
    /// <param name="parallel">Texts written at the same time.</param>
    public Engine Start(ParseResult parsed, OpenedModel opened, Tokenizer tokenizer, int parallel = 1)
    {
        ModelConfig config = opened.Model.Config;
        int? context = Context(parsed);
        if (context > config.MaxPositionEmbeddings)
        {
            throw new ConfigurationException($"--ctx {context} is more than the {config.MaxPositionEmbeddings} positions of the model");
        }

        CacheLayout layout = ModelCacheLayout.Of(opened.Model);
        long wanted = parallel * (layout.StatePages + KeyValuePages.PagesFor(context ?? config.MaxPositionEmbeddings) + 1); // a page that another text left half full is copied
        long pages = Math.Clamp((long)(CacheShareOfFreeMemory * MachineMemory.FreeBytes()) / layout.PageBytes, layout.StatePages + 1, wanted);
        return new Engine(opened.Model, tokenizer, opened.Workers, new EngineOptions
        {
            MaxSequences = parallel,
            ChunkTokens = parsed.GetValue(_chunk),
            ContextLength = (int)Math.Min(context ?? config.MaxPositionEmbeddings, (pages - layout.StatePages) * KeyValuePages.PageTokens),
            CacheBytes = pages * layout.PageBytes,
        });
    }
}
