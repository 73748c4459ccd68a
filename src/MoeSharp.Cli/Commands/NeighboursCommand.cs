using System.CommandLine;
using System.Globalization;
using MoeSharp.Analysis;
using MoeSharp.Checkpoints;
using MoeSharp.Cli.Study;
using MoeSharp.Cli.Training;
using MoeSharp.Kernels;
using MoeSharp.Model;
using MoeSharp.Model.Routers;
using MoeSharp.Moe.Dispatch;
using MoeSharp.Tokenization;

namespace MoeSharp.Cli.Commands;

/// <summary><c>moe neighbours</c>: whether a text's logits depend on the texts computed beside it, with a capacity factor and without.</summary>
internal static class NeighboursCommand
{
    private const int DefaultTexts = 8;
    private const int DefaultTokens = 48;
    private const int ShareOfLongTexts = 16; // texts read for one that is long enough, at most

    private static readonly Argument<string> s_model = new("model") { Description = "A run folder, a checkpoint, a Hugging Face folder or a .gguf file." };
    private static readonly Option<string[]> s_data = new("--data") { Description = "Files, folders or globs; or: embedded, the built-in corpus.", Required = true, AllowMultipleArgumentsPerToken = true };
    private static readonly Option<double[]> s_factors = new("--capacity-factor") { Description = "Factors to try beside no limit: an expert takes so many times its even share of a pass.", AllowMultipleArgumentsPerToken = true, DefaultValueFactory = _ => [1.0, 2.0] };
    private static readonly Option<int> s_texts = new("--texts") { Description = "Texts computed together.", DefaultValueFactory = _ => DefaultTexts };
    private static readonly Option<int> s_tokens = new("--tokens") { Description = "Tokens of each; shorter texts are passed over.", DefaultValueFactory = _ => DefaultTokens };
    private static readonly Option<int> s_threads = RunOptions.Threads();
    private static readonly Option<bool> s_json = RunOptions.Json();

    /// <summary>Builds the verb.</summary>
    public static Command Create()
    {
        Command command = new("neighbours", "Shows whether a text's logits depend on the texts computed beside it: with a capacity factor they do, without one they do not.")
        {
            s_model, s_data, s_factors, s_texts, s_tokens, s_threads, s_json,
        };
        command.SetAction(Run);
        return command;
    }

    private static int Run(ParseResult parsed)
    {
        using ModelFiles files = ModelFiles.Open(ModelArguments.FindPath(parsed.GetRequiredValue(s_model)));
        MoeConfig moe = files.Config.Moe ?? throw new ConfigurationException("the model has no experts; name one that has");
        if (moe.Router.DecodingRefusal is { } refusal)
        {
            throw new ConfigurationException($"texts cannot be compared alone and in company with the router '{moe.Router.Name}': {refusal}");
        }

        // Places of GShard's own are for training passes; beside a capacity factor they would be refused.
        moe = moe.Router is GShardRouterConfig gshard ? moe with { Router = gshard with { ExpertCapacity = null, GroupSize = null } } : moe;
        double[] factors = parsed.GetValue(s_factors) ?? [];
        if (Array.Exists(factors, factor => !(factor > 0) || !double.IsFinite(factor)))
        {
            throw new ConfigurationException($"--capacity-factor {string.Join(' ', factors.Select(factor => factor.ToString(CultureInfo.InvariantCulture)))}: give positive numbers, for example 1 1.25 2; the table begins without a limit anyway");
        }

        List<int[]> texts = Texts(parsed, files);
        int threads = RunOptions.CheckThreads(parsed.GetValue(s_threads));
        using WorkerPool workers = new(threads);
        using Interruption interruption = new();
        List<(double Factor, NeighbourInfluence Result)> rows = [];
        foreach (double factor in (double[])[0, .. factors.Order()])
        {
            ModelConfig config = files.Config with { Moe = moe with { Capacity = factor == 0 ? null : new CapacityRule { EvaluationFactor = factor } } };
            config.Validate("--capacity-factor");
            using LanguageModel model = new(config);
            files.Fill(model.Parameters, new LoadOptions { Weights = WeightTarget.Native, Threads = threads }, interruption.Token);
            rows.Add((factor, NeighbourInfluence.Measure(model, texts, workers, interruption.Token)));
        }

        if (parsed.GetValue(s_json))
        {
            Write(rows);
        }
        else
        {
            Show(rows, parsed.InvocationConfiguration.Output);
        }

        return CommandLine.Done;
    }

    private static List<int[]> Texts(ParseResult parsed, ModelFiles files)
    {
        (int wanted, int tokens) = (parsed.GetValue(s_texts), parsed.GetValue(s_tokens));
        if (wanted < 2 || tokens < 1 || tokens > files.Config.MaxPositionEmbeddings)
        {
            throw new ConfigurationException($"--texts {wanted} must be at least 2, --tokens {tokens} between 1 and the model's {files.Config.MaxPositionEmbeddings}");
        }

        StudySource source = new() { Data = parsed.GetRequiredValue(s_data), MostTokens = (int)Math.Min(int.MaxValue, (long)wanted * tokens * ShareOfLongTexts) };
        Tokenizer tokenizer = GgufTokenizer.LoadAny(files.Path);
        List<int[]> texts = [.. source.Read(tokenizer).Where(document => document.Inputs.Length >= tokens).Take(wanted).Select(document => document.Inputs[..tokens])];
        return texts.Count == wanted ? texts : throw new ConfigurationException($"--data holds {texts.Count} texts of {tokens} tokens, {wanted} are wanted; give more text, or lower --tokens or --texts");
    }

    private static void Show(List<(double Factor, NeighbourInfluence Result)> rows, TextWriter output)
    {
        output.WriteLine("Every text is computed alone and again behind the others; attention never sees them.");
        output.WriteLine($"{"capacity factor",-17}{"texts changed",15}{"largest logit difference",27}{"favourites changed",21}{"dropped alone, together",26}");
        foreach ((double factor, NeighbourInfluence result) in rows)
        {
            string name = factor == 0 ? "none" : factor.ToString("0.###", CultureInfo.InvariantCulture);
            string drops = string.Create(CultureInfo.InvariantCulture, $"{100 * result.DropRateAlone:0.0} %, {100 * result.DropRateTogether:0.0} %");
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{name,-17}{$"{result.NumChanged} of {result.NumTexts}",15}{result.LargestDifference,27:0.####}{$"{result.NumFavouritesChanged} of {result.NumRows}",21}{drops,26}"));
        }
    }

    private static void Write(List<(double Factor, NeighbourInfluence Result)> rows) => JsonDocumentOutput.Write(json =>
    {
        json.WriteStartArray();
        foreach ((double factor, NeighbourInfluence result) in rows)
        {
            json.WriteStartObject();
            if (factor == 0)
            {
                json.WriteNull("capacity_factor");
            }
            else
            {
                json.WriteNumber("capacity_factor", factor);
            }

            json.WriteNumber("texts", result.NumTexts);
            json.WriteNumber("texts_changed", result.NumChanged);
            json.WriteFinite("largest_logit_difference", result.LargestDifference);
            json.WriteNumber("rows", result.NumRows);
            json.WriteNumber("favourites_changed", result.NumFavouritesChanged);
            json.WriteNumber("drop_rate_alone", result.DropRateAlone);
            json.WriteNumber("drop_rate_together", result.DropRateTogether);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    });
}
