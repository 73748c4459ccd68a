using System.Text.RegularExpressions;
using MoeSharp.Analysis.Study;
using MoeSharp.Analysis.Study.Report;
using MoeSharp.Execution;

namespace MoeSharp.Tests.Analysis.Study;

public sealed partial class StudyReportTests
{
    private static readonly string[] s_sections = ["found", "curves", "load", "domains", "facts", "pairs", "tokens", "texts"];

    [Fact]
    public void The_page_has_every_section_and_stands_alone()
    {
        string page = Page("model", "high");
        Assert.All(s_sections, section => Assert.Contains($"<h2 id=\"{section}\"", page, StringComparison.Ordinal));
        Assert.DoesNotContain("http://", page, StringComparison.Ordinal);
        Assert.DoesNotContain("https://", page, StringComparison.Ordinal);
        Assert.DoesNotMatch("<(link|img|iframe)", page);
        Assert.DoesNotContain("NaN", page, StringComparison.Ordinal);
        Assert.All(new[] { "table", "tr", "details", "svg", "div", "pre", "i", "span" }, tag =>
            Assert.Equal(Regex.Count(page, $"<{tag}[ >]"), Regex.Count(page, $"</{tag}>")));
    }

    [Fact]
    public void Names_from_outside_stay_text()
    {
        string page = Page("<script>alert(1)</script>", "\"><img src=x onerror=alert(2)>");
        Assert.DoesNotContain("<script>alert", page, StringComparison.Ordinal);
        Assert.DoesNotContain("<img", page, StringComparison.Ordinal);
        Assert.Contains("&lt;script&gt;alert(1)", page, StringComparison.Ordinal);
    }

    [Fact]
    public void Every_token_of_a_text_names_its_experts_in_every_layer()
    {
        MatchCollection tokens = Tokens().Matches(Page("model", "high"));
        Assert.NotEmpty(tokens);
        foreach (Match token in tokens)
        {
            string[] layers = token.Groups[1].Value.Split(';');
            Assert.Equal(2, layers.Length);
            Assert.All(layers, layer => Assert.Equal(StudyBench.TopK, layer.Split(' ').Length));
        }
    }

    [Fact]
    public void A_model_without_experts_has_a_page_that_says_so()
    {
        using StudyBench bench = new(StudyBench.Config with { Moe = null });
        string page = StudyReport.Build(bench.Study(StudyBench.Text()));
        Assert.Contains("no layer with routed experts", page, StringComparison.Ordinal);
        Assert.DoesNotContain("id=\"load\"", page, StringComparison.Ordinal);
    }

    private static string Page(string model, string domain)
    {
        using StudyBench bench = new();
        StudyText text = StudyBench.Text();
        StudyDocument[] documents = [.. text.Documents.Select(document => document with { Domain = document.Domain == "high" ? domain : document.Domain })];
        FactQuestion[] questions = [.. Enumerable.Range(0, 20).Select(index => new FactQuestion(index % 2 == 0 ? "even <b>" : "odd", [index, index + 1], 1, ""))];
        StudyRequest request = new() { Questions = questions, SwitchedOff = [new ExpertPlace(1, 2)], Rival = new StudySubject(model, bench.Model) };
        StudyResult result = ModelStudy.Run(new StudySubject(model, bench.Model), new StudyText(documents, 12, 6, 60), domain, new TokenNames(null), request, bench.Workers, TestContext.Current.CancellationToken);
        return StudyReport.Build(result);
    }

    [GeneratedRegex("<i data-e=\"([^\"]*)\"")]
    private static partial Regex Tokens();
}
