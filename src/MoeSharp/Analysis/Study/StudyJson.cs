using System.Text.Json;
using MoeSharp.Execution;
using MoeSharp.Training;

namespace MoeSharp.Analysis.Study;

/// <summary>A study as JSON: every figure of the report.</summary>
public static class StudyJson
{
    private const int LiftTokens = 12;
    private const long FewestSlots = 12; // below which a lift is chance (arbitrary)

    /// <summary>Writes the study as one object.</summary>
    public static void Write(Utf8JsonWriter json, StudyResult result)
    {
        json.WriteStartObject();
        json.WriteString("model", result.Model);
        json.WriteString("data", result.TextName);
        json.WriteNumber("tokens", result.Text.NumScored);
        json.WriteNumber("documents", result.Text.Documents.Count);
        json.WriteString("standard_error_over", result.Curves.Baseline.ErrorUnit == Inference.ErrorUnit.Document ? "documents" : "windows");
        WriteEstimate(json, "loss", result.Curves.Baseline.Loss);
        WriteFinite(json, "bits_per_byte", result.Curves.Baseline.BitsPerByte);
        if (result.Floor is { } floor)
        {
            json.WriteNumber("floor", floor);
        }

        WriteFinite(json, "recording_seconds", result.RecordingSeconds);
        WriteFinite(json, "further_seconds", result.FurtherSeconds);
        WriteCurves(json, result.Curves);
        if (result.SwitchedOff is { } off)
        {
            json.WritePropertyName("switched_off");
            WritePoint(json, off);
        }

        if (result.Rival is { } rival)
        {
            json.WriteStartObject("with");
            json.WriteString("model", rival.Model);
            WriteEstimate(json, "loss", rival.Curves.Baseline.Loss);
            WriteFinite(json, "bits_per_byte", rival.Curves.Baseline.BitsPerByte);
            if (rival.Increase is { } increase)
            {
                WriteEstimate(json, "increase", increase);
            }

            WriteCurves(json, rival.Curves);
            json.WriteEndObject();
        }

        WriteDomains(json, result);
        WriteLayers(json, "layers", result, result.Statistics.Layers);
        if (result.Statistics.AttentionLayers.Count > 0)
        {
            WriteLayers(json, "attention_layers", result, result.Statistics.AttentionLayers);
        }

        WriteFacts(json, result.Facts);
        WriteSaturation(json, result.Saturation);
        json.WriteStartArray("summary");
        foreach (string sentence in StudySummary.Sentences(result))
        {
            json.WriteStringValue(sentence);
        }

        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void WriteCurves(Utf8JsonWriter json, SpecialisationCurves curves)
    {
        WritePoints(json, "masked", curves.Masked);
        WritePoints(json, "without_shared", curves.Shared);
        WritePoints(json, "fewer", curves.Fewer);
        if (curves.Refusal is { } refusal)
        {
            json.WriteString("refusal", refusal);
        }
    }

    private static void WritePoints(Utf8JsonWriter json, string name, IReadOnlyList<StudyPoint> points)
    {
        json.WriteStartArray(name);
        foreach (StudyPoint point in points)
        {
            WritePoint(json, point);
        }

        json.WriteEndArray();
    }

    private static void WritePoint(Utf8JsonWriter json, StudyPoint point)
    {
        json.WriteStartObject();
        json.WriteString("name", point.Name);
        json.WriteNumber("x", point.X);
        WriteEstimate(json, "loss", point.Loss);
        WriteEstimate(json, "increase", point.Increase);
        json.WriteEndObject();
    }

    private static void WriteDomains(Utf8JsonWriter json, StudyResult result)
    {
        json.WriteStartArray("domains");
        for (int domain = 0; domain < result.Text.Domains.Length; domain++)
        {
            json.WriteStartObject();
            json.WriteString("name", result.Text.Domains[domain]);
            WriteFinite(json, "loss", result.Curves.Baseline.OfDomain(domain));
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void WriteLayers(Utf8JsonWriter json, string name, StudyResult result, IReadOnlyList<LayerStatistics> layers)
    {
        json.WriteStartArray(name);
        foreach (LayerStatistics layer in layers)
        {
            json.WriteStartObject();
            json.WriteNumber("layer", layer.Layer);
            if (layer.Part != ExpertPart.FeedForward)
            {
                json.WriteString("part", layer.Name[(layer.Name.IndexOf(',', StringComparison.Ordinal) + 2)..]);
            }

            json.WriteNumber("experts", layer.NumExperts);
            json.WriteNumber("top_k", layer.TopK);
            WriteFinite(json, "max_violation", layer.MaxViolation);
            WriteFinite(json, "batch_max_violation", layer.BatchMaxViolation);
            WriteFinite(json, "load_p05", layer.LoadQuantile(0.05));
            WriteFinite(json, "load_p50", layer.LoadQuantile(0.5));
            WriteFinite(json, "load_p95", layer.LoadQuantile(0.95));
            WriteFinite(json, "load_cv", layer.LoadVariation);
            WriteFinite(json, "load_entropy", layer.LoadEntropy);
            WriteFinite(json, "router_entropy", layer.RouterEntropy);
            WriteFinite(json, "token_information_bits", layer.Lift.MutualInformation());
            WriteFinite(json, "shared_share", layer.SharedShare);
            WriteFinite(json, "drop_rate", layer.DropRate);
            json.WriteNumber("dead_experts", layer.NumDead);
            WriteExperts(json, result, layer);
            WriteMatrix(json, "domain_similarity", result.Text.Domains.Length, layer.DomainSimilarity);
            WriteMatrix(json, "co_activation", layer.NumExperts, layer.CoActivation);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void WriteExperts(Utf8JsonWriter json, StudyResult result, LayerStatistics layer)
    {
        json.WriteStartArray("load");
        for (int expert = 0; expert < layer.NumExperts; expert++)
        {
            json.WriteStartObject();
            json.WriteNumber("tokens", layer.Load[expert]);
            WriteFinite(json, "load", Math.Round(layer.RelativeLoad(expert), 4));
            WriteFinite(json, "mass", Math.Round(layer.RelativeMass(expert), 4));
            json.WriteStartArray("by_domain");
            for (int domain = 0; domain < result.Text.Domains.Length; domain++)
            {
                json.WriteNumberValue(Math.Round(layer.DomainLoad(domain, expert), 4));
            }

            json.WriteEndArray();
            json.WriteStartArray("top_tokens");
            foreach (LiftedToken token in layer.Lift.Top(expert, LiftTokens, FewestSlots))
            {
                json.WriteStartObject();
                json.WriteNumber("id", token.Token);
                json.WriteString("text", result.Tokens.Text(token.Token));
                json.WriteNumber("lift", Math.Round(token.Lift, 3));
                json.WriteNumber("count", token.Count);
                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void WriteMatrix(Utf8JsonWriter json, string name, int size, Func<int, int, double> value)
    {
        json.WriteStartArray(name);
        for (int row = 0; row < size; row++)
        {
            json.WriteStartArray();
            for (int column = 0; column < size; column++)
            {
                double cell = value(row, column);
                if (double.IsFinite(cell))
                {
                    json.WriteNumberValue(Math.Round(cell, 4));
                }
                else
                {
                    json.WriteNullValue();
                }
            }

            json.WriteEndArray();
        }

        json.WriteEndArray();
    }

    private static void WriteFacts(Utf8JsonWriter json, FactStudy? facts)
    {
        if (facts is null)
        {
            return;
        }

        json.WriteStartObject("facts");
        json.WriteNumber("questions", facts.Questions.Count);
        WriteFinite(json, "recall", facts.All.Recall);
        WriteFinite(json, "answer_loss", facts.All.Loss);
        if (facts.WithoutShared is { } shared)
        {
            WriteFinite(json, "recall_without_shared", shared.Recall);
        }

        if (facts.WithoutSet is { } set)
        {
            WriteFinite(json, "recall_switched_off", set.Recall);
        }

        json.WriteStartArray("experts");
        foreach (ExpertLoss loss in facts.Experts)
        {
            json.WriteStartObject();
            json.WriteNumber("layer", loss.Place.Layer);
            json.WriteNumber("expert", loss.Place.Expert);
            WriteFinite(json, "recall", loss.Scores.Recall);
            json.WriteNumber("answers_lost", facts.NumLost(loss.Scores));
            WriteEstimate(json, "increase", loss.Increase);
            json.WriteStartObject("by_kind");
            foreach (string group in facts.Groups)
            {
                WriteFinite(json, group, Math.Round(facts.IncreaseOf(loss, group).Mean, 4));
            }

            json.WriteEndObject();
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void WriteSaturation(Utf8JsonWriter json, IReadOnlyList<SaturationPoint> points)
    {
        json.WriteStartArray("router_saturation");
        foreach (SaturationPoint point in points)
        {
            json.WriteStartObject();
            json.WriteNumber("step", point.Step);
            WriteFinite(json, "mean", point.Mean);
            json.WriteStartArray("layers");
            foreach (double share in point.Shares)
            {
                json.WriteNumberValue(Math.Round(share, 4));
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void WriteEstimate(Utf8JsonWriter json, string name, Estimate estimate)
    {
        WriteFinite(json, name, estimate.Mean);
        WriteFinite(json, name + "_standard_error", estimate.StandardError);
    }

    private static void WriteFinite(Utf8JsonWriter json, string name, double value)
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
