using System.Globalization;
using System.Text;
using MoeSharp.Training.Report;

namespace MoeSharp.Analysis.Study.Report;

/// <summary>The pictures of a study: loads, domains, pairs of experts, facts, and the tokens of every expert.</summary>
internal static class StudyPictures
{
    private const double FullLoad = 2.5; // times the mean: the darkest colour
    private const int TopTokens = 10;
    private const long FewestSlots = 8; // below which a lift is chance (arbitrary)

    /// <summary>Appends the sections.</summary>
    public static void Append(StringBuilder page, StudyResult result)
    {
        AppendLoads(page, result.Statistics.Layers);
        AppendDomains(page, result);
        AppendFacts(page, result.Facts);
        AppendPairs(page, result.Statistics.Layers);
        page.Append("<h2 id=\"tokens\">Which tokens the experts take</h2>\n<p class=\"soft\">By lift, p(token | expert) / p(token), among tokens that the expert took often enough.</p>\n");
        AppendTokens(page, result, result.Statistics.Layers);
    }

    /// <summary>Appends loads and tokens of experts within attention.</summary>
    public static void AppendAttention(StringBuilder page, StudyResult result)
    {
        IReadOnlyList<LayerStatistics> layers = result.Statistics.AttentionLayers;
        page.Append("<h2 id=\"attention\">Experts in attention</h2>\n<p class=\"soft\">One row per router, one cell per expert: tokens taken over the mean. Where every head has its own experts, they stand side by side.</p><div class=\"panel\">");
        AppendLoadPicture(page, layers);
        page.Append("</div>\n");
        AppendTokens(page, result, layers);
    }

    private static void AppendLoadPicture(StringBuilder page, IReadOnlyList<LayerStatistics> layers) =>
        HeatTable.Append(page, new HeatMatrix("Load of the experts", "x the mean", "expert", Layers(layers), Experts(layers.Max(layer => layer.NumExperts)), FullLoad, (row, expert) => expert < layers[row].NumExperts ? layers[row].RelativeLoad(expert) : double.NaN));

    private static void AppendLoads(StringBuilder page, IReadOnlyList<LayerStatistics> layers)
    {
        page.Append("<h2 id=\"load\">Load of the experts</h2>\n<p class=\"soft\">One row per layer, one cell per routed expert: tokens taken over the mean of the layer. Mass is the same for the weights with which they were taken.</p><div class=\"panel\">");
        AppendLoadPicture(page, layers);
        page.Append("<h3>Mass of the weights</h3>");
        HeatTable.Append(page, new HeatMatrix("Share of the routing weights", "x the mean", "expert", Layers(layers), Experts(layers.Max(layer => layer.NumExperts)), FullLoad, (row, expert) => expert < layers[row].NumExperts ? layers[row].RelativeMass(expert) : double.NaN));
        page.Append("</div>\n<div class=\"panel scroll\"><table><tr><th class=\"number\">layer</th><th class=\"number\">MaxVio</th><th class=\"number\">in a pass</th><th class=\"number\">load p5 / p50 / p95</th><th class=\"number\">dead</th><th class=\"number\">dropped</th><th class=\"number\">load entropy</th><th class=\"number\">router entropy</th><th class=\"number\">token bits</th><th class=\"number\">shared share</th></tr>\n");
        foreach (LayerStatistics layer in layers)
        {
            page.Append(CultureInfo.InvariantCulture, $"<tr><td class=\"number\">{layer.Layer}</td><td class=\"number\">{layer.MaxViolation:0.00}</td><td class=\"number\">{layer.BatchMaxViolation:0.00}</td><td class=\"number\">{layer.LoadQuantile(0.05):0.00} / {layer.LoadQuantile(0.5):0.00} / {layer.LoadQuantile(0.95):0.00}</td><td class=\"number\">{layer.NumDead}</td><td class=\"number\">{100 * layer.DropRate:0.0} %</td><td class=\"number\">{layer.LoadEntropy:0.000}</td><td class=\"number\">{Finite(layer.RouterEntropy, "0.000")}</td><td class=\"number\">{layer.Lift.MutualInformation():0.00}</td><td class=\"number\">{Finite(layer.SharedShare, "0.00")}</td></tr>\n");
        }

        page.Append("</table></div>\n<p class=\"soft\">Entropies are over their largest value: 1 is even loads, or an indifferent router. Shared share: length of the shared output over that of both outputs.</p>\n");
    }

