using System.Text.Json;

namespace MoeSharp.Training.Comparison;

/// <summary>Writes a comparison as JSON.</summary>
public static class ComparisonDocument
{
    /// <summary>Writes one object.</summary>
    /// <param name="json">Writer.</param>
    /// <param name="result">What the comparison came to.</param>
    /// <param name="folder">Its folder.</param>
    public static void Write(Utf8JsonWriter json, ComparisonResult result, string folder)
    {
        json.WriteStartObject();
        json.WriteString("experiment", result.Plan.Config.Name);
        json.WriteString("folder", folder);
        json.WriteNumber("runs", result.Plan.Runs.Count);
        json.WriteNumber("finished", result.NumFinished);
        json.WriteStartArray("conditions");
        foreach (ConditionResult condition in result.Conditions)
        {
            WriteCondition(json, condition);
        }

        json.WriteEndArray();
        WriteTexts(json, "conclusions", ComparisonFindings.Conclusions(result));
        WriteTexts(json, "limits", ComparisonFindings.Limits(result));
        WriteTexts(json, "failed", [.. result.Failed.Select(failed => $"{failed.Run.FolderName}: {failed.Reason}")]);
        json.WriteEndObject();
    }

    private static void WriteCondition(Utf8JsonWriter json, ConditionResult condition)
    {
        json.WriteStartObject();
        json.WriteString("corpus", condition.Condition.Corpus.Name);
        json.WriteNumber("steps", condition.Condition.Steps);
        json.WriteString("score", condition.IsRegret ? "regret" : "cross_entropy");
        json.WriteStartArray("architectures");
        foreach (ArchitectureResult row in condition.Rows)
        {
            WriteArchitecture(json, row);
        }

        json.WriteEndArray();
        json.WriteStartArray("differences");
        foreach (PairedDifference difference in condition.Differences)
        {
            json.WriteStartObject();
            json.WriteString("architecture", difference.Of.Architecture.Name);
            json.WriteString("minus", difference.Against.Architecture.Name);
            WriteMean(json, "difference", difference.Difference);
            Number(json, "t", difference.Difference.T);
            Number(json, "p", difference.Difference.PValue);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void WriteArchitecture(Utf8JsonWriter json, ArchitectureResult row)
    {
        json.WriteStartObject();
        json.WriteString("architecture", row.Architecture.Name);
        json.WriteStartObject("parameters");
        json.WriteNumber("total", row.Size.Total + row.Size.Router);
        json.WriteNumber("activated", row.Size.Activated + row.Size.Router);
        json.WriteNumber("routers", row.Size.Router);
        json.WriteEndObject();
        WriteMean(json, "score", row.Score);
        WriteMean(json, "recall", row.Recall);
        WriteMean(json, "seconds", row.Seconds);
        WriteMean(json, "load_max_over_mean", row.LoadMaxOverMean);
        WriteMean(json, "idle_experts", row.IdleExperts);
        json.WriteNumber("collapsed_runs", row.NumCollapsed);
        json.WriteNumber("recovered_runs", row.NumRecovered);
        json.WriteStartArray("router_saturation");
        foreach ((long step, double share) in row.Saturation)
        {
            json.WriteStartObject();
            json.WriteNumber("step", step);
            Number(json, "share", share);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteStartArray("runs");
        foreach (RunOutcome run in row.Runs)
        {
            json.WriteStartObject();
            json.WriteNumber("seed", run.Run.Seed);
            Number(json, "score", run.Score);
            Number(json, "loss", run.Loss);
            Number(json, "recall", run.Recall);
            Number(json, "seconds", run.Seconds);
            WriteTexts(json, "alarms", run.Alarms);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void WriteMean(Utf8JsonWriter json, string name, SampleMean mean)
    {
        json.WriteStartObject(name);
        Number(json, "mean", mean.Mean);
        Number(json, "standard_error", mean.StandardError);
        json.WriteNumber("count", mean.Count);
        json.WriteEndObject();
    }

    private static void WriteTexts(Utf8JsonWriter json, string name, IReadOnlyList<string> texts)
    {
        json.WriteStartArray(name);
        foreach (string text in texts)
        {
            json.WriteStringValue(text);
        }

        json.WriteEndArray();
    }

    private static void Number(Utf8JsonWriter json, string name, double value)
    {
        if (double.IsFinite(value))
        {
            json.WriteNumber(name, value);
        }
        else
        {
            json.WriteNull(name); // JSON has no NaN
        }
    }
}
