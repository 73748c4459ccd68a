using System.Globalization;
using System.Text.Json;
using MoeSharp.Checkpoints;
using MoeSharp.Kernels;
using MoeSharp.Kernels.Formats;
using MoeSharp.Planning;

namespace MoeSharp.Cli;

/// <summary>Tells what a model needs before it is loaded, and refuses what does not fit.</summary>
internal static class MemoryNotice
{
    /// <summary>Tokens whose keys and values are counted unless the user says how many.</summary>
    public const int UsualContext = 4096;

    private const long Large = 1_000_000_000; // bytes of weights; smaller models load before one has read the notice

    /// <summary>Tells the needs of a large model on standard error.</summary>
    /// <exception cref="ConfigurationException">It does not fit; the message says which formats would.</exception>
    public static void Show(ModelFiles files, WeightTarget weights, CacheFormat cache, int? wantedContext, WorkerPool workers)
    {
        int context = Math.Min(wantedContext ?? UsualContext, files.Config.MaxPositionEmbeddings);
        MemoryEstimate estimate = MemoryEstimate.Of(files.Config, files.Plan(weights), context, cache);
        long free = MachineMemory.FreeBytes();
        if (estimate.TotalBytes > free)
        {
            throw new ConfigurationException($"{files.Path}: {Needs(estimate, context)}, {Gigabytes(free)} are free; {Advice(files, weights, context, cache, free)}");
        }

        if (estimate.WeightBytes >= Large)
        {
            Console.Error.WriteLine($"moe: {Needs(estimate, context)}; {Gigabytes(free)} are free");
            double bandwidth = MachineProbe.ReadGbps(workers);
            Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"moe: a token reads {Gigabytes(estimate.BytesPerToken)} of weights: at most {estimate.CeilingTokensPerSecond(bandwidth):F1} tokens/s at {bandwidth:F1} GB/s"));
        }
    }

    /// <summary>Needs in words.</summary>
    public static string Needs(MemoryEstimate estimate, int context) =>
        $"{Gigabytes(estimate.TotalBytes)} are needed: {Gigabytes(estimate.WeightBytes)} weights ({Formats(estimate)}), {Gigabytes(estimate.KeyValueBytes)} keys and values of {context} tokens, {Gigabytes(estimate.ActivationBytes)} activations";

    /// <summary>Needs as part of a JSON document.</summary>
    public static void Write(Utf8JsonWriter json, MemoryEstimate estimate, int context, long free, double? bandwidth)
    {
        json.WriteStartObject();
        json.WriteNumber("context", context);
        json.WriteNumber("total_bytes", estimate.TotalBytes);
        json.WriteNumber("weight_bytes", estimate.WeightBytes);
        json.WriteStartObject("weight_bytes_by_format");
        foreach (FormatShare share in estimate.Formats)
        {
            json.WriteNumber(share.Format.Name(), share.Bytes);
        }

        json.WriteEndObject();
        json.WriteNumber("kv_cache_bytes", estimate.KeyValueBytes);
        json.WriteNumber("activation_bytes", estimate.ActivationBytes);
        json.WriteNumber("free_bytes", free);
        json.WriteBoolean("fits", estimate.TotalBytes <= free);
        json.WriteNumber("bytes_per_token", estimate.BytesPerToken);
        if (bandwidth is { } gbps)
        {
            json.WriteNumber("read_gb_per_second", gbps);
            json.WriteNumber("most_tokens_per_second", estimate.CeilingTokensPerSecond(gbps));
        }

        json.WriteEndObject();
    }

    /// <summary>Bytes for people.</summary>
    public static string Gigabytes(long bytes) => bytes < 100_000_000
        ? string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e6:F1} MB")
        : string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e9:F2} GB");

    /// <summary>Weights by format, in words.</summary>
    public static string Formats(MemoryEstimate estimate) => string.Join(", ", estimate.Formats.Take(4).Select(share => $"{share.Format.Name()} {Gigabytes(share.Bytes)}"));

    private static string Advice(ModelFiles files, WeightTarget refused, int context, CacheFormat cache, long free)
    {
        (WeightTarget Target, long Bytes)[] others =
        [
            .. WeightTarget.All.Where(target => target != refused).Select(target => (target, MemoryEstimate.Of(files.Config, files.Plan(target), context, cache).TotalBytes)).OrderByDescending(other => other.TotalBytes),
        ];
        foreach ((WeightTarget target, long bytes) in others)
        {
            if (bytes <= free)
            {
                return $"--weights {target.Name} needs {Gigabytes(bytes)}";
            }
        }

        return $"the smallest, --weights {others[^1].Target.Name}, needs {Gigabytes(others[^1].Bytes)}: use a machine with more memory, or a smaller model";
    }
}