    private static void AppendDomains(StringBuilder page, StudyResult result)
    {
        string[] domains = [.. result.Text.Domains.Select(name => name.Length == 0 ? "(unnamed)" : name)];
        if (domains.Length < 2)
        {
            return;
        }

        IReadOnlyList<LayerStatistics> layers = result.Statistics.Layers;
        page.Append("<h2 id=\"domains\">Domains and experts</h2>\n<p class=\"soft\">How much of each domain goes to an expert, over its even share.</p>\n");
        AppendPerLayer(page, "domain-layer", layers, layer => new HeatMatrix($"Domains in layer {layer.Layer}", "x an even share", "expert", domains, Experts(layer.NumExperts), FullLoad, layer.DomainLoad));
        page.Append("<h3>How alike the domains use the experts</h3><p class=\"soft\">Sum over experts of the smaller of the two shares, mean of the layers: 1 is the same choices. On the diagonal alternate documents of one domain: what chance leaves of 1.</p><div class=\"panel scroll\"><table class=\"dense\"><tr><th></th>");
        foreach (string domain in domains)
        {
            page.Append(CultureInfo.InvariantCulture, $"<th class=\"number\">{Html.Text(domain)}</th>");
        }

        for (int row = 0; row < domains.Length; row++)
        {
            page.Append(CultureInfo.InvariantCulture, $"</tr>\n<tr><th>{Html.Text(domains[row])}</th>");
            for (int column = 0; column < domains.Length; column++)
            {
                double similarity = layers.Average(layer => layer.DomainSimilarity(row, column));
                page.Append(CultureInfo.InvariantCulture, $"<td class=\"number shade\" style=\"--a:{(double.IsNaN(similarity) ? 0 : 100 * similarity * similarity):0}%\">{Finite(similarity, "0.00")}</td>");
            }
        }

        page.Append("</tr></table></div>\n");
    }

    private static void AppendFacts(StringBuilder page, FactStudy? facts)
    {
        if (facts is null || facts.Experts.Count == 0)
        {
            return;
        }

        page.Append(CultureInfo.InvariantCulture, $"<h2 id=\"facts\">Which facts live where</h2>\n<p>{100 * facts.All.Recall:0.0} % of {facts.Questions.Count} questions are answered word for word with all experts.</p><p class=\"soft\">One row per expert whose absence costs the facts more than {FactStudy.Clear.ToString(CultureInfo.InvariantCulture)} standard errors, the costliest first: nats per answer more, by kind of fact. Other experts cost no more than chance may.</p>\n");
        ExpertLoss[] shown = [.. facts.Carriers.Take(32)];
        if (shown.Length == 0)
        {
            page.Append("<p>There is none: no single expert carries facts that others do not.</p>\n");
            return;
        }

        double[][] increases = [.. shown.Select(loss => facts.Groups.Select(group => facts.IncreaseOf(loss, group).Mean).ToArray())];
        double full = increases.Max(row => row.Max());
        page.Append("<div class=\"panel scroll\"><table class=\"dense\"><tr><th>expert</th><th class=\"number\">answers lost</th><th class=\"number\">nats</th>");
        foreach (string group in facts.Groups)
        {
            page.Append(CultureInfo.InvariantCulture, $"<th class=\"tall\"><span>{Html.Text(group)}</span></th>");
        }

        for (int row = 0; row < shown.Length; row++)
        {
            ExpertLoss loss = shown[row];
            page.Append(CultureInfo.InvariantCulture, $"</tr>\n<tr><th>layer {loss.Place.Layer}, expert {loss.Place.Expert}</th><td class=\"number\">{facts.NumLost(loss.Scores)}</td><td class=\"number\">{loss.Increase.Mean:0.00}</td>");
            foreach (double increase in increases[row])
            {
                page.Append(CultureInfo.InvariantCulture, $"<td class=\"number shade\" style=\"--a:{Math.Clamp(100 * increase / Math.Max(1e-9, full), 0, 100):0}%\">{Math.Round(increase, 1) + 0.0:0.0}</td>");
            }
        }

        page.Append("</tr></table></div>\n");
    }

