using System.Globalization;
using System.Text;
using MoeSharp.Training.Report;

namespace MoeSharp.Analysis.Study.Report;

/// <summary>Texts coloured by expert: each token has the colour of its heaviest expert in the layer that is shown; hovering or walking shows all of them.</summary>
internal static class TokenView
{
    private const double GoldenAngle = 137.508; // degrees: neighbouring numbers get distant hues

    /// <summary>Hue of an expert, degrees.</summary>
    public static int Hue(int expert) => (int)(expert * GoldenAngle % 360);

    /// <summary>Appends the section; nothing when no choices were kept.</summary>
    public static void Append(StringBuilder page, StudyResult result)
    {
        IReadOnlyList<TokenSample> samples = result.Statistics.Samples.All;
        if (samples.Count == 0)
        {
            return;
        }

        IReadOnlyList<LayerStatistics> layers = result.Statistics.Layers;
        page.Append("<h2 id=\"texts\">Token by token</h2>\n<p class=\"soft\">Each token has the colour of its heaviest expert in the layer shown. Point at a token, or walk with the arrow keys, to see all its experts and their weights in every layer. Some experts have colours that look alike; the numbers tell them apart.</p>\n");
        page.Append("<div class=\"panel chooser\"><label>Layer <select id=\"token-layer\">");
        for (int layer = 0; layer < layers.Count; layer++)
        {
            page.Append(CultureInfo.InvariantCulture, $"<option value=\"{layer}\">{layers[layer].Layer}</option>");
        }

        page.Append("</select></label> <label>Expert <input id=\"token-expert\" type=\"number\" min=\"0\" placeholder=\"all\" aria-describedby=\"token-hint\"></label> <span id=\"token-hint\" class=\"soft\">a number here leaves only that expert's tokens coloured</span>\n<div id=\"token-detail\" class=\"detail\" aria-live=\"polite\">Choose a token.</div></div>\n");
        foreach (TokenSample sample in samples)
        {
            AppendSample(page, result, sample);
        }
    }

    private static void AppendSample(StringBuilder page, StudyResult result, TokenSample sample)
    {
        StudyDocument document = result.Text.Documents[sample.Document];
        string layers = string.Join(',', result.Statistics.Layers.Select(layer => layer.Layer));
        page.Append(CultureInfo.InvariantCulture, $"<h3>{Html.Text(document.Domain.Length == 0 ? $"document {sample.Document}" : document.Domain)}</h3><pre class=\"tokens\" tabindex=\"0\" role=\"group\" aria-label=\"text coloured by expert; arrow keys walk\" data-layers=\"{layers}\" data-k=\"{sample.TopK}\">");
        for (int token = 0; token < sample.NumTokens; token++)
        {
            (int[][] ids, float[][] weights) = (sample.ExpertIds, sample.RoutingWeights);
            int heaviest = Heaviest(ids[0], weights[0], token, sample.TopK);
            string hue = heaviest < 0 ? "" : string.Create(CultureInfo.InvariantCulture, $" style=\"--h:{Hue(heaviest)}\"");
            page.Append(CultureInfo.InvariantCulture, $"<i data-e=\"{Choices(ids, weights, token, sample.TopK)}\"{hue}>{Html.Text(result.Tokens.Text(document.Inputs[token]))}</i>");
        }

        page.Append("</pre>\n");
    }

    private static int Heaviest(int[] ids, float[] weights, int token, int topK)
    {
        int best = token * topK;
        for (int slot = best + 1; slot < (token + 1) * topK; slot++)
        {
            best = weights[slot] > weights[best] ? slot : best;
        }

        return ids[best];
    }

    // expert:weight in percent, slots apart by blanks, layers by semicolons
    private static string Choices(int[][] ids, float[][] weights, int token, int topK)
    {
        StringBuilder text = new();
        for (int layer = 0; layer < ids.Length; layer++)
        {
            text.Append(layer == 0 ? "" : ";");
            bool isEmpty = true;
            for (int slot = token * topK; slot < (token + 1) * topK; slot++)
            {
                if (ids[layer][slot] >= 0)
                {
                    text.Append(isEmpty ? "" : " ").Append(CultureInfo.InvariantCulture, $"{ids[layer][slot]}:{100 * weights[layer][slot]:0.#}");
                    isEmpty = false;
                }
            }

            text.Append(isEmpty ? "-1:0" : "");
        }

        return text.ToString();
    }
}
