using System.Globalization;
using System.Text;
using System.Text.Json;
using MoeSharp.Checkpoints;
using MoeSharp.Checkpoints.Export;
using MoeSharp.Inference;
using MoeSharp.Kernels.Formats;
using MoeSharp.Model;

namespace MoeSharp.Cli;

/// <summary>What was converted of what, and how near the result is: beside the new model, as JSON and as text.</summary>
/// <param name="source">Source model.</param>
/// <param name="config">Its architecture.</param>
/// <param name="weights">Formats asked for.</param>
/// <param name="report">What was written.</param>
/// <param name="calibrationTokens">Tokens of calibration text; 0 without.</param>
/// <param name="distance">Logits of the two models on given text, or null.</param>
internal sealed class ExportReceipt(string source, ModelConfig config, WeightTarget weights, ExportReport report, int calibrationTokens, LogitDistance? distance)
{
    private string Target => Path.TrimEndingDirectorySeparator(report.Path);

    /// <summary>Writes both forms beside the target.</summary>
    public void Save()
    {
        File.WriteAllText(Target + ".receipt.json", ToJson());
        File.WriteAllText(Target + ".receipt.txt", ToText());
    }

    /// <summary>For people.</summary>
    public string ToText()
    {
        StringBuilder text = new();
        Line(text, "source", $"{source} ({config.ModelType}): {report.SourceTensorsUsed} of {report.SourceTensors} tensors, {MemoryNotice.Gigabytes(report.SourceBytes)}");
        if (report.Ignored.Count > 0)
        {
            Line(text, "left out", $"{report.Ignored.Count} tensors that the model does not need: {string.Join(", ", report.Ignored.Take(4))}{(report.Ignored.Count > 4 ? ", ..." : "")}");
        }

        Line(text, "written", $"{Target}: {report.Tensors.Count} tensors, {MemoryNotice.Gigabytes(report.Bytes)}");
        foreach ((WeightFormat format, int tensors, long bytes) in Formats())
        {
            Line(text, "", $"{format.Name(),-8}{tensors,6} tensors {MemoryNotice.Gigabytes(bytes),12}");
        }

        if (calibrationTokens > 0)
        {
            Line(text, "calibration", $"{calibrationTokens} tokens; {report.Coverage.Sum(layer => layer.Rows.Count - layer.NumUnreached)} of {report.Coverage.Sum(layer => layer.Rows.Count)} experts reached");
        }

        if (distance is { } checkedLogits)
        {
            Line(text, "check", $"{checkedLogits.Rows} tokens: logits differ by {checkedLogits.Largest:G3} at most, {checkedLogits.Mean:G3} on average; KL {checkedLogits.Divergence:G3} nats; {checkedLogits.SameBest:P1} same best token");
        }

        foreach (string warning in report.Warnings)
        {
            Line(text, "warning", $"{warning}");
        }

        return text.ToString();
    }

    /// <summary>For programs.</summary>
    public string ToJson()
    {
        using MemoryStream stream = new();
        using (Utf8JsonWriter json = new(stream, new JsonWriterOptions { Indented = true, NewLine = "\n" }))
        {
            json.WriteStartObject();
            json.WriteString("source", source);
            json.WriteString("target", Target);
            json.WriteString("model_type", config.ModelType);
            json.WriteString("weights", weights.Name);
            json.WriteNumber("source_tensors", report.SourceTensors);
            json.WriteNumber("source_tensors_used", report.SourceTensorsUsed);
            json.WriteNumber("source_bytes", report.SourceBytes);
            json.WriteNumber("tensors", report.Tensors.Count);
            json.WriteNumber("bytes", report.Bytes);
            json.WriteNumber("tensors_converted", report.Tensors.Count(tensor => !tensor.IsCopied));
            json.WriteNumber("bytes_converted", report.Tensors.Where(tensor => !tensor.IsCopied).Sum(tensor => tensor.Bytes));
            WriteFormats(json);
            WriteTexts(json, "left_out", report.Ignored);
            WriteCoverage(json);
            WriteCheck(json);
            WriteTexts(json, "warnings", report.Warnings);
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(stream.ToArray()) + "\n";
    }

    private static void Line(StringBuilder text, string label, FormattableString value) => text.Append(CultureInfo.InvariantCulture, $"{label,-13}{value.ToString(CultureInfo.InvariantCulture)}\n");

    private static void WriteTexts(Utf8JsonWriter json, string name, IReadOnlyList<string> texts)
    {
        json.WriteStartArray(name);
        foreach (string text in texts)
        {
            json.WriteStringValue(text);
        }

        json.WriteEndArray();
    }

    private IEnumerable<(WeightFormat Format, int Tensors, long Bytes)> Formats() => report.Tensors
        .GroupBy(tensor => tensor.Format)
        .Select(group => (group.Key, group.Count(), group.Sum(tensor => tensor.Bytes)))
        .OrderByDescending(row => row.Item3);

    private void WriteFormats(Utf8JsonWriter json)
    {
        json.WriteStartObject("formats");
        foreach ((WeightFormat format, int tensors, long bytes) in Formats())
        {
            json.WriteStartObject(format.Name());
            json.WriteNumber("tensors", tensors);
            json.WriteNumber("bytes", bytes);
            json.WriteEndObject();
        }

        json.WriteEndObject();
    }

    private void WriteCoverage(Utf8JsonWriter json)
    {
        if (calibrationTokens == 0)
        {
            json.WriteNull("calibration");
            return;
        }

        json.WriteStartObject("calibration");
        json.WriteNumber("tokens", calibrationTokens);
        json.WriteStartArray("experts");
        foreach (ExpertCoverage layer in report.Coverage)
        {
            json.WriteStartObject();
            json.WriteString("weights", layer.Parameter);
            json.WriteNumber("not_reached", layer.NumUnreached);
            json.WriteStartArray("rows");
            foreach (long rows in layer.Rows)
            {
                json.WriteNumberValue(rows);
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    }

    private void WriteCheck(Utf8JsonWriter json)
    {
        if (distance is not { } check)
        {
            json.WriteNull("check");
            return;
        }

        json.WriteStartObject("check");
        json.WriteNumber("tokens", check.Rows);
        json.WriteFinite("max_logit_difference", check.Largest);
        json.WriteFinite("mean_logit_difference", check.Mean);
        json.WriteFinite("kl_divergence", check.Divergence);
        json.WriteFinite("top_1_agreement", check.SameBest);
        json.WriteEndObject();
    }
}