    private static void AppendPairs(StringBuilder page, IReadOnlyList<LayerStatistics> layers)
    {
        if (layers.All(layer => layer.TopK < 2))
        {
            return;
        }

        page.Append("<h2 id=\"pairs\">Experts that are chosen together</h2>\n<p class=\"soft\">Of the tokens of the expert in a row, the share that the expert in the column takes as well. The diagonal is left out.</p>\n");
        AppendPerLayer(page, "pair-layer", layers, layer => new HeatMatrix($"Pairs in layer {layer.Layer}", "of its tokens", "expert", Experts(layer.NumExperts), Experts(layer.NumExperts), Darkest(layer), (row, column) => row == column ? double.NaN : layer.CoActivation(row, column)));
    }

    private static double Darkest(LayerStatistics layer)
    {
        double largest = 1e-9;
        for (int row = 0; row < layer.NumExperts; row++)
        {
            for (int column = 0; column < layer.NumExperts; column++)
            {
                largest = row == column ? largest : Math.Max(largest, layer.CoActivation(row, column));
            }
        }

        return largest;
    }

    private static void AppendTokens(StringBuilder page, StudyResult result, IReadOnlyList<LayerStatistics> layers)
    {
        foreach (LayerStatistics layer in layers)
        {
            page.Append(CultureInfo.InvariantCulture, $"<details><summary>Layer {layer.Name}: choices tell {layer.Lift.MutualInformation():0.00} bits per slot about the token</summary><div class=\"scroll\"><table><tr><th class=\"number\">expert</th><th class=\"number\">load</th><th>tokens (x lift)</th></tr>\n");
            for (int expert = 0; expert < layer.NumExperts; expert++)
            {
                page.Append(CultureInfo.InvariantCulture, $"<tr><td class=\"number\"><i class=\"dye\" style=\"--h:{TokenView.Hue(expert)}\"></i> {expert}</td><td class=\"number\">{layer.RelativeLoad(expert):0.00}</td><td>");
                foreach (LiftedToken token in layer.Lift.Top(expert, TopTokens, FewestSlots))
                {
                    page.Append(CultureInfo.InvariantCulture, $"<code>{Html.Text(result.Tokens.Quoted(token.Token))}</code> x{token.Lift:0.#} ");
                }

                page.Append("</td></tr>\n");
            }

            page.Append("</table></div></details>\n");
        }
    }

    // One picture per layer, of which a list shows one; without a script all are there, folded.
    private static void AppendPerLayer(StringBuilder page, string name, IReadOnlyList<LayerStatistics> layers, Func<LayerStatistics, HeatMatrix> matrix)
    {
        page.Append(CultureInfo.InvariantCulture, $"<div class=\"panel per-layer\" id=\"{name}\">");
        for (int index = 0; index < layers.Count; index++)
        {
            page.Append(CultureInfo.InvariantCulture, $"<details{(index == 0 ? " open" : "")}><summary>Layer {layers[index].Layer}</summary>");
            HeatTable.Append(page, matrix(layers[index]));
            page.Append("</details>\n");
        }

        page.Append("</div>\n");
    }

    private static string[] Layers(IReadOnlyList<LayerStatistics> layers) => [.. layers.Select(layer => $"layer {layer.Name}")];

    private static string[] Experts(int count) => [.. Enumerable.Range(0, count).Select(expert => expert.ToString(CultureInfo.InvariantCulture))];

    private static string Finite(double value, string format) => double.IsFinite(value) ? value.ToString(format, CultureInfo.InvariantCulture) : "-";
}
